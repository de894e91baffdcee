"""A loss on full columns: (K, m) arrays with the label of each column, in place of entries with a layout."""

from __future__ import annotations

from typing import Any

import numpy as np

FLOATS = {"values", "residuals", "nearest", "conjugate", "into_domain", "violation", "limit", "ray_maximum"}
FLOATS |= {"fenchel_young", "expression", "shortfall"}
EXACT = {"enclose_value", "enclose_conjugate"}


class Full:
    """``loss`` with labels as last argument wherever it takes a layout or a column; all else as it is."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.loss, name)
        if name in EXACT:
            return lambda entries, label: method(entries, self.loss.exact_column(len(entries), label))
        if name in FLOATS:
            return lambda *given: method(*given[:-1], self.loss.layout(given[0].shape[0], np.asarray(given[-1])))
        return method
