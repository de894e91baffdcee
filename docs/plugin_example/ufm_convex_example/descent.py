"""Descent on W and H from an orthogonal frame, for whoever wants points: nobody has to believe where it ends."""

import numpy as np
from scipy.optimize import minimize


def descend(problem, tolerance):
    """W (K, d), class-mean features H (K, d) and residuals V (K, K), whose column k is ∇l_k(W h_k)."""
    K, d = problem.num_classes, problem.feature_dim or problem.num_classes
    layout = problem.loss.layout(K, np.arange(K))
    weights, decays = problem.loss_weights, problem.lambda_h * problem.class_counts

    def split(x):
        return x[: K * d].reshape(K, d), x[K * d :].reshape(K, d)

    def objective(x):
        W, H = split(x)
        z = W @ H.T
        U = problem.loss.residuals(z, layout) * weights
        penalty = 0.5 * problem.lambda_w * np.sum(W**2) + 0.5 * decays @ np.sum(H**2, axis=1)
        gradient = np.concatenate([U @ H + problem.lambda_w * W, U.T @ W + decays[:, None] * H], axis=None)
        return float(weights @ problem.loss.values(z, layout) + penalty), gradient

    start = np.concatenate([np.eye(K, d) - 1.0 / K, np.eye(K, d)], axis=None)
    bounds = [(None, None)] * (K * d) + [(0.0 if problem.nonnegative else None, None)] * (K * d)
    options = {"maxiter": 10_000, "ftol": 0.0, "gtol": 1e-3 * tolerance}
    W, H = split(minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x)
    return W, H, problem.loss.residuals(W @ H.T, layout)
