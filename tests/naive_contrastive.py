"""A naive verifier of contrastive proofs, from docs/contrastive_files.md, section 10: fractions and intervals.

``verdict`` takes classes one by one. ``sample_by_sample`` asks the same of all samples, without formulas for classes,
and builds the probabilities, Θ, μ and the N × N slack matrix, and the Gram matrix of explicit features.
"""

from __future__ import annotations

from fractions import Fraction

from mpmath import iv
from naive_losses import interval
from naive_verifier import dyadic, is_psd, numbers, vector

iv.dps = 80


class NaiveProblem:
    def __init__(self, fields):
        runs, repeats = numbers(fields["class_counts"]), numbers(fields["multiplicities"])
        self.counts = [n for n, repeat in zip(runs, repeats, strict=True) for _ in range(repeat)]
        self.distinct = sorted(set(runs))
        self.N, self.T = sum(self.counts), dyadic(fields["temperature"])
        self.bound, self.lambda_h = (
            None if fields[name] is None else dyadic(fields[name]) for name in ("bound", "lambda_h")
        )
        self.labels = [k for k, n in enumerate(self.counts) for _ in range(n)] if self.N < 100 else None

    def of_classes(self, field):
        """One number a class, from one a distinct count."""
        entries = dict(zip(self.distinct, vector(field), strict=True))
        return [entries[n] for n in self.counts]


def at_least(enclosure, bound):
    """True, False, or None when the interval does not decide."""
    if (enclosure - interval(bound)).a >= 0:
        return True
    return False if (enclosure - interval(bound)).b < 0 else None


def plogp(p):
    return interval(p) * iv.log(interval(p)) if p else iv.mpf(0)


def verdict(document):
    """ "PROVED", "REFUTED" or "INCONCLUSIVE" for a document of the right form."""
    decisions = list(_decisions(document))
    return "REFUTED" if False in decisions else "INCONCLUSIVE" if None in decisions else "PROVED"


def _decisions(document):
    problem, claims = NaiveProblem(document["problem"]), document["claims"]
    lower, upper, tolerance = (dyadic(claims[name]) for name in ("lower", "upper", "tolerance"))
    s, eta = problem.of_classes(document["dual"]["outside"]), problem.of_classes(document["witness"]["lengths"])
    yield min(s) >= 0 and max(s) <= 1
    if problem.lambda_h is not None:
        yield max(s) <= problem.lambda_h * problem.T / 2
    if min(s) >= 0 and max(s) <= 1:
        yield at_least(_dual_value(problem, s), lower)
    yield min(eta) >= 0 and (problem.bound is None or max(eta) ** 2 <= problem.bound)
    yield at_least(-_objective(problem, eta), -upper)
    yield lower <= upper
    yield claims["verdict"] == ("optimal" if upper - lower <= tolerance * upper else "undecided")


def _dual_value(problem, s):
    total = iv.mpf(0)
    for n, outside in zip(problem.counts, s, strict=True):
        if n > 1:
            own, others = (1 - outside) / (n - 1), outside / (problem.N - n)
            entropy = -(n - 1) * plogp(own) - (problem.N - n) * plogp(others)
            price = Fraction(0) if problem.bound is None else outside * problem.bound / problem.T
            total += n * (entropy - interval(price))
    return total


def _objective(problem, eta):
    total = iv.mpf(0)
    for n, length in zip(problem.counts, eta, strict=True):
        if n > 1:
            total += n * iv.log(n - 1 + (problem.N - n) * iv.exp(-interval(length**2 / problem.T)))
        total += interval((problem.lambda_h or 0) / 2 * n * length**2)
    return total


def sample_by_sample(document):
    """Whether the two bounds hold, with every matrix written out."""
    problem, claims = NaiveProblem(document["problem"]), document["claims"]
    y, s = problem.labels, problem.of_classes(document["dual"]["outside"])
    P = [[_probability(problem, s, i, j) for j in range(problem.N)] for i in range(problem.N)]
    anchors = [problem.counts[k] > 1 for k in y]
    if any(sum(row) != anchor or min(row) < 0 for row, anchor in zip(P, anchors, strict=True)):
        return False
    mu = [s[k] if problem.bound is not None else problem.lambda_h * problem.T / 2 for k in y]
    gradient = [[(_gradient(problem, P, i, j) + _gradient(problem, P, j, i)) / 2 for j in range(problem.N)]
                for i in range(problem.N)]  # fmt: skip
    theta = [[gradient[i][j] if y[i] != y[j] else Fraction(0) for j in range(problem.N)] for i in range(problem.N)]
    slack = [[gradient[i][j] - theta[i][j] + (mu[i] if i == j else 0) for j in range(problem.N)]
             for i in range(problem.N)]  # fmt: skip
    if min(map(min, theta)) < 0 or min(mu) < 0 or not is_psd(slack):
        return False
    value = -sum((plogp(p) for row in P for p in row), iv.mpf(0))
    if problem.bound is not None:
        value -= interval(sum(mu) * problem.bound / problem.T)
    return bool(at_least(value, dyadic(claims["lower"])) and at_least(-_raw(document), -dyadic(claims["upper"])))


def _probability(problem, s, i, j):
    """p_ij: what the anchor i spends on the sample j."""
    k, n = problem.labels[i], problem.counts[problem.labels[i]]
    if i == j or n == 1:
        return Fraction(0)
    return (1 - s[k]) / (n - 1) if problem.labels[j] == k else s[k] / (problem.N - n)


def _gradient(problem, P, i, j):
    n = problem.counts[problem.labels[i]]
    positive = i != j and n > 1 and problem.labels[i] == problem.labels[j]
    return P[i][j] - (Fraction(1, n - 1) if positive else 0)


def _raw(document):
    """The objective by its definition, at explicit features."""
    problem = NaiveProblem(document["problem"])
    eta, y = problem.of_classes(document["witness"]["lengths"]), problem.labels
    H = [[eta[k] if k == c else Fraction(0) for c in range(len(eta))] for k in y]
    G = [[sum(a * b for a, b in zip(first, second, strict=True)) / problem.T for second in H] for first in H]
    total = interval((problem.lambda_h or 0) / 2 * sum(x * x for row in H for x in row))
    for i, k in enumerate(y):
        positives = [j for j in range(len(y)) if j != i and y[j] == k]
        powers = sum((iv.exp(interval(G[i][l])) for l in range(len(y)) if l != i), iv.mpf(0))  # noqa: E741
        for j in positives:
            total += (iv.log(powers) - interval(G[i][j])) / len(positives)
    return total
