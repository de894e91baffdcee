"""Problems, with classes without samples among them, for tests of the algebra beside ``naive_dense``."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from naive_dense import Naive, NaiveLoss

from ufm_convex.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    LogitAdjustedCrossEntropy,
    MeanSquaredError,
    MulticlassHinge,
    SoftTargetCrossEntropy,
    make,
)
from ufm_convex.problem.constraints import HardMargin
from ufm_convex.relaxation.alike import Alike

TABLE = np.random.default_rng(5).dirichlet(np.ones(8), size=8)
ALIKE = {
    "cross-entropy": CrossEntropy(),
    "smoothed": CrossEntropy(smoothing=0.1),
    "weighted": CrossEntropy(class_weights=(1.0, 1.0, 1.0, 2.0, 2.0, 0.5, 1.0, 1.0)),
    "squared": MeanSquaredError(),
    "sigmoids": BinaryCrossEntropy(),
    "crammer-singer": MulticlassHinge("crammer-singer"),
    "weston-watkins": MulticlassHinge("weston-watkins"),
    "squared-hinge": make("squared-hinge", {}),
    "margin": HardMargin(0.7).loss,
}
TABLES = {
    "label-margins": make("label-margin-cross-entropy", {"margins": np.linspace(0.1, 1.0, 8).tolist()}),
    "soft": SoftTargetCrossEntropy(TABLE.tolist()),
    "adjusted": LogitAdjustedCrossEntropy(shift=tuple(np.linspace(-1, 1, 8)), scale=tuple(np.linspace(0.5, 2, 8))),
    "margins": HardMargin(tuple(np.linspace(0.5, 2.0, 8)), scale=tuple(np.linspace(0.5, 2, 8))).loss,
}
LOSSES = ALIKE | TABLES
BIASES = {"none": None, "free": "free", "penalised": 0.4, "faint": 1e-17}


@dataclass(eq=False)
class Given:
    """What the algebra asks of a problem, with counts that may be 0."""

    class_counts: Any
    loss: Any
    bias: Any = None
    nonnegative: bool = True
    lambda_w: float = 0.03
    lambda_h: float = 0.02

    def __post_init__(self):
        self.class_counts = np.array(self.class_counts)
        self.num_samples = int(self.class_counts.sum())
        self.num_classes = self.class_counts.size
        self.loss_weights = self.loss.weights(self.num_classes) * self.class_counts / self.num_samples

    def require_decays(self, what):
        pass

    def naive(self, level):
        parameters = self.loss.parameters()
        if self.loss.name == "hard-margin":
            parameters = self.loss.exact_parameters()
        loss = NaiveLoss(self.loss.name, {"kind": getattr(self.loss, "kind", None)} | parameters, self.num_classes)
        omega = self.loss.weights(self.num_classes)
        level = "sample" if level == "sample" else "class"
        counts = self.class_counts.tolist()
        return Naive.of(loss, counts, omega, self.lambda_w, self.lambda_h, self.bias, level)


def random_alike(rng, rows, cols):
    """Normal entries."""
    made = Alike.matrix(rows, cols, rng.normal(size=(rows.size, cols.size)))
    pairing = rows.paired(cols)
    made.extra[pairing.slots] = rng.normal(size=pairing.row.size)
    if rows is not cols or not rows.repeated:
        return made
    return Alike(rows, cols, made.even, made.extra, np.where(rows.copies > 1, rng.normal(size=rows.size), 0.0))
