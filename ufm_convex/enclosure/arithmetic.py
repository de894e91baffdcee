"""What the float enclosures take of binary64 arithmetic, and what of it is asked for (docs/streaming.md, section 1).

Subnormal numbers may be flushed, by any thread and at any operation: bounds have an absolute term for it. Rounding to
nearest is assumed, and so it is probed where the sums are formed, inside a product of matrices too.
"""

from __future__ import annotations

import numpy as np

from ufm_convex.errors import SolverError

UNIT = 2.0**-53
"""Largest relative error of one operation in binary64."""

TINY = 2.0**-600
"""Exceeds what flushing and underflow do to a logit, a length or an error bound (docs/streaming_products.md)."""

FLUSHED_BITS = 1022
"""Smaller numbers than 2^−1022 may count as 0."""

_PROBED = 1 << 25
"""Multiplications in a product for which every library of matrix products uses all the threads it ever uses."""


def require_nearest(rows: int, inner: int, columns: int) -> None:
    """Ask before and after a pass whether this thread, and those that multiply such matrices, round to nearest.

    1 + 2⁻⁵⁴ is 1, and upwards it is not; 1 + 3·2⁻⁵⁴ is 1 + 2⁻⁵², and downwards or to zero it is not.

    Args:
        rows: Rows of the product.
        inner: Length of the sums.
        columns: Columns of the product.

    Raises:
        SolverError: they do not.
    """
    if not rounds_to_nearest(rows, inner, columns):
        raise SolverError(
            "binary64 numbers are not rounded to nearest in this process now.",
            expected="IEEE 754 arithmetic with its default rounding, in every thread that multiplies matrices",
            fix="find what changes the rounding mode (fesetround, a library built for fast mathematics), and undo it.",
        )


def rounds_to_nearest(rows: int, inner: int, columns: int) -> bool:
    """What ``require_nearest`` requires."""
    if rows * inner * columns > _PROBED:
        rows, inner, columns = 1024, 32, 1024
    addends, rounded = np.array([2.0**-54, 3 * 2.0**-54]), np.array([1.0, 1.0 + 2.0**-52])
    left, right = np.zeros((rows, max(inner, 2))), np.zeros((columns, max(inner, 2)))
    left[:, :2], right[:, 0] = 1.0, 1.0
    right[::2, 1], right[1::2, 1] = addends
    product = left @ right.T
    here = np.ones((32, 2)) + addends
    return all(bool((sums == rounded[k]).all()) for k in (0, 1) for sums in (here[:, k], product[:, k::2]))
