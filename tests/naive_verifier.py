"""A naive verifier, written from docs/certificate.md and its chapter: fractions, full matrices, mpmath intervals.

It takes documents of the right form and says what the rules of sections 4 to 6 say of them. ``slack_is_psd`` asks a
different question, by another route: is the full slack matrix positive semidefinite, by symmetric elimination?
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, product

from mpmath import iv
from naive_losses import in_lowest_terms, interval, naive_loss

iv.dps = 80


def dyadic(text):
    mantissa, exponent = text.split("p")
    return Fraction(int(mantissa)) * Fraction(2) ** int(exponent)


def numbers(text):
    return [int(token) for token in text.split(" ")]


def vector(field):
    return [Fraction(number) * Fraction(2) ** field["exponent"] for number in numbers(field["integers"])]


def matrix(field):
    return [[Fraction(n) * Fraction(2) ** field["exponent"] for n in numbers(row)] for row in field["rows"]]


class NaiveProblem:
    def __init__(self, fields):
        repeats = numbers(fields["multiplicities"])
        runs = numbers(fields["class_counts"])
        weights = [Fraction(1)] * len(runs) if fields["class_weights"] is None else vector(fields["class_weights"])
        self.classes = [(n, w) for n, w, repeat in zip(runs, weights, repeats, strict=True) for _ in range(repeat)]
        self.K, self.N = len(self.classes), sum(n for n, _ in self.classes)
        self.pt = [w * n / self.N for n, w in self.classes]
        self.budgets, self.bias = None, fields.get("bias")
        if "weight_radius" in fields:  # classes of one sample, which are alike when their shares are
            self.budgets = [self.K * dyadic(fields[name]) for name in ("weight_radius", "feature_radius")]
            self.classes = [(1, n * w) for n, w in self.classes]
        self.lambda_w, self.lambda_h = (
            (Fraction(0), Fraction(0)) if self.budgets else (dyadic(fields["lambda_w"]), dyadic(fields["lambda_h"]))
        )
        self.nonnegative, self.feature_dim = fields["features"] == "nonnegative", fields["feature_dim"]
        self.loss = naive_loss(fields["loss"], self.K, vector, matrix, dyadic, numbers)
        self.table = getattr(self.loss, "rows", None)
        self.V = self.K if self.table is None else len(self.table[0])
        self.active = [k for k, (n, _) in enumerate(self.classes) if n > 0]  # the others are outputs alone
        self.distinct = sorted({self.classes[k] for k in self.active})

    def output_group(self, k):
        """The group of an output: the classes without samples come first, if there are any."""
        first = int(len(self.active) < self.K)
        return first + self.distinct.index(self.classes[k]) if k in self.active else 0

    @property
    def active_kinds(self):
        return [self.classes[k] for k in self.active]

    def load(self, k):
        """What the columns of a free bias are multiplied by."""
        return self.classes[k][0] * self.classes[k][1] if self.bias == "free" else Fraction(1)

    def decays(self, dual):
        if self.budgets is None:
            return self.lambda_w, self.lambda_h
        return [dyadic(dual["decays"][name]) / self.N for name in ("weights", "features")]

    def product(self, dual):
        alpha, beta = self.decays(dual)
        return alpha * beta


# -- dual points --------------------------------------------------------------------------------------------------


def full_columns(problem, dual):
    """v_k for every class with samples, in their order."""
    K, columns = problem.K, []
    if dual["kind"] == "diagonal":
        strengths = dict(zip(problem.distinct, vector(dual["strengths"]), strict=True))
        for k in problem.active:
            q = strengths[problem.classes[k]]
            columns.append([q / K - (q if j == k else 0) for j in range(K)])
        return columns
    place, dense = places(problem, dual), dual["kind"] in ("dense", "copositive")
    if problem.table is not None:  # columns are whole
        units = [Fraction(2) ** e for e in numbers(dual["exponents"])]
        rows = [[unit * x for x in numbers(row)] for unit, row in zip(units, dual["columns"], strict=True)]
        return [[entry / problem.load(j) for entry in row] for j, row in enumerate(rows)]
    outputs = [j if dense else problem.output_group(j) for j in range(K)]
    integers, exponents = [numbers(row) for row in dual["columns"]], numbers(dual["exponents"])
    for i, k in enumerate(problem.active):
        unit = Fraction(2) ** exponents[place[i]]
        column = [unit * integers[place[i]][outputs[j]] for j in range(K)]
        if problem.loss.tied:
            column[k] = -(sum(column) - column[k])
        else:
            column[k] = unit * numbers(dual["own"])[place[i]]
        if problem.loss.scale is not None:
            column = [a * w for a, w in zip(in_lowest_terms(problem.loss.scale), column, strict=True)]
        columns.append([entry / problem.load(k) for entry in column])
    return columns


def places(problem, dual):
    """The column of the file behind each class with samples."""
    if dual["kind"] in ("dense", "copositive"):
        return list(range(len(problem.active)))
    return [problem.distinct.index(problem.classes[k]) for k in problem.active]


def congruent(problem, dual):
    """The matrix M of section 4.2 without rounding radii, class by class, τ included; and the pieces of it."""
    K, place, exponents = len(problem.active), places(problem, dual), numbers(dual["exponents"])
    V, kinds, loads = full_columns(problem, dual), problem.active_kinds, list(map(problem.load, problem.active))
    X = [[loads[k] * entry / Fraction(2) ** exponents[place[k]] for entry in V[k]] for k in range(K)]
    rho = [
        problem.product(dual) * (problem.N * loads[k]) ** 2 / (w * w * n) / Fraction(4) ** exponents[place[k]]
        for k, (n, w) in enumerate(kinds)
    ]
    tau = [[Fraction(0)] * K for _ in range(K)]
    if dual.get("multiplier") is not None:
        rows, unit = [numbers(row) for row in dual["multiplier"]["rows"]], 2 ** dual["multiplier"]["exponent"]
        for k in range(K):
            for j in range(K):
                if k != j:
                    g, h = max(place[k], place[j]), min(place[k], place[j])
                    tau[k][j] = Fraction(rows[g][h] * unit)
    gram = [[sum(a * b for a, b in zip(X[k], X[j], strict=True)) for j in range(K)] for k in range(K)]
    M = [[(rho[k].__floor__() if k == j else 0) - gram[k][j] - tau[k][j] for j in range(K)] for k in range(K)]
    return M, place


def remainder(problem, dual):
    """(E, whether (8) holds) from the full matrix."""
    M, place = congruent(problem, dual)
    size = max(place) + 1
    members = [[k for k in range(len(place)) if place[k] == g] for g in range(size)]
    alike = all(M[m[0]][m[0]] - M[m[0]][m[1]] >= 0 for m in members if len(m) > 1)
    E = [[sum(M[k][j] for k in members[g] for j in members[h]) for h in range(size)] for g in range(size)]
    if dual["factor"] is not None:
        C = [numbers(row) + [0] * (size - g - 1) for g, row in enumerate(dual["factor"])]
        for g in range(size):
            for h in range(size):
                E[g][h] -= sum(a * b for a, b in zip(C[g], C[h], strict=True))
    return E, alike, members


def slack_holds(problem, dual):
    if dual["kind"] == "diagonal":
        K = problem.K
        for (n, w), q in zip(problem.distinct, vector(dual["strengths"]), strict=True):
            if q < 0 or (q > 0 and not problem.nonnegative):
                return False
            if (w * q) ** 2 * n * (K - 1) > problem.N**2 * problem.product(dual) * K:
                return False
        return True
    if dual["kind"] == "copositive":
        return copositive_holds(congruent(problem, dual)[0], dual["cubic"])
    E, alike, _ = remainder(problem, dual)
    for g, row in enumerate(E):
        deficits = [max(-e, 0) if problem.nonnegative else abs(e) for h, e in enumerate(row) if h != g]
        if row[g] < sum(deficits):
            return False
    return alike


def copositive_holds(C, cubic):
    """(16) as the coefficients of a cubic form, each collected from all m³ products; or Keller's criterion on C."""
    m = len(C)
    if cubic is None:
        return keller(C)
    weights, factors = numbers(cubic["weights"]), [[numbers(row) for row in factor] for factor in cubic["factors"]]
    form = Counter()
    for i, j, k in product(range(m), repeat=3):
        inner = sum(a * b for a, b in zip(factors[i][j], factors[i][k], strict=False))  # rows of a triangle
        form[tuple(sorted((i, j, k)))] += weights[i] * C[j][k] - inner
    return min(weights) >= 1 and min(form.values()) >= 0


def keller(C):
    """Copositive unless a principal block has a determinant < 0 and cofactors ≥ 0 along its last row."""
    for size in range(1, len(C) + 1):
        for support in combinations(range(len(C)), size):
            block = [[C[k][j] for j in support] for k in support]
            if determinant(block) >= 0:
                continue
            minors = [determinant([row[:j] + row[j + 1 :] for row in block[:-1]]) for j in range(size)]
            if all((-1) ** (size - 1 + j) * minor >= 0 for j, minor in enumerate(minors)):
                return False
    return True


def determinant(matrix):
    """By elimination, in fractions; 1 of no rows."""
    rows, value = [[Fraction(entry) for entry in row] for row in matrix], Fraction(1)
    for k in range(len(rows)):
        pivot = next((i for i in range(k, len(rows)) if rows[i][k]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != k:
            rows[k], rows[pivot], value = rows[pivot], rows[k], -value
        value *= rows[k][k]
        for i in range(k + 1, len(rows)):
            ratio = rows[i][k] / rows[k][k]
            rows[i] = [a - ratio * b for a, b in zip(rows[i], rows[k], strict=True)]
    return value


def slack_is_psd(problem, dual):
    """Whether D − G − T ⪰ 0 for the T that the proof names, by elimination on the matrix of all with samples.

    A copositive slack need not be; that it is copositive is decided by Keller's criterion, whatever its proof says.
    """
    K = len(problem.active)
    if dual["kind"] == "diagonal":
        V = full_columns(problem, dual)
        U = [[problem.pt[problem.active[k]] * entry for entry in V[k]] for k in range(K)]
        R = [[-sum(a * b for a, b in zip(U[k], U[j], strict=True)) for j in range(K)] for k in range(K)]
        for k, (n, _) in enumerate(problem.active_kinds):
            R[k][k] += problem.product(dual) * n
        if problem.nonnegative:  # T cancels what is positive off the diagonal
            R = [[R[k][j] if k == j else min(R[k][j], Fraction(0)) for j in range(K)] for k in range(K)]
        return is_psd(R)
    if dual["kind"] == "residuals":
        return True  # ``residuals_hold`` asks this question and no other
    M, place = congruent(problem, dual)
    if dual["kind"] == "copositive":
        return keller(M)
    if problem.nonnegative:
        E, _, members = remainder(problem, dual)
        for k in range(K):
            for j in range(K):
                g, h = place[k], place[j]
                if g != h and E[g][h] > 0:
                    M[k][j] -= Fraction(E[g][h], len(members[g]) * len(members[h]))
    return is_psd(M)


def is_psd(matrix):
    """Symmetric elimination in fractions."""
    A = [row[:] for row in matrix]
    size = len(A)
    for k in range(size):
        if A[k][k] < 0 or (A[k][k] == 0 and any(A[k][j] != 0 for j in range(k + 1, size))):
            return False
        if A[k][k] == 0:
            continue
        for i in range(k + 1, size):
            factor = A[i][k] / A[k][k]
            for j in range(k + 1, size):
                A[i][j] -= factor * A[k][j]
    return True


def dual_value(problem, dual):
    """Interval of −Σ pt l* less what budgets and bias cost, or None outside the domain."""
    total, columns = iv.mpf(0), full_columns(problem, dual)
    if problem.budgets is not None:
        pairs = zip(problem.decays(dual), problem.budgets, strict=True)
        total -= interval(sum(decay * budget / 2 for decay, budget in pairs))
    if problem.bias is not None:
        shares = [problem.pt[k] for k in problem.active]
        sums = [sum(pt * column[j] for pt, column in zip(shares, columns, strict=True)) for j in range(problem.V)]
        if problem.bias == "free" and any(sums):
            return None
        if problem.bias != "free":
            total -= interval(sum(s * s for s in sums) / (2 * dyadic(problem.bias)))
    for k, column in zip(problem.active, columns, strict=True):
        conjugate = problem.loss.conjugate(column, k)
        if conjugate is None:
            return None
        total -= interval(problem.pt[k]) * conjugate
    return total


# -- primal points ------------------------------------------------------------------------------------------------


def objective(problem, W, rows, labels, repeats, b=None):
    """Interval of f at explicit arrays; ``repeats[i]`` samples have the feature of row i."""
    total = interval(problem.lambda_w * sum(w * w for row in W for w in row) / 2)
    b = [Fraction(0)] * problem.V if b is None else b
    if problem.bias not in (None, "free"):
        total += interval(dyadic(problem.bias) * sum(entry * entry for entry in b) / 2)
    for h, k, repeat in zip(rows, labels, repeats, strict=True):
        if repeat == 0:
            continue
        z = [interval(sum((x * y for x, y in zip(w, h, strict=True)), entry)) for w, entry in zip(W, b, strict=True)]
        total += interval(problem.classes[k][1] * repeat / problem.N) * problem.loss.value(z, k)
        total += interval(problem.lambda_h * repeat * sum(x * x for x in h) / 2)
    return total


def frame_arrays(problem, witness):
    """W and H (K, K) of a frame."""
    K, eta, omega = problem.K, vector(witness["eta"]), vector(witness["omega"])
    free = {kind: [k for k in range(K) if problem.classes[k] == kind] for kind in problem.distinct}
    etas, omegas = [Fraction(0)] * K, [Fraction(0)] * K
    for i, (g, repeat) in enumerate(zip(numbers(witness["groups"]), numbers(witness["multiplicities"]), strict=True)):
        for _ in range(repeat):
            k = free[problem.distinct[g]].pop()
            etas[k], omegas[k] = eta[i], omega[i]
    H = [[etas[k] if j == k else Fraction(0) for j in range(K)] for k in range(K)]
    W = [[omegas[j] * ((k == j) - Fraction(1, K)) for j in range(K)] for k in range(K)]
    return W, H, min(*etas, *omegas) >= 0, sum(1 for a, b in zip(etas, omegas, strict=True) if a or b)


def invariant_array(problem, field):
    """The full (K, K) matrix."""
    unit, own, rows = Fraction(2) ** field["exponent"], numbers(field["own"]), [numbers(r) for r in field["rows"]]
    place = [problem.output_group(k) for k in range(problem.K)]
    return [
        [unit * (own[place[k]] if j == k else rows[place[k]][place[j]]) for j in range(problem.K)]
        for k in range(problem.K)
    ]


def witness_arrays(problem, witness):
    if witness["kind"] == "frame":
        return frame_arrays(problem, witness)
    if witness["kind"] == "group":
        W, H = (invariant_array(problem, witness[name]) for name in ("W", "H"))
    else:
        W, H = matrix(witness["W"]), matrix(witness["H"])
    used = sum(1 for j in range(len(W[0])) if any(row[j] for row in W) or any(row[j] for row in H))
    return W, H, not problem.nonnegative or min(min(row) for row in H) >= 0, used


def within(problem, W, H):
    squares = [sum(x * x for row in matrix for x in row) for matrix in (W, H)]
    return problem.budgets is None or all(s <= most for s, most in zip(squares, problem.budgets, strict=True))


def _fits(problem, used):
    return problem.feature_dim is None or used <= problem.feature_dim


# -- the steps ----------------------------------------------------------------------------------------------------


def verdict(document):
    """ "PROVED", "REFUTED" or "INCONCLUSIVE" for a document of the right form."""
    decisions = list(_decisions(document))
    return "REFUTED" if False in decisions else "INCONCLUSIVE" if None in decisions else "PROVED"


def _at_least(enclosure, bound):
    """True, False, or None when the interval does not decide."""
    bound = interval(bound)
    if enclosure.a >= bound.b:
        return True
    return False if enclosure.b < bound.a else None


def residuals(problem, dual, witness):
    """Intervals of v = s (p − y) at W and H, column by column."""
    point, s = dual["point"] or witness, dyadic(dual["scale"])
    W, H = matrix(point["W"]), matrix(point["H"])
    b = vector(point["bias"]) if "bias" in point else [Fraction(0)] * problem.V
    columns = []
    for h, row in zip(H, problem.table, strict=True):
        z = [interval(sum((x * y for x, y in zip(w, h, strict=True)), entry)) for w, entry in zip(W, b, strict=True)]
        columns.append([interval(s) * (p - interval(y)) for p, y in zip(problem.loss.predicted(z), row, strict=True)])
    return columns


def residuals_hold(problem, dual, witness):
    """Whether D − UᵀU, m × m whatever V is, has positive pivots; None where they are not told from 0."""
    V, n = residuals(problem, dual, witness), [n for n, _ in problem.classes]
    U = [[interval(pt) * entry for entry in column] for pt, column in zip(problem.pt, V, strict=True)]
    rest = [[-sum((a * b for a, b in zip(u, v, strict=True)), iv.mpf(0)) for v in U] for u in U]
    for j, count in enumerate(n):
        rest[j][j] += interval(problem.lambda_w * problem.lambda_h * count)
    for k in range(len(rest)):
        if rest[k][k].b < 0:
            return False
        if rest[k][k].a <= 0:
            return None
        for i in range(k + 1, len(rest)):
            ratio = rest[i][k] / rest[k][k]
            rest[i] = [a - ratio * b for a, b in zip(rest[i], rest[k], strict=True)]
    return True


def residual_value(problem, dual, witness):
    """Interval of the dual value at the residuals."""
    total, V = iv.mpf(0), residuals(problem, dual, witness)
    for j, (pt, column) in enumerate(zip(problem.pt, V, strict=True)):
        total -= interval(pt) * problem.loss.conjugate_at(column, j)
    if problem.bias is not None:
        for j in range(problem.V):
            s = sum((interval(pt) * column[j] for pt, column in zip(problem.pt, V, strict=True)), iv.mpf(0))
            total -= s * s / interval(2 * dyadic(problem.bias))
    return total


def _decisions(document):
    problem, claims = NaiveProblem(document["problem"]), document["claims"]
    lower, upper = dyadic(claims["lower"]), dyadic(claims["upper"])
    dual, witness = document["dual"], document["witness"]
    if dual["kind"] == "residuals":
        yield residuals_hold(problem, dual, witness)
        yield _at_least(residual_value(problem, dual, witness), lower)
    else:
        yield slack_holds(problem, dual)
        value = dual_value(problem, dual)
        yield False if value is None else _at_least(value, lower)
    W, H, admissible, used = witness_arrays(problem, document["witness"])
    yield admissible and _fits(problem, used) and within(problem, W, H)
    b = vector(document["witness"]["bias"]) if "bias" in document["witness"] else None
    counts = [n for n, _ in problem.classes]
    yield _at_least(-objective(problem, W, H, range(problem.K), counts, b), -upper)
    about = claims["candidate"]
    if about is not None:
        yield from _candidate_decisions(problem, document["candidate"], about, lower, upper)
    yield _not_empty(about, lower, upper) and claims["verdict"] == _amounts_to(claims, lower, upper)


def _candidate_decisions(problem, candidate, about, lower, upper):
    arrays = candidate["arrays"]
    if arrays is None:
        yield None
    else:
        W, rows = matrix(arrays["W"]), matrix(arrays["features"])
        sample = arrays["labels"] is not None
        labels = numbers(arrays["labels"]) if sample else list(range(problem.K))
        repeats = [1] * len(rows) if sample else [n for n, _ in problem.classes]
        if about["violation"] is not None:
            place, value = about["violation"], dyadic(about["violation"]["value"])
            there = place["row"] < len(rows) and place["column"] < len(W[0])
            yield problem.nonnegative and value < 0 and there and rows[place["row"]][place["column"]] == value
            return
        used = sum(1 for j in range(len(W[0])) if any(r[j] for r in W) or any(r[j] for r in rows))
        yield _fits(problem, used) and (not problem.nonnegative or min(min(row) for row in rows) >= 0)
        value = objective(problem, W, rows, labels, repeats, vector(arrays["bias"]) if "bias" in arrays else None)
        yield _at_least(value, dyadic(about["objective"]["lower"]))
        yield _at_least(-value, -dyadic(about["objective"]["upper"]))
    if about["violation"] is None:
        f = [dyadic(about["objective"][end]) for end in ("lower", "upper")]
        g = [dyadic(about["gap"][end]) for end in ("lower", "upper")]
        yield g[0] <= max(Fraction(0), f[0] - upper) and g[1] >= f[1] - lower


def _not_empty(about, lower, upper):
    if about is None or about["violation"] is not None:
        return lower <= upper
    f, g = ([dyadic(about[name][end]) for end in ("lower", "upper")] for name in ("objective", "gap"))
    return lower <= upper and f[0] <= f[1] and g[0] <= g[1] and lower <= f[1]


def _amounts_to(claims, lower, upper):
    about, f = claims["candidate"], (upper, upper)
    if about is not None:
        if about["violation"] is not None:
            return "infeasible"
        f = dyadic(about["objective"]["lower"]), dyadic(about["objective"]["upper"])
    if f[1] - lower <= dyadic(claims["tolerance"]) * f[1]:
        return "optimal"
    return "suboptimal" if f[0] > upper else "undecided"
