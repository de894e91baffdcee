"""The proved dual point of a solved problem, as its classes see it: what a gap is told apart by without a closed form.

The parts of a gap (``passes``, ``parts``) over it, for any finite loss, sign of features and bias; docs/attribution.md,
the last section:

    calibration        Σ_k pt_k [l_k(z̄_k) + l_k*(v_k) − <v_k, z̄_k>]        z̄_k = W h̄_k + b: Fenchel–Young gaps
    logit_spread       Σ_i weight_i [l(z_i) − l(z̄_k) − <∇l(z̄_k), z_i − z̄_k>]    Bregman distances
    variability        λ_H/2 Σ_i ‖h_i − h̄_k‖²
    non_orthogonality  <T, B> / (2 λ_W)                                      T = 0 for free features
    collapsed          <D − G − T, B> / (2 λ_W)
    self_duality       λ_W/2 Σ_j ‖a_j − mean a‖²                              a_j the rows of W + U H̄ / λ_W
    classifier_mean    λ_W/(2V) ‖Σ_j a_j‖²
    bias               λ_b/2 ‖b + U1/λ_b‖²                                    0 for a free bias, whose U1 is 0

The point is alike on alike classes. Of a column of orbit c the own entry is ``own[c]``, that at another output of
orbit r ``others[r, c]``; T has the entry ``T[c, e]`` at two different columns of orbits c and e. So products with
features cost O(V d + C² d), and no V × m array is made.

Where a proof scales V by s < 1 to make room for its rounding, T is scaled by s², and its slack is no smaller
(docs/slack_proofs.md, section 4.2). The dual value is the proved one.

Shapes: V outputs in R orbits, m columns in C orbits; class means (m, d).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ufm_convex import enclosure
from ufm_convex._arrays import BoolArray, FloatArray, IntArray
from ufm_convex._pairs import row_tiles
from ufm_convex.enclosure import BlockDual, DiagonalDual, ExactColumns, ProvedBound
from ufm_convex.errors import SolverError
from ufm_convex.problem import Problem
from ufm_convex.relaxation import Alike, Dual, DualPoint, FrameDual
from ufm_convex.solution import Solution


@dataclass(frozen=True, eq=False)
class Solved:
    """What a solution says of its classes (``dead_classes.Alive``); free features merge, and none of them is dead."""

    feature_norms: FloatArray
    margins: FloatArray
    collapsed: BoolArray

    @classmethod
    def of(cls, solution: Solution) -> Solved:
        """Read off a solution."""
        norms, free = solution.feature_norms, not solution.problem.nonnegative
        collapsed = np.full(solution.problem.num_classes, free)
        collapsed[list(solution.collapsed_classes)] = True
        own = solution.problem.loss.own_outputs(np.arange(norms.size))
        return cls(norms, norms * solution.weight_norms[own], collapsed)


@dataclass(frozen=True, eq=False)
class SolvedDual:
    """A proved dual point (V, T) of a problem; see ``passes.DualOptimum``.

    Attributes:
        problem: The problem.
        optimum: What the solution says of its classes.
        value: Its proved dual value, rounded down.
        columns: The problem on the orbits of the proof.
        own: Own entry of a column of each orbit, (C,).
        others: Its entry at other outputs, (R, C).
        T: Multiplier at two different columns, (C, C), in the units of D.
        sums: U1, one entry an orbit of outputs, (R,): exact numbers in binary64. Zero for a free bias.
    """

    problem: Problem
    optimum: Solved
    value: float
    columns: ExactColumns
    own: FloatArray
    others: FloatArray
    T: FloatArray
    sums: FloatArray

    @classmethod
    def of(cls, solution: Solution) -> SolvedDual:
        """The dual point behind a solution's lower bound; of its dual point's own where a theorem gave that bound.

        Raises:
            SolverError: no bound was proved.
        """
        problem, found = solution.problem, solution.evidence.lower
        merged = problem.merged[0] is not problem  # then the proof is on the merged columns
        if merged or not isinstance(found.exact_point, (BlockDual, DiagonalDual)):
            found = enclosure.lower_bound(problem, solution.dual)
        if isinstance(found.exact_point, DiagonalDual):
            return cls._diagonal(solution, found, found.exact_point)
        if isinstance(found.exact_point, BlockDual):
            return cls._block(solution, found, found.exact_point)
        raise SolverError(
            "no dual point was proved.",
            expected="decays and an objective within the range of binary64",
            fix="scale the problem.",
        )

    @classmethod
    def _diagonal(cls, solution: Solution, found: ProvedBound, proof: DiagonalDual) -> SolvedDual:
        """v_k = −q_k (e_k − 1/V), T what cancels the off-diagonal entries of G."""
        problem, optimum = solution.problem, Solved.of(solution)
        columns = ExactColumns.of_groups(problem)
        exponent, V = proof.strengths.exponent, columns.num_outputs
        q = np.array([math.ldexp(float(integer), exponent) for integer in proof.strengths.integers])
        pulls = columns.weights * columns.counts / columns.num_samples * q
        sums = np.full(columns.outputs.size, math.fsum((pulls * columns.multiplicities).tolist()) / V)
        np.subtract.at(sums, np.array(columns.places), pulls)
        free = columns.bias.needs_balance and not columns.bias.curvature
        others = np.tile(q / V, (columns.outputs.size, 1))
        T = np.outer(pulls, pulls) / V if problem.nonnegative else np.zeros((q.size, q.size))
        sums = 0.0 * sums if free else sums
        return cls(problem, optimum, found.value, columns, -q * (1.0 - 1.0 / V), others, T, sums)

    @classmethod
    def _block(cls, solution: Solution, found: ProvedBound, proof: BlockDual) -> SolvedDual:
        problem, dual = solution.problem, solution.dual
        columns = ExactColumns.of_groups(problem)
        if proof.kind == "dense":
            columns = ExactColumns.of_classes(problem)
        units = proof.units(columns)
        own = np.array([float_of(unit * x) for unit, x in zip(units, proof.own_entries(columns), strict=True)])
        rows = [[float_of(unit * x) for x in row] for unit, row in zip(units, proof.columns, strict=True)]
        others = np.array(rows).T
        sums = np.array([float_of(entry) for entry in proof.sums(columns)])
        zero = not own.any() and not others.any()
        T = _multiplier(columns, dual, problem) * (0.0 if zero else 1.0 - proof.margin)
        return cls(problem, Solved.of(solution), found.value, columns, own, others, T, sums)

    # -- orbits -----------------------------------------------------------------------------------------------------

    @cached_property
    def weights(self) -> FloatArray:
        """Pt of a column of each orbit, (C,)."""
        found: FloatArray = self.columns.weights * self.columns.counts / self.columns.num_samples
        return found

    @cached_property
    def output_of(self) -> IntArray:
        """Orbit of each output, (V,)."""
        return self.columns.outputs.members

    @cached_property
    def present(self) -> BoolArray:
        """Which classes have a column, (K,)."""
        found: BoolArray = self.columns.columns.members >= 0
        return found

    @cached_property
    def column_of(self) -> IntArray:
        """Orbit of each class's column, (K,); 0 for a class without one, whose class mean is zero."""
        return np.maximum(self.columns.columns.members, 0)

    @cached_property
    def own_output(self) -> IntArray:
        """The own output of each class or column of a table, (K,)."""
        return self.problem.loss.own_outputs(np.arange(self.problem.num_classes))

    @cached_property
    def excess(self) -> FloatArray:
        """What the own entry of a column has beyond that of another class of its orbit, (C,)."""
        places = np.array(self.columns.places)
        return self.own - self.others[places, np.arange(self.own.size)]

    def residuals(self, classes: IntArray) -> FloatArray:
        """V's columns of some classes, (V, len(classes))."""
        orbits = self.column_of[classes]
        found: FloatArray = self.others[np.ix_(self.output_of, orbits)]
        found[self.own_output[classes], np.arange(classes.size)] = self.own[orbits]
        return found

    def _sums(self, means: FloatArray) -> FloatArray:
        """Sum of the class means of each orbit, (C, d)."""
        found = np.zeros((self.own.size, means.shape[1]))
        np.add.at(found, self.column_of[self.present], means[self.present])
        return found

    # -- what logits are told by ------------------------------------------------------------------------------------

    def seen(self, classes: IntArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
        """l_k(z) + l_k*(v_k) − <v_k, z> and l_k(z), of one column of logits a class, (m,) each."""
        loss, gaps, losses = self.problem.loss, np.empty(classes.size), np.empty(classes.size)
        for part in row_tiles(*logits.shape):
            layout, columns = loss.layout(self.problem.num_outputs, classes[part]), logits[part].T
            gaps[part] = loss.fenchel_young(self.residuals(classes[part]), columns, layout)
            losses[part] = loss.values(columns, layout)
        return gaps, losses

    def losses(self, labels: IntArray, logits: FloatArray) -> FloatArray:
        """l_y(z), (m,)."""
        return self.problem.loss.values(logits.T, self.problem.loss.layout(self.problem.num_outputs, labels))

    # -- what features are told by ----------------------------------------------------------------------------------

    def pulled(self, means: FloatArray) -> FloatArray:
        """U H̄, (V, d)."""
        pulled = ((self.others * self.weights) @ self._sums(means))[self.output_of]
        orbits = self.column_of
        np.add.at(pulled, self.own_output, (self.weights * self.excess)[orbits][:, None] * means)
        return pulled

    def overlap(self, means: FloatArray) -> FloatArray:
        """<T, B> / (2 λ_W) with each pair in halves, (K,); ≥ 0 for non-negative features."""
        c, sums = self.column_of, self._sums(means)
        inner = np.einsum("kj,kj->k", means, (self.T @ sums)[c])
        inner -= np.diag(self.T)[c] * np.einsum("kj,kj->k", means, means)
        return np.maximum(inner, 0.0) / (2.0 * self.problem.lambda_w)

    def pairs(self, means: FloatArray) -> FloatArray:
        """<T, B> / (2 λ_W) pair by pair, (K, K) strictly upper triangular."""
        c = self.column_of
        found: FloatArray = np.triu(self.T[np.ix_(c, c)] * (means @ means.T), 1) / self.problem.lambda_w
        return found

    def collapsed(self, means: FloatArray) -> FloatArray:
        """<R, B> / (2 λ_W) as ‖R^{1/2} H̄‖² by row, (K,): R is block diagonal in means of orbits and what is left."""
        problem, c = self.problem, self.column_of
        many = self.columns.multiplicities.astype(np.float64)
        sigma = math.sqrt(problem.lambda_w) * math.sqrt(problem.lambda_h) * np.sqrt(self.columns.counts)
        centres = self._sums(means) / many[:, None]
        values, vectors = np.linalg.eigh(self._trivial(sigma, many))
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        rows = root @ (centres * (sigma * np.sqrt(many))[:, None])
        shared = np.einsum("cj,cj->c", rows, rows) / many
        spread = np.maximum(sigma**2 - (self.weights * self.excess) ** 2 + np.diag(self.T), 0.0)
        away = means - centres[c]
        alone = np.where(many > 1.0, spread, 0.0)[c] * np.einsum("kj,kj->k", away, away)
        return np.where(self.present, shared[c] + alone, 0.0) / (2.0 * problem.lambda_w)

    def _trivial(self, sigma: FloatArray, many: FloatArray) -> FloatArray:
        """D^{-1/2} R D^{-1/2} on the normalised indicator vectors of the orbits, (C, C)."""
        places, C = np.array(self.columns.places), np.arange(self.own.size)
        whole = self.others * many
        whole[places, C] += self.excess
        scale = self.weights / (sigma * np.sqrt(many))
        seen = np.sqrt(np.array(self.columns.output_sizes, dtype=np.float64))[:, None] * whole * scale
        lifted = self.T * np.outer(np.sqrt(many) / sigma, np.sqrt(many) / sigma)
        lifted[C, C] = np.diag(self.T) * (many - 1.0) / sigma**2
        found: FloatArray = np.eye(self.own.size) - seen.T @ seen - lifted
        return found

    def misfit(self, bias: FloatArray) -> FloatArray:
        """g(b) + g*(−U1) + <U1, b> entry by entry, (V,): λ_b/2 (b + U1/λ_b)²; 0 for a free bias, whose U1 is 0."""
        if not self.problem.bias_decay:
            return np.zeros_like(bias)
        root = math.sqrt(self.problem.bias_decay)
        return 0.5 * (root * bias + self.sums[self.output_of] / root) ** 2


def float_of(number: object) -> float:
    """A rational number in binary64, to nearest."""
    top, bottom = int(number.p), int(number.q)  # type: ignore[attr-defined]
    return top / bottom


def _multiplier(columns: ExactColumns, dual: DualPoint | FrameDual | Dual, problem: Problem) -> FloatArray:
    """T of the solution's dual point on the orbits of the proof, (C, C), the diagonal 0 for orbits of one class."""
    if not columns.nonnegative:
        return np.zeros((columns.size, columns.size))
    if isinstance(dual, FrameDual):
        dual = dual.dense(problem)
    sort = columns.columns
    if isinstance(dual, DualPoint):
        T = Alike.mean(sort, sort, dual.nonnegativity)
    elif dual.T is None:
        return np.zeros((columns.size, columns.size))
    else:
        same = enclosure.alike_orbits(sort, dual.T.rows)
        T = dual.T if same else Alike.mean(sort, sort, dual.T.full())
    found = T.even.copy()
    np.fill_diagonal(found, np.where(sort.places > 1, np.diag(found), 0.0))
    return found
