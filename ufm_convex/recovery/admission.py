"""Factors made admissible: stretched into the set of an indicator.

Shapes: as in ``relaxation``.
"""

from __future__ import annotations

import numpy as np

from ufm_convex.relaxation import Columns, Factors


def admitted(columns: Columns, factors: Factors) -> Factors:
    """The factors as they are, or, for an indicator, stretched until it is 0 in spite of rounding.

    Each feature is stretched, or shrunk, until its logits are tight, and the two penalties of each orbit of coordinates
    are made equal. Where no multiple of a column is admissible nothing changes, and the objective is infinite. Problems
    have no bias beside an indicator.
    """
    indicator = columns.loss.indicator
    if indicator is None:
        return factors
    W, H, d = factors.W, factors.H, factors.W.cols
    # sums of products by blocks and by entries: 4 (d + 4) roundings of each, d the different coordinates
    unit = 16.0 * (d.size + 4) * np.finfo(float).eps
    for balance in (True, False):
        logits, size = (W @ H.T).entries(), (W.map(np.abs) @ H.map(np.abs).T).entries()
        stretch = indicator.stretch(logits, columns.layout, unit * size)
        if not np.isfinite(stretch).all():
            return factors
        H = H.scaled(stretch)
        if balance:
            penalty_w = columns.lambda_w * W.column_squares()
            penalty_h = columns.lambda_h * H.scaled(np.sqrt(columns.feature_weights)).column_squares()
            used = (penalty_w > 0.0) & (penalty_h > 0.0)
            share = np.where(used, (penalty_h / np.where(used, penalty_w, 1.0)) ** 0.25, 0.0)
            W, H = W.scaled(None, share), H.scaled(None, np.where(used, 1.0 / np.where(used, share, 1.0), 0.0))
    return Factors(W, H, factors.bias)
