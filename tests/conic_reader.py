"""A naive reader of Conic Benchmark Format, written from its specification alone, and what it is good for.

Knows what version 3 says of PSDVAR, VAR, CON, F, L+, L= and EXP. Independent of the package: it imports nothing of it.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Row:
    """Affine expression Σ <F_j, X_j> + Σ a x + b."""

    F: list
    a: dict
    b: float = 0.0


@dataclass
class File:
    orders: list
    num_scalars: int
    cones: list
    objective: Row
    rows: list


@dataclass
class Report:
    objective: float
    psd: float
    linear: float
    exponential: float
    slack: float


def read(text):
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    file = File([], 0, [], Row([], {}), [])
    position = 0

    def take():
        nonlocal position
        position += 1
        return lines[position - 1]

    while position < len(lines):
        (keyword,) = take()
        if keyword == "VER":
            assert take() == ["3"]
            continue
        if keyword == "OBJSENSE":
            assert take() == ["MIN"]
            continue
        count, *more = map(int, take())
        if keyword == "PSDVAR":
            file.orders = [int(take()[0]) for _ in range(count)]
        elif keyword == "VAR":
            assert [take() for _ in range(more[0])] == [["F", str(count)]]
            file.num_scalars = count
        elif keyword == "CON":
            file.cones = [(name, int(size)) for name, size in (take() for _ in range(more[0]))]
            assert sum(size for _, size in file.cones) == count
            file.rows = [Row([], {}) for _ in range(count)]
            file.objective.F = [np.zeros((n, n)) for n in file.orders]
        elif keyword == "OBJFCOORD":
            for j, r, c, value in (take() for _ in range(count)):
                put(file.objective.F[int(j)], int(r), int(c), float(value))
        elif keyword == "OBJACOORD":
            file.objective.a = {int(j): float(value) for j, value in (take() for _ in range(count))}
        elif keyword == "FCOORD":
            for i, j, r, c, value in (take() for _ in range(count)):
                row = file.rows[int(i)]
                row.F = row.F or [np.zeros((n, n)) for n in file.orders]
                put(row.F[int(j)], int(r), int(c), float(value))
        elif keyword == "ACOORD":
            for i, j, value in (take() for _ in range(count)):
                file.rows[int(i)].a[int(j)] = float(value)
        elif keyword == "BCOORD":
            for i, value in (take() for _ in range(count)):
                file.rows[int(i)].b = float(value)
        else:
            raise ValueError(keyword)
    return file


def put(matrix, r, c, value):
    """An entry of a symmetric matrix, given once: lower triangle only, and no entry twice."""
    assert r >= c
    assert matrix[r, c] == 0.0
    matrix[r, c] = matrix[c, r] = value


def split(file, values):
    """The symmetric matrices and the scalars of a flat vector."""
    blocks, start = [], 0
    for n in file.orders:
        block = np.zeros((n, n))
        for r in range(n):
            for c in range(r + 1):
                block[r, c] = block[c, r] = values[start]
                start += 1
        blocks.append(block)
    scalars = values[start:]
    assert len(scalars) == file.num_scalars
    return blocks, scalars


def value_of(row, blocks, scalars):
    pairing = sum(float((F * X).sum()) for F, X in zip(row.F, blocks, strict=False))
    return pairing + sum(a * scalars[j] for j, a in row.a.items()) + row.b


def evaluate(file, values):
    """Objective, violations of each kind, and the largest slack of an exponential cone."""
    blocks, scalars = split(file, values)
    report = Report(value_of(file.objective, blocks, scalars), 0.0, 0.0, 0.0, 0.0)
    report.psd = max(max(0.0, -float(np.linalg.eigvalsh(X)[0])) for X in blocks)
    start = 0
    for name, size in file.cones:
        g = [value_of(row, blocks, scalars) for row in file.rows[start : start + size]]
        start += size
        if name == "L+":
            report.linear = max(report.linear, *(-x for x in g))
        elif name == "EXP":
            excess = g[1] * math.exp(g[2] / g[1]) - g[0] if g[1] > 0.0 else math.inf
            report.exponential = max(report.exponential, excess)
            report.slack = max(report.slack, -excess)
        else:
            raise ValueError(name)
    return report


def solve(file):
    """The optimal value by cvxpy and Clarabel; cvxpy's exponential cone has the triple reversed."""
    import cvxpy as cp

    blocks = [cp.Variable((n, n), symmetric=True) for n in file.orders]
    x = cp.Variable(file.num_scalars)

    def expression(row):
        terms = [cp.sum(cp.multiply(F, X)) for F, X in zip(row.F, blocks, strict=False) if F.any()]
        return sum(terms, start=cp.Constant(row.b)) + sum(a * x[j] for j, a in row.a.items())

    rows = [expression(row) for row in file.rows]
    constraints, start = [X >> 0 for X in blocks], 0
    for name, size in file.cones:
        g = rows[start : start + size]
        start += size
        constraints += [y >= 0 for y in g] if name == "L+" else [cp.ExpCone(g[2], g[1], g[0])]
    problem = cp.Problem(cp.Minimize(expression(file.objective)), constraints)
    problem.solve(solver=cp.CLARABEL)
    return problem.value
