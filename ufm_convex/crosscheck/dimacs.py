"""The six DIMACS error measures, with the exponential cones eliminated.

For a pair (Z; V, T) at class level, Z in units of the penalty, S and T where D = I (docs/kkt.md, section 4).
The epigraph variables of the exponential cones are minimised out, so their primal violation is zero, their dual
violation is the distance of V to the domain of the conjugate, and their complementarity is the Fenchel–Young gap.
Source: Mittelmann, Math. Program. 95 (2003); the extension is stated in docs/crosscheck.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ufm_convex import relaxation
from ufm_convex.duality import KKTReport
from ufm_convex.relaxation import Columns, Dual, DualPoint, Gram, GramPoint


@dataclass(frozen=True)
class DimacsErrors:
    """The six measures; each is 0 at an exact solution.

    Attributes:
        err1: Primal equations: asymmetry of Z, relative to 1 + ‖Z‖.
        err2: Primal cones: how far Z is from Z ⪰ 0 and B ≥ 0, relative to the objective.
        err3: Dual equations: stationarity of the diagonal blocks of S.
        err4: Dual cones: S ⪰ 0, T ≥ 0, and V in the domain of the conjugate.
        err5: (F − D) / (1 + |F| + |D|); negative when the dual value exceeds the primal one.
        err6: (<S, Z> + <T, B>/(2 λ_W) + Fenchel–Young gaps) / (1 + |F| + |D|).
    """

    err1: float
    err2: float
    err3: float
    err4: float
    err5: float
    err6: float


def dimacs(columns: Columns, point: GramPoint, dual: DualPoint, report: KKTReport) -> DimacsErrors:
    """The measures of a primal and a dual point, neither of them repaired.

    Args:
        columns: Class-level columns.
        point: Primal point.
        dual: Dual point; its value is that of its residuals taken into the domain of the conjugate, sums closed for a
            free bias.
        report: The KKT report of the same two points.
    """
    Z = point.matrix()
    gram, multipliers = Gram.mean(columns, point), Dual.mean(columns, dual)
    V = columns.admitted(columns.into_domain(multipliers.V))
    terms = relaxation.terms(columns, gram, Dual(V, multipliers.T))
    primal, bound = relaxation.objective(columns, gram), terms.dual_value
    scale = 1.0 + abs(primal) + abs(bound)
    found = report.residuals
    return DimacsErrors(
        err1=float(np.linalg.norm(Z - Z.T)) / (1.0 + float(np.linalg.norm(Z))),
        err2=max(found["primal_psd"], found["primal_nonnegativity"]),
        err3=max(found["stationarity_weight_gram"], found["stationarity_feature_gram"]),
        err4=max(found["dual_slack_psd"], found["dual_nonnegativity"], found["dual_domain"]),
        err5=(primal - bound) / scale,
        err6=terms.gap / scale,
    )
