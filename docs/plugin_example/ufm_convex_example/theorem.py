"""A theorem: from a threshold of 1 on, Huber's loss has the optimum of mean squared error.

Its residuals there lie in [−1, 0], so that the dual point of mean squared error is one of Huber's, with the same value;
and Huber's loss is nowhere larger.
"""

from dataclasses import replace
from typing import ClassVar

from ufm_convex import Problem
from ufm_convex.losses import MeanSquaredError
from ufm_convex.theory import Hypothesis, Relation, Theorem
from ufm_convex.theory.mean_squared_error import MeanSquaredErrorFrame

from .loss import Huber


class HuberFrame(Theorem):
    """The general orthogonal frame, where no residual reaches the linear part."""

    name: ClassVar[str] = "huber-frame"
    citation: ClassVar[str] = "ufm-convex-example, theorem.py"
    relation: ClassVar[Relation] = Relation.TIGHT

    def hypotheses(self, problem):
        loss, d = problem.loss, problem.feature_dim
        holds = type(loss) is Huber and loss.threshold >= 1.0
        return (
            Hypothesis("loss is huber with a threshold of 1 or more", holds, f"loss is {loss!r}"),
            Hypothesis(
                "feature_dim is not binding",
                d is None or d >= problem.num_classes,
                f"feature_dim is {d}, and the dual point knows no dimension",
                otherwise=Relation.UPPER,
            ),
        )

    def evaluate(self, problem, relation):
        squared = Problem.from_content({**problem.content(), "loss": {"name": MeanSquaredError.name}}, source="here")
        return replace(MeanSquaredErrorFrame().evaluate(squared, relation), citation=self.citation)
