"""Factors made admissible: stretched into the set of an indicator.

Shapes: as in ``relaxation``.
"""

from __future__ import annotations

import numpy as np

from ufm_convex.relaxation import Columns, Factors


def admitted(columns: Columns, factors: Factors) -> Factors:
    """The factors as they are, or, for an indicator, stretched until it is 0 in spite of rounding.

    Each feature is stretched, or shrunk, until its logits are tight, and the two penalties of each orbit of coordinates
    are made equal. With a bias, which all columns share, every logit W h + b is stretched by the one number that the
    shortest column needs. Where no multiple of a column is admissible nothing changes, and the objective is infinite.
    """
    indicator = columns.loss.indicator
    if indicator is None:
        return factors
    W, H, b, d = factors.W, factors.H, factors.bias, factors.W.cols
    # sums of products by blocks and by entries: 4 (d + 4) roundings of each, d the different coordinates; beside a bias
    # all of them, so that full arrays, which cannot be stretched without it, are admissible as they come
    unit = 16.0 * ((d.size if b is None else d.total) + 4) * np.finfo(float).eps
    for balance in (True, False):
        logits, size = columns.outputs_of(W @ H.T, b), W.map(np.abs) @ H.map(np.abs).T
        size = columns.outputs_of(size, None if b is None else np.abs(b))
        stretch = indicator.stretch(logits.entries(), columns.layout, unit * size.entries())
        if not np.isfinite(stretch).all():
            return factors
        if b is not None:
            stretch = np.full(stretch.size, stretch.max())
            b = b * stretch.max()
        H = H.scaled(stretch)
        if balance:
            penalty_w = columns.lambda_w * W.column_squares()
            penalty_h = columns.lambda_h * H.scaled(np.sqrt(columns.feature_weights)).column_squares()
            used = (penalty_w > 0.0) & (penalty_h > 0.0)
            share = np.where(used, (penalty_h / np.where(used, penalty_w, 1.0)) ** 0.25, 0.0)
            W, H = W.scaled(None, share), H.scaled(None, np.where(used, 1.0 / np.where(used, share, 1.0), 0.0))
    return Factors(W, H, b)
