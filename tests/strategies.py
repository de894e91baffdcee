"""Hypothesis strategies shared by the tests: problems whose classes are partly collapsed, or not, or all."""

import math

from hypothesis import strategies as st

from ufm_convex.losses import CrossEntropy
from ufm_convex.problem import Problem

PLAIN = CrossEntropy()


def decays_for(counts, level, split=0.0):
    """(λ_W, λ_H) with collapse threshold n_c = level · max(counts); split moves weight between the two decays."""
    K, N = len(counts), sum(counts)
    product = level * max(counts) * (K - 1) / (K * N**2)
    return math.sqrt(product) * math.exp(split), math.sqrt(product) * math.exp(-split)


@st.composite
def problems(draw, max_classes=6, max_count=10_000, losses=(PLAIN,)):
    """Problems with a threshold from 1e-4 (none collapsed) to 3 (all collapsed) times the largest class."""
    counts = draw(st.lists(st.integers(1, max_count), min_size=2, max_size=max_classes))
    level = 10.0 ** draw(st.floats(-4.0, 0.5))
    lambda_w, lambda_h = decays_for(counts, level, draw(st.floats(-3.0, 3.0)))
    return Problem(counts, lambda_w, lambda_h, loss=draw(st.sampled_from(losses)))
