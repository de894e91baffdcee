"""The columns of a problem at each level: sample, class and group are values of one type.

    sample   one column a sample, single orbits
    class    one column a class with samples, or a row of a table of targets, single orbits
    group    classes with equal counts and equal weights are one orbit, of outputs and of columns
    merged   neighbouring groups are one orbit, as if they had their mean count: no level, but another problem near it

A class without samples is an output that no column is matched with; at group level all of them are one orbit.
"""

from __future__ import annotations

import numpy as np

from ufm_convex._arrays import FloatArray, IntArray
from ufm_convex.problem import Problem
from ufm_convex.problem.bias import bias_of
from ufm_convex.relaxation.alike import Alike
from ufm_convex.relaxation.columns import Columns
from ufm_convex.relaxation.orbits import Orbits


def of_samples(problem: Problem) -> Columns:
    """One column a sample, classes in blocks: weights ω / N and ν = 1."""
    counts = problem.class_counts
    labels = np.repeat(np.arange(counts.size), counts)
    weights = problem.loss.weights(counts.size)[labels] / problem.num_samples
    return of_labels(problem, labels, weights, np.ones(labels.size))


def of_labels(problem: Problem, labels: IntArray, loss_weights: FloatArray, feature_weights: FloatArray) -> Columns:
    """Single columns of the given classes, weights of their losses and ν, (m,) each."""
    outputs, columns = Orbits.single(_num_outputs(problem)), Orbits.single(labels.size)
    return _columns(problem, outputs, columns, labels, loss_weights, feature_weights)


def of_classes(problem: Problem) -> Columns:
    """One column a class with samples, its mean: weights pt_k and ν_k = n_k."""
    outputs, columns, first = class_orbits(problem)
    counts = problem.class_counts[first].astype(np.float64)
    return _columns(problem, outputs, columns, first, problem.loss_weights[first], counts)


def of_groups(problem: Problem) -> Columns:
    """One orbit of columns for classes with equal counts and weights, sorted by count, then weight.

    Orbits are single, in class order, unless the loss treats all classes alike.
    """
    outputs, columns, first = group_orbits(problem)
    counts = problem.class_counts[first].astype(np.float64)
    return _columns(problem, outputs, columns, first, problem.loss_weights[first], counts)


def of_merged(problem: Problem, number: int) -> Columns:
    """So many orbits of columns instead of those of ``of_groups``, two or more of which each stands for.

    Counts and weights are the means over the classes that are merged.

    Args:
        problem: A problem whose loss treats all classes alike.
        number: Orbits, at most half as many as there are groups.
    """
    outputs, columns, first = group_orbits(problem)
    starts = np.arange(number) * columns.size // number
    sizes, empty = np.add.reduceat(columns.places, starts), outputs.places[: outputs.size - columns.size]
    counts, weights = (
        np.add.reduceat(columns.places * numbers[first], starts) / sizes
        for numbers in (problem.class_counts.astype(np.float64), problem.loss_weights)
    )
    symmetry = np.concatenate([empty, sizes])
    kinds = np.arange(symmetry.size)
    merged = Orbits.of(symmetry, kinds, order=outputs.order)
    there = merged if not empty.size else Orbits.of(symmetry, kinds[1:], order=columns.order, extent=columns.length)
    return _columns(problem, merged, there, first[starts], weights, counts)


def class_orbits(problem: Problem) -> tuple[Orbits, Orbits, IntArray]:
    """Outputs, columns and the class of each column for ``of_classes``."""
    counts = problem.class_counts
    active = np.flatnonzero(counts > 0)
    whole = active.size == counts.size
    columns = Orbits.single(active.size, None if whole else active, None if whole else counts.size)
    square = whole and _num_outputs(problem) == counts.size
    return (columns if square else Orbits.single(_num_outputs(problem))), columns, active


def group_orbits(problem: Problem) -> tuple[Orbits, Orbits, IntArray]:
    """Outputs, columns and the first class of each orbit of columns for ``of_groups``, in O(K log K)."""
    if not problem.loss.alike:
        return class_orbits(problem)
    counts = problem.class_counts
    weights = np.where(counts > 0, problem.loss.weights(counts.size), 0.0)
    order = np.lexsort((weights, counts))
    changes = (np.diff(counts[order]) != 0) | (np.diff(weights[order]) != 0.0)
    starts = np.concatenate([[0], 1 + np.flatnonzero(changes)])
    symmetry = np.diff(np.append(starts, counts.size))
    first = order[starts]
    empty = int((counts == 0).sum())
    kinds = np.arange(symmetry.size)
    outputs = Orbits.of(symmetry, kinds, order=order)
    columns = outputs
    if empty:
        kinds, first = kinds[1:], first[1:]
        columns = Orbits.of(symmetry, kinds, order=order[empty:], extent=counts.size)
    return outputs, columns, first


def _num_outputs(problem: Problem) -> int:
    return problem.loss.num_outputs(problem.class_counts.size)


def _columns(
    problem: Problem,
    outputs: Orbits,
    columns: Orbits,
    classes: IntArray,
    loss_weights: FloatArray,
    feature_weights: FloatArray,
) -> Columns:
    """Columns of which each orbit has samples of one class, or of alike ones, of which ``classes`` names the first."""
    problem.require_decays("columns")
    K = _num_outputs(problem)
    if problem.loss.alike:
        own, other = problem.loss.target(K)
        hard = Alike.matched(outputs, columns, outputs.members[classes])
        target = ((own - other) * hard).plus_rows(np.full(outputs.size, other))
    else:
        target = Alike.matrix(outputs, columns, problem.loss.target_columns(K, classes))
    return Columns(
        outputs=outputs,
        columns=columns,
        target=target,
        rows=classes,
        loss_weights=loss_weights,
        feature_weights=feature_weights,
        lambda_w=problem.lambda_w,
        lambda_h=problem.lambda_h,
        loss=problem.loss,
        nonnegative=problem.nonnegative,
        bias=bias_of(problem.bias, problem.loss, K, outputs.first, outputs.numbers),
    )
