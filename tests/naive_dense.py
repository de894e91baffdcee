"""The relaxation once more and naively: full arrays, loops over columns, losses written out; nothing of the package.

A ``Naive`` is made of plain numbers. Its losses are functions of one column: (name, parameters) as ``Loss.name`` and
``Loss.parameters()`` state them, with "margins" and "scale" for hard margins.
"""

import numpy as np


def log_sum_exp(z):
    return z.max() + np.log(np.exp(z - z.max()).sum())


def x_log_x(x):
    return float(sum(p * np.log(p) for p in x if p > 0))


class NaiveLoss:
    """One loss of K outputs; ``value(z, k)`` and ``conjugate(v, k)`` of a column of class, or row, k."""

    def __init__(self, name, parameters, K):
        self.name, self.K = name, K
        self.given = {key: value for key, value in parameters.items() if value is not None}

    def transform(self):
        """Scale, shift and table of targets of what is cross-entropy in the end."""
        K, given = self.K, self.given
        scale, shift, targets = np.ones(K), np.zeros(K), np.eye(K)
        if self.name == "cross-entropy":
            alpha = given.get("smoothing", 0.0)
            targets = (1 - alpha) * np.eye(K) + alpha / K
        elif self.name == "soft-target-cross-entropy":
            targets = np.array(given["targets"])
        else:
            scale, shift = np.array(given.get("scale", scale)), np.array(given.get("shift", shift))
        return scale, shift, targets

    @property
    def is_softmax(self):
        return self.name in ("cross-entropy", "soft-target-cross-entropy", "logit-adjusted-cross-entropy")

    def margins(self, k):
        given = self.given.get("margins", 1.0)
        row = given[k] if isinstance(given, (list, tuple)) else given
        return np.array(row) if isinstance(row, (list, tuple)) else np.full(self.K, row)

    def value(self, z, k):
        others = [j for j in range(self.K) if j != k]
        if self.is_softmax:
            scale, shift, targets = self.transform()
            x = scale * z + shift
            return log_sum_exp(x) - targets[k] @ x
        if self.name == "label-margin-cross-entropy":
            lowered = z - self.given["margins"][k] * np.eye(self.K)[k]
            return log_sum_exp(lowered) - lowered[k]
        if self.name == "squared-hinge":
            return 0.5 * sum(max(0.0, 1.0 + z[j] - z[k]) ** 2 for j in others)
        if self.name == "mean-squared-error":
            return 0.5 * ((z - np.eye(self.K)[k]) ** 2).sum()
        if self.name == "binary-cross-entropy":
            return float(sum(np.logaddexp(0.0, -z[j] if j == k else z[j]) for j in range(self.K)))
        if self.name == "multiclass-hinge":
            hinges = [max(0.0, 1.0 + z[j] - z[k]) for j in others]
            return max(hinges) if self.given["kind"] == "crammer-singer" else sum(hinges)
        scale = np.array(self.given.get("scale", np.ones(self.K)))
        met = all(scale[k] * z[k] - scale[j] * z[j] >= self.margins(k)[j] for j in others)
        return 0.0 if met else np.inf

    def conjugate(self, v, k):
        others = [j for j in range(self.K) if j != k]
        if self.is_softmax:
            scale, shift, targets = self.transform()
            p = v / scale + targets[k]
            inside = p.min() > -1e-12 and abs(p.sum() - 1.0) < 1e-12
            return x_log_x(p) - (p - targets[k]) @ shift if inside else np.inf
        if self.name == "label-margin-cross-entropy":
            p = v + np.eye(self.K)[k]
            inside = p.min() > -1e-12 and abs(p.sum() - 1.0) < 1e-12
            return x_log_x(p) + self.given["margins"][k] * v[k] if inside else np.inf
        if self.name == "squared-hinge":
            inside = v[others].min() > -1e-12 and abs(v.sum()) < 1e-12 * max(1.0, np.abs(v).max())
            return float((0.5 * v[others] ** 2 - v[others]).sum()) if inside else np.inf
        if self.name == "mean-squared-error":
            return 0.5 * v @ v + v[k]
        if self.name == "binary-cross-entropy":
            p = np.array([-v[j] if j == k else v[j] for j in range(self.K)])
            return x_log_x(p) + x_log_x(1 - p) if p.min() > -1e-12 and p.max() < 1 + 1e-12 else np.inf
        rest = v[others]
        if self.name == "multiclass-hinge":
            room = rest.sum() if self.given["kind"] == "crammer-singer" else rest.max()
            return v[k] if rest.min() > -1e-12 and room < 1 + 1e-12 and abs(v.sum()) < 1e-12 else np.inf
        w = v / np.array(self.given.get("scale", np.ones(self.K)))
        size = np.abs(w).sum()
        if w[others].min() < -1e-12 * size or abs(w.sum()) > 1e-12 * size:
            return np.inf
        return -sum(self.margins(k)[j] * w[j] for j in others)


class Naive:
    """min Σ weight l(L e_j + b) + λ_W/2 tr A + λ_H/2 Σ ν B_jj + g(b) on full arrays."""

    def __init__(self, loss, labels, weights, features, lambda_w, lambda_h, bias=None):
        self.loss, self.labels = loss, np.asarray(labels)
        self.weights, self.features = np.asarray(weights, float), np.asarray(features, float)
        self.lambda_w, self.lambda_h, self.bias = lambda_w, lambda_h, bias

    @classmethod
    def of(cls, loss, counts, omega, lambda_w, lambda_h, bias, level):
        """At class or sample level; classes without samples have no column."""
        N = sum(counts)
        if level == "sample":
            labels = [k for k, n in enumerate(counts) for _ in range(n)]
            return cls(loss, labels, [omega[k] / N for k in labels], np.ones(N), lambda_w, lambda_h, bias)
        labels = [k for k, n in enumerate(counts) if n]
        weights = [omega[k] * counts[k] / N for k in labels]
        return cls(loss, labels, weights, [counts[k] for k in labels], lambda_w, lambda_h, bias)

    def penalty(self, b):
        return 0.0 if self.bias in (None, "free") else 0.5 * self.bias * float(b @ b)

    def support(self, s):
        if self.bias is None:
            return 0.0
        if self.bias == "free" or self.bias < 1e-12:  # a faint one is treated as free
            return 0.0 if np.abs(s).max() < 1e-12 else np.inf
        return float(s @ s) / (2.0 * self.bias)

    def columns(self, matrix):
        return [(matrix[:, j], int(k)) for j, k in enumerate(self.labels)]

    def objective(self, A, L, B, b):
        total = self.penalty(b) + 0.5 * self.lambda_w * np.trace(A) + 0.5 * self.lambda_h * self.features @ np.diag(B)
        return total + sum(
            w * self.loss.value(z + b, k) for w, (z, k) in zip(self.weights, self.columns(L), strict=True)
        )

    def dual_value(self, V):
        conjugates = sum(w * self.loss.conjugate(v, k) for w, (v, k) in zip(self.weights, self.columns(V), strict=True))
        return -conjugates - self.support((V * self.weights).sum(axis=1))

    def terms(self, A, L, B, b, V, T):
        """The six terms of the identity, in the order of their names."""
        U = V * self.weights
        sums = U.sum(axis=1)
        calibration = 0.0
        for w, (z, k), (v, _) in zip(self.weights, self.columns(L), self.columns(V), strict=True):
            calibration += w * (self.loss.value(z + b, k) + self.loss.conjugate(v, k) - v @ (z + b))
        block = np.hstack([np.eye(len(A)), U / self.lambda_w])
        Z = np.block([[A, L], [L.T, B]])
        slack = self.lambda_w * self.lambda_h * np.diag(self.features) - U.T @ U - T
        misfit = 0.0 if self.bias is None else self.penalty(b) + self.support(sums) + sums @ b
        return {
            "dual_value": self.dual_value(V),
            "calibration": calibration,
            "alignment": 0.5 * self.lambda_w * np.trace(block @ Z @ block.T),
            "nonnegativity": (T * B).sum() / (2 * self.lambda_w),
            "slack": (slack * B).sum() / (2 * self.lambda_w),
            "bias": misfit,
        }

    def slack_eigenvalue(self, V, T):
        """The smallest eigenvalue of D^{-1/2} R D^{-1/2}."""
        U = V * self.weights
        root = np.sqrt(self.lambda_w * self.lambda_h * self.features)
        return np.linalg.eigvalsh(np.eye(root.size) - (U.T @ U + T) / np.outer(root, root))[0]
