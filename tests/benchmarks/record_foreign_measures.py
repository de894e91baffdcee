"""Record what another implementation of neural-collapse measures says, for tests/test_geometry.py; run by hand.

    git clone https://github.com/rhubarbwu/neural-collapse      # Wu and Mehrotra, MIT licence
    pip install torch scipy
    PYTHONPATH=neural-collapse python -m tests.benchmarks.record_foreign_measures COMMIT OUTPUT.json

Nothing of the package is imported. The inputs are recorded in full beside the figures, so that the test needs neither
torch nor a random generator that stays the same.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import scipy
import torch
from neural_collapse import accumulate, kernels, measure

from tests.scripts import parsed, small

CASES = {  # name: (class counts, d, whether features are after a ReLU)
    "balanced": ([6, 6, 6], 4, False),
    "imbalanced": ([9, 5, 3, 2], 6, True),
    "narrow": ([7, 4, 4, 3, 2], 3, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="of their repository")
    parser.add_argument("output", type=Path)
    small(parser)
    options = parsed(parser)
    record = {
        "source": f"https://github.com/rhubarbwu/neural-collapse at commit {options.commit}",
        "made_by": "tests/benchmarks/record_foreign_measures.py",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "scipy": scipy.__version__},
        "precision": "binary64",
        "cases": {name: case(seed, *arguments) for seed, (name, arguments) in enumerate(CASES.items())},
    }
    options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for name, recorded in record["cases"].items():
        print(f"{name}: {len(recorded['weights'])} classes, {len(recorded['figures'])} figures")


def case(seed: int, counts: list[int], d: int, relu: bool) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    features = rng.normal(size=(len(counts), d))[labels] + 0.7 * rng.normal(size=(labels.size, d))
    features = np.round(np.maximum(features, 0.0) if relu else features, 3)
    weights = np.round(rng.normal(size=(len(counts), d)), 3)
    figures = measures(weights, features, labels)
    return {"weights": weights.tolist(), "features": features.tolist(), "labels": labels.tolist(), "figures": figures}


def measures(weights: np.ndarray, features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    W, X, y = torch.tensor(weights), torch.tensor(features), torch.tensor(labels)
    K, d = W.shape
    size = {"dtype": torch.float64}
    means = accumulate.MeanAccumulator(K, d, **size)
    means.accumulate(X, y)
    M, centre = means.compute()
    covariance = accumulate.CovarAccumulator(K, d, M=M, **size)
    covariance.accumulate(X, y, M)
    within = covariance.compute()
    variances = accumulate.VarNormAccumulator(K, d, M=M, **size)
    variances.accumulate(X, y, M)
    v, _ = variances.compute()
    decisions = accumulate.DecAccumulator(K, d, M=M, W=W, **size)
    decisions.accumulate(X, y, W, M)
    pairs = torch.triu_indices(K, K, 1)
    grid = kernels.class_dist_norm_vars(v, M)
    about = {"": centre, "_sample_centre": X.mean(dim=0)}
    return {
        "variability_cdnv": measure.variability_cdnv(v, M),
        "class_dist_norm_vars_mean": grid[pairs[0], pairs[1]].mean().item(),
        "simplex_etf_error_weights": measure.simplex_etf_error(W),
        "clf_ncc_agreement": decisions.totals.sum().item() / len(y),
        **{name + end: value for end, at in about.items() for name, value in centred(W, M, within, at).items()},
    }


def centred(W: torch.Tensor, M: torch.Tensor, within: torch.Tensor, centre: torch.Tensor) -> dict[str, float]:
    """The measures that take a centre, which is their argument."""
    K, away = len(M), M - centre
    pairs = torch.triu_indices(K, K, 1)
    cosines = torch.nn.functional.cosine_similarity(away[pairs[0]], away[pairs[1]])
    lengths = measure.mean_norms(M, centre)
    return {
        "covariance_ratio_pinv": measure.covariance_ratio(within, M, centre, "pinv"),
        "covariance_ratio_quotient": measure.covariance_ratio(within, M, centre, "quotient"),
        "mean_norms_std_over_mean": (lengths.std(correction=0) / lengths.mean()).item(),
        "cosine_angle": (cosines + 1 / (K - 1)).abs().mean().item(),
        "simplex_etf_error_means": measure.simplex_etf_error(M, centre),
        "self_duality_error": measure.self_duality_error(W, M, centre),
    }


if __name__ == "__main__":
    main()
