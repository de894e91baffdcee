"""Next tokens: the contexts of a corpus, how often each occurs, and what follows it, as a table of targets.

A column is a context of k tokens, wherever it occurs; its count is how often it does with a token behind it, and its
target the distribution of that token (docs/next_token.md). Rows come in the order of the contexts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import IntArray, frozen, whole
from ufm_convex._files import read_text
from ufm_convex.class_counts.arrays import integers as from_cells
from ufm_convex.class_counts.arrays import map_array
from ufm_convex.class_counts.validation import integers
from ufm_convex.errors import FileFormatError, ProblemError, shown

if TYPE_CHECKING:
    import scipy.sparse

_EXPECTED = "tokens, integers from 0, one after the other"


@dataclass(frozen=True, eq=False)
class NextTokens:
    """What follows the contexts of a corpus.

    Attributes:
        contexts: The different contexts, (m, k), each followed by a token somewhere.
        counts: How often each occurs with a token behind it, (m,): ``class_counts`` of a problem.
        targets: The share of each token behind each context, (m, V), of ``scipy.sparse``.
    """

    contexts: IntArray
    counts: IntArray
    targets: scipy.sparse.csr_array


def next_tokens(
    tokens: Sequence[int] | npt.ArrayLike, context: int, num_outputs: int | None = None, *, name: str = "tokens"
) -> NextTokens:
    """The contexts of a corpus with what follows them.

    Args:
        tokens: The corpus, N + k integers ≥ 0.
        context: k ≥ 1, the length of a context.
        num_outputs: V, the size of the vocabulary; None for the largest token and 1.
        name: What messages call the tokens.

    Raises:
        ProblemError: the tokens are not integers (floats are refused even when whole), empty, negative, V or more, or
            not one-dimensional; the context is no integer from 1 to the number of tokens less one; V is below 2.

    Example:
        >>> found = next_tokens([0, 1, 2, 0, 1, 0], 2)
        >>> found.contexts.tolist(), found.counts.tolist(), found.targets.toarray().tolist()
        ([[0, 1], [1, 2], [2, 0]], [2, 1, 1], [[0.5, 0.0, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    """
    import scipy.sparse

    array, k = integers(name, tokens, ProblemError, expected=_EXPECTED), whole(context)
    if array.min() < 0:
        first = int(np.argmax(array < 0))
        raise ProblemError(
            f"{name}[{first}] is {int(array[first])}.",
            expected=_EXPECTED,
            fix="leave out marks such as −1 (of padding), and number the vocabulary from 0.",
        )
    if k is None or not 1 <= k < array.size:
        raise ProblemError(
            f"context is {shown(context)}, and there are {array.size} tokens.",
            expected=f"an integer from 1 to {array.size - 1}: each context needs a token behind it"
            if array.size > 1
            else "two tokens or more, and a context shorter than the corpus",
            fix="shorten the context, or give a longer corpus.",
        )
    V = _vocabulary(num_outputs, int(array.max()) + 1, name)
    windows = np.lib.stride_tricks.sliding_window_view(array, k)[:-1]
    contexts, column = np.unique(windows, axis=0, return_inverse=True)
    column, m = column.ravel(), len(contexts)
    counts = np.bincount(column, minlength=m)
    pairs, times = np.unique(np.stack([column, array[k:]]), axis=1, return_counts=True)
    shares = times / counts[pairs[0]]
    targets = scipy.sparse.csr_array((shares, (pairs[0], pairs[1])), shape=(m, V))
    return NextTokens(frozen(contexts, dtype=np.int64), frozen(counts, dtype=np.int64), targets)


def read_tokens(path: str | Path) -> IntArray:
    """The tokens in a file: a ``.npy`` of integers, one-dimensional, or a ``.txt`` with white space between them.

    Raises:
        FileFormatError: the file cannot be read, is empty, or has another suffix.
        ProblemError: an entry is no integer.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return integers(f"the array in {path}", map_array(path, "tokens"), ProblemError, expected=_EXPECTED)
    if path.suffix.lower() != ".txt":
        raise FileFormatError(
            f"{path} has the suffix {path.suffix!r}.",
            expected=".npy or .txt",
            fix="save the tokens with np.save(path, tokens), or as integers with spaces or line ends between.",
        )
    rows = [(line, cell) for line, text in enumerate(read_text(path).splitlines(), 1) for cell in text.split()]
    lines, cells = [line for line, _ in rows], [cell for _, cell in rows]
    words = "give the numbers of a tokeniser; words have to be numbered first."
    return from_cells(path, cells, lines, "the token", ProblemError, words)


def _vocabulary(given: Any, least: int, name: str) -> int:
    """V, or the error that says what is wrong with it."""
    V = least if given is None else whole(given)
    if V is not None and max(least, 2) <= V:
        return V
    if given is None:
        raise ProblemError(
            f"{name} has the token 0 alone: there is one output.",
            expected="a vocabulary of two tokens or more",
            fix="say how large it is, as num_outputs=2 does: a softmax of one output is constant.",
        )
    raise ProblemError(
        f"num_outputs is {shown(given)}, and the largest token is {least - 1}.",
        expected=f"an integer >= {max(least, 2)}",
        fix="give the size of the vocabulary, or leave it out.",
    )
