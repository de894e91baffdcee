"""Group level: the programme on matrices that are alike on alike classes, block-diagonalised.

Averaging over permutations of alike classes keeps feasibility and does not raise the convex objective, so an optimal Z
is invariant. Its blocks are one trivial block of order 2G and, for each group of K_g ≥ 2 classes, a 2 × 2 block of
multiplicity K_g − 1 (docs/duality.md, section 7):

    min  Σ_h K_h pt_h l(x_h, m_·h) + ½ Σ_g s_g (A_gg + B_gg) + ½ Σ_g (K_g − 1) s_g (α_g + β_g)
    s.t. [[A, X], [Xᵀ, B]] ⪰ 0,   [[α_g, ξ_g], [ξ_g, β_g]] ⪰ 0,   B_gh ≥ 0 (g < h),   B_gg ≥ β_g

in variables whose entries are logit margins whatever the decays, counts and sizes: the trivial block of Z is E Z″ E and
the standard one e Z″_g e, with E and e = Diag(√s_g/√λ_W, √s_g/√(λ_H n_g)) and s_g = min(σ_g, pt_g), the first for
active classes and the second beyond collapse. Then the trivial block of L has the entries √(s_g s_h)/σ_h X_gh and its
standard scalars are s_g/σ_g ξ_g. The objective is divided by κ = Σ_g K_g s_g, and the 2 × 2 blocks are second-order
cones ‖(2 ξ, α − β)‖ ≤ α + β.

Maps: ``lift`` (group → class) writes the matrices out, ``restrict`` (class → group) is the mean over permutations.
Both are isometries or projections of one inner product, so each is the other's adjoint, for primal and dual alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ufm_convex._arrays import FloatArray
from ufm_convex.bias import BiasModel
from ufm_convex.groups import GroupColumns, GroupDual, GroupPoint, Groups, Invariant
from ufm_convex.identity import group_dual_value
from ufm_convex.points import DualPoint, GramPoint
from ufm_convex.problem import Problem
from ufm_convex.relaxation.base import Level
from ufm_convex.relaxation.programme import Programme, symmetric

if TYPE_CHECKING:
    import cvxpy as cp


class GroupLevel(Level):
    """Variables are the blocks of matrices that do not tell alike classes apart."""

    name: ClassVar[str] = "group"
    gram_limit: ClassVar[int] = 800
    advice: ClassVar[str] = "let level and solver be 'auto', or use a solver that is not conic."

    def gram_order(self, problem: Problem) -> int:
        """2G."""
        return 2 * Groups.distinct(problem).size

    def lift(self, problem: Problem, point: GroupPoint) -> GramPoint:
        """The class-level point, with the same objective; raises ``SizeError`` for K > 20,000."""
        return point.dense()

    def restrict(self, problem: Problem, point: GramPoint) -> GroupPoint:
        """The mean over permutations of alike classes, with an objective that is no larger."""
        return GroupPoint.mean(Groups.distinct(problem), point)

    def restrict_dual(self, problem: Problem, blocks: GramPoint) -> GroupPoint:
        """Adjoint of ``lift``, on triples (S_A, S_L, S_B)."""
        return self.restrict(problem, blocks)

    def lift_dual(self, problem: Problem, blocks: GroupPoint) -> GramPoint:
        """Adjoint of ``restrict``, on triples (S_A, S_L, S_B)."""
        return self.lift(problem, blocks)

    def restrict_dual_point(self, problem: Problem, dual: DualPoint) -> GroupDual:
        """The mean of a class-level dual point: feasible if that one is, with a value that is no smaller."""
        return GroupDual.mean(Groups.distinct(problem), dual)

    def programme(self, problem: Problem) -> GroupProgramme:
        """See ``Level.programme``.

        Raises:
            SizeError: there are more than 400 groups.
            HypothesisError: the loss has no form for reduced columns.
        """
        self.check_size(problem)
        return build(GroupColumns.of(problem))

    def reported_point(self, problem: Problem, point: GroupPoint) -> GroupPoint | GramPoint:
        """The point itself, compressed as it is; with a bias at class level, where repair and proofs know it."""
        return point if problem.bias is None else point.dense()

    def reported_dual(self, problem: Problem, dual: GroupDual) -> GroupDual | DualPoint:
        """Likewise."""
        return dual if problem.bias is None else dual.dense()

    def within_class_variability(self, problem: Problem, point: GroupPoint) -> None:
        """None: a class is one column, and spread within it cannot be expressed."""


@dataclass(frozen=True, eq=False)
class GroupProgramme(Programme[GroupPoint, GroupDual]):
    """The block-diagonalised programme.

    Attributes:
        columns: The columns of a class of each group.
        Z: The trivial block Z″, (2G, 2G).
        standard: (α, ξ, β) for the groups of two classes or more, (3, G₂).
        psd: Z″ ⪰ 0.
        cones: The second-order cones of the 2 × 2 blocks; None when there are none.
        between: B_gh ≥ 0 for g < h; None for free features or a single group.
        within: B_gg ≥ β_g; None for free features or no group of two.
        bias: The bias, one entry a group.
    """

    columns: GroupColumns
    Z: cp.Variable
    standard: cp.Variable | None
    psd: cp.Constraint
    cones: cp.Constraint | None
    between: cp.Constraint | None
    within: cp.Constraint | None
    bias: BiasModel

    def primal(self) -> GroupPoint | None:
        """See ``Programme.primal``."""
        columns, groups = self.columns, self.columns.groups
        standard = np.zeros((3, groups.size))
        if self.Z.value is None or not np.isfinite(self.Z.value).all():
            return None
        if self.standard is not None:
            standard[:, columns.several] = self.standard.value
        G, (rows, cols) = groups.size, self._scales()
        scale = np.concatenate([rows, cols])
        Z = symmetric(self.Z.value) * np.outer(scale, scale)
        alpha, xi, beta = standard
        return GroupPoint(
            Invariant.from_blocks(groups, Z[:G, :G], rows * alpha * rows),
            Invariant.from_blocks(groups, Z[:G, G:], rows * xi * cols),
            Invariant.from_blocks(groups, Z[G:, G:], cols * beta * cols),
            self.bias.value,
        )

    def dual(self) -> GroupDual | None:
        """See ``Programme.dual``; the multipliers of (α, ξ, β) are read off the cone's, (t + v, u, t − v)."""
        if self.psd.dual_value is None or not np.isfinite(self.psd.dual_value).all():
            return None
        columns, groups = self.columns, self.columns.groups
        kappa, G, (rows, cols) = self.objective_scale, groups.size, self._scales()
        scale = np.concatenate([rows, cols])
        S = kappa * symmetric(self.psd.dual_value) / np.outer(scale, scale)
        blocks = np.zeros((3, G))
        if self.cones is not None:
            t, uv = (np.asarray(value) for value in self.cones.dual_value)
            u, v = uv.reshape(2, -1)
            share = kappa / (groups.sizes[columns.several] - 1.0)
            blocks[:, columns.several] = share * np.array([t.ravel() + v, u, t.ravel() - v])
        S_A, S_L, S_B = blocks
        halves = Invariant.from_blocks(groups, S[:G, G:], S_L / (rows * cols))
        return GroupDual(
            residuals=halves.scaled(np.ones(G), 2.0 / columns.loss_weights),
            nonnegativity=self._nonnegativity_multiplier(),
            weight_block=Invariant.from_blocks(groups, S[:G, :G], S_A / rows**2),
            feature_block=Invariant.from_blocks(groups, S[G:, G:], S_B / cols**2),
        )

    def dual_value(self, dual: GroupDual) -> float:
        """See ``Programme.dual_value``."""
        return group_dual_value(self.columns, self.columns.into_domain(dual.residuals))

    def _scales(self) -> tuple[FloatArray, FloatArray]:
        columns = self.columns
        root = np.sqrt(_units(columns))
        return root / np.sqrt(columns.lambda_w), root / np.sqrt(columns.lambda_h * columns.feature_weights)

    def _nonnegativity_multiplier(self) -> Invariant:
        """T. <T, B> / (2 λ_W) = κ Σ θ · (listed expression), and a pair g < h stands for 2 K_g K_h entries."""
        groups, kappa = self.columns.groups, self.objective_scale
        ratio = self.columns.sigma / np.sqrt(_units(self.columns))
        cross = np.zeros((groups.size, groups.size))
        if self.between is not None and self.between.dual_value is not None:
            cross[np.triu_indices(groups.size, 1)] = np.ravel(self.between.dual_value)
            cross = kappa * (cross + cross.T) * np.outer(ratio, ratio) / groups.roots
        if self.within is not None and self.within.dual_value is not None:
            several = self.columns.several
            theta = np.ravel(self.within.dual_value)
            cross[several, several] = 2.0 * kappa * theta * ratio[several] ** 2 / (groups.sizes[several] - 1.0)
        return Invariant(groups, np.zeros(groups.size), cross)


def build(columns: GroupColumns) -> GroupProgramme:
    """The scaled programme for the given columns; vectorised, one log-sum-exp a group."""
    import cvxpy as cp

    groups, several, units = columns.groups, columns.several, _units(columns)
    G, sizes, ratio = groups.size, groups.sizes, units / columns.sigma
    kappa = float(sizes @ units)
    Z = cp.Variable((2 * G, 2 * G), symmetric=True)
    X, B = Z[:G, G:], Z[G:, G:]
    L = cp.multiply(np.sqrt(np.outer(units, 1.0 / units)) * ratio / groups.roots, X)
    own, cross = cp.diag(L), L
    penalty = 0.5 * np.concatenate([units, units]) @ cp.diag(Z)
    psd, standard, cones, between, within = Z >> 0, None, None, None, None
    if several.size:
        standard = cp.Variable((3, several.size))
        alpha, xi, beta = standard[0], standard[1], standard[2]
        place = np.zeros((G, several.size))
        place[several, np.arange(several.size)] = 1.0
        own = own + (place * (ratio * (1.0 - 1.0 / sizes))[:, None]) @ xi
        cross = cross - cp.diag((place * (ratio / sizes)[:, None]) @ xi)
        penalty = penalty + 0.5 * ((sizes - 1.0) * units)[several] @ (alpha + beta)
        cones = cp.SOC(alpha + beta, cp.vstack([2.0 * xi, alpha - beta]), axis=0)
        within = cp.diag(B)[several] - beta >= 0 if columns.nonnegative else None
    if columns.nonnegative and G > 1:
        between = cp.upper_tri(B) >= 0
    bias = columns.bias.model(kappa, sizes)
    own = own if bias.variable is None else own + bias.variable
    losses = (sizes * columns.loss_weights / kappa) @ columns.loss.expression(
        cp.vstack([bias.added_to(cross), cp.reshape(own, (1, G), order="C")]), columns.layout
    )
    constraints = [constraint for constraint in (psd, cones, between, within) if constraint is not None]
    return GroupProgramme(
        problem=cp.Problem(cp.Minimize(losses + penalty / kappa + bias.penalty), [*constraints, *bias.constraints]),
        objective_scale=kappa,
        columns=columns,
        Z=Z,
        standard=standard,
        psd=psd,
        cones=cones,
        between=between,
        within=within,
        bias=bias,
    )


def _units(columns: GroupColumns) -> FloatArray:
    """s_g: the size of a class's penalty at margin one, or of its loss where that is smaller and finite at zero."""
    if (indicator := columns.loss.indicator) is not None:
        return columns.sigma * indicator.unit(columns.groups.num_classes)
    return np.minimum(columns.sigma, columns.loss_weights)
