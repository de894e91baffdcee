"""What people give, taken whole or refused by name: arrays, and the keys of tables, files and options.

Every public boundary takes arrays through ``array`` or ``entries``, so that nothing of what was given is lost on the
way in: no mask, no sparsity, no unit of a subclass, no digit of a tensor in half precision. Which dtype and shape will
do is for the caller to say.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ufm_convex._arrays import FloatArray, is_masked, real, scalar, whole
from ufm_convex.errors import ProblemError, ShapeError, UFMError, shown

_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})
_TRANSPARENT = (np.ndarray, np.memmap, np.matrix)
"""Classes of arrays that are their entries and nothing else; another subclass may carry units or labels."""


def array(
    name: str, values: object, kind: type[UFMError], *, expected: str, ragged: type[UFMError] = ShapeError
) -> npt.NDArray[Any]:
    """``values`` as a NumPy array, every entry as it is; not a copy where it is one already.

    Tensors come without their gradient, those in half precision or bfloat16 as float32, which is exact.

    Args:
        name: What messages call it.
        values: An array, a tensor, or lists of numbers, arrays and tensors without dimensions among the numbers.
        kind: The error to raise.
        expected: What it says would do.
        ragged: The error to raise where rows have different lengths.

    Raises:
        UFMError: of the ``kind``, for a mask, a sparse matrix, a tensor without data, a subclass of ``numpy.ndarray``
            that is not known, and what no array can be made of.
    """
    plain = _unwrapped(name, values, kind, expected)
    try:
        return plain if isinstance(plain, np.memmap) else np.asarray(plain)
    except Exception as error:  # whatever somebody's class raises when it is asked for its entries
        said = " ".join(str(error).split())[:120]
        if isinstance(plain, (list, tuple)):
            raise ragged(f"{name} is ragged: {said}.", expected=expected, fix="give rows of one length.") from error
        raise kind(
            f"{name} is {shown(values)}, a {type(values).__name__} whose entries are not to be had: {said}.",
            expected=expected,
            fix=f"make {name} a NumPy array first.",
        ) from error


def numbers(name: str, values: object, kind: type[UFMError], *, expected: str, fix: str) -> FloatArray:
    """``values`` as an array of finite binary64 numbers, of any shape.

    Raises:
        UFMError: of the ``kind``, as ``array``, and for bools, text, complex numbers, objects, NaN and infinities.
    """
    found = array(name, values, kind, expected=expected, ragged=kind)
    if found.dtype.kind not in "iuf":
        raise kind(f"{name} has dtype {found.dtype}.", expected=expected, fix=fix)
    with np.errstate(over="ignore"):  # of wider types than binary64
        taken: FloatArray = found.astype(np.float64)
    bad = ~np.isfinite(taken)
    if bad.any():
        place = ", ".join(map(str, np.argwhere(bad)[0].tolist()))
        raise kind(f"{name}[{place}] is {taken[bad][0]}.", expected=expected, fix=fix)
    return taken


def entries(name: str, values: object, kind: type[UFMError], *, expected: str) -> Any:
    """``values`` as Python numbers in nested lists; what is neither list nor array comes back as it is.

    Raises:
        UFMError: of the ``kind``, as ``array``.
    """
    plain = _unwrapped(name, values, kind, expected)
    if isinstance(plain, (list, tuple)):
        return list(plain) if _all_atoms(plain) else [entries(name, one, kind, expected=expected) for one in plain]
    if hasattr(plain, "__array__") and not isinstance(plain, np.generic):
        return array(name, plain, kind, expected=expected).tolist()
    return plain


def tolerance(value: object) -> float:
    """A relative gap in (0, 1) as binary64, or ``ProblemError``."""
    number = real(value)
    if 0.0 < number < 1.0:
        return number
    raise ProblemError(
        f"tolerance is {shown(value)}.",
        expected="a relative gap in (0, 1)",
        fix="use 1e-6, the default; 1e-12 is within reach of the closed form.",
    )


def positive(
    name: str,
    value: object,
    *,
    fix: str,
    expected: str = "a finite number > 0",
    most: float = sys.float_info.max,
    got: str | None = None,
) -> float:
    """A finite number > 0 as binary64, or ``ProblemError``.

    Args:
        name: What messages call it.
        value: A number of any type, or what is none.
        fix: What the message says to do.
        expected: What it says would do.
        most: The largest number that would.
        got: What it says is there; None for the value.
    """
    number = real(value)
    if 0.0 < number <= most:
        return number
    raise ProblemError(got or f"{name} is {shown(value)}.", expected=expected, fix=fix)


def nonnegative(
    name: str,
    value: object,
    *,
    fix: str,
    expected: str = "a finite number >= 0",
    kind: type[UFMError] = ProblemError,
) -> float:
    """A finite number ≥ 0 as binary64, or an error of the ``kind``; arguments as for ``positive``."""
    number = real(value)
    if 0.0 <= number < math.inf:
        return number
    raise kind(f"{name} is {shown(value)}.", expected=expected, fix=fix)


def seconds(name: str, value: object) -> float:
    """A time limit, a finite number of seconds > 0, as binary64, or ``ProblemError``."""
    expected = "a finite number of seconds > 0, or None for no limit"
    return positive(name, value, expected=expected, fix=f"write {name}=60.0, or leave it out.")


def class_index(value: object, num_classes: int, got: str) -> int:
    """The number of a class, from 0, or ``ProblemError``, whose message says ``got`` of it."""
    number = whole(value)
    if number is not None and 0 <= number < num_classes:
        return number
    raise ProblemError(
        got,
        expected=f"a class from 0 to {num_classes - 1}",
        fix="classes are numbered from 0 in the order of class_counts.",
    )


def require_known(given: Iterable[object], known: Iterable[str], what: str, kind: type[UFMError]) -> None:
    """Raise the ``kind`` for the first key that is not known; the message lists those that are.

    Args:
        given: Keys that somebody wrote.
        known: Keys that are read.
        what: What has the keys, and what they are: "solver 'scs'", "option".
        kind: The error.
    """
    allowed = list(known)
    unknown = [key for key in given if key not in allowed]
    if not unknown:
        return
    owner, noun = what.rsplit(" ", 1)
    close = difflib.get_close_matches(str(unknown[0]), allowed, n=1)
    listed = ", ".join(shown(key) for key in unknown)
    raise kind(
        f"{owner} has no {noun}{'s' if len(unknown) > 1 else ''} {listed}.",
        expected=f"{noun}s among {', '.join(allowed)}" if allowed else f"no {noun}s",
        fix=f"write {close[0]}, or leave it out." if close else f"leave {'them' if len(unknown) > 1 else 'it'} out.",
    )


# -- what is no plain array ---------------------------------------------------------------------------------------


def _all_atoms(values: Iterable[object]) -> bool:
    """Whether nothing in a list has parts; by the types that occur, so that a million numbers cost one pass."""
    return all(kind in _PLAIN or issubclass(kind, np.generic) for kind in set(map(type, values)))


def _unwrapped(name: str, values: object, kind: type[UFMError], expected: str) -> Any:
    """Lists with plain numbers and arrays in them; tensors as arrays; or the error for what would lose something."""

    def refuse(what: str, fix: str) -> NoReturn:
        raise kind(f"{name} {what}.", expected=expected, fix=fix)

    if isinstance(values, (list, tuple)):
        if _all_atoms(values):
            return values
        return [_unwrapped(f"{name}[{k}]", one, kind, expected) for k, one in enumerate(values)]
    if is_masked(values):
        refuse("is a masked array, and a mask says that entries are missing", _unmasking(name, values))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        return _from_tensor(torch, values, name, refuse)
    if hasattr(values, "toarray") and not isinstance(values, np.ndarray):
        refuse(f"is sparse, {type(values).__name__}", f"pass {name}.toarray().")
    if isinstance(values, np.ndarray) and type(values) not in _TRANSPARENT:
        refuse(
            f"is an array of the subclass {type(values).__name__}, which may say more than its entries",
            f"pass np.asarray({name}), which is its entries alone.",
        )
    return scalar(values)


def _unmasking(name: str, values: Any) -> str:
    """What to pass in place of a masked array: what is not masked, or what is under the mask."""
    kept = {1: f"{name}.compressed()", 2: f"np.ma.compress_rows({name}), its whole rows"}.get(values.ndim)
    under = f"pass {name}.data if what is masked counts."
    return under if kept is None else f"leave out what is masked: pass {kept}; or {under}"


def _from_tensor(torch: Any, tensor: Any, name: str, refuse: Any) -> npt.NDArray[Any]:
    """The entries of a tensor, exactly: widened where NumPy has no such type, without its gradient, on the CPU."""
    if tensor.device.type == "meta":
        refuse("is a tensor without data", "load the model's weights first.")
    if tensor.layout != torch.strided:
        refuse("is a sparse tensor", f"pass {name}.to_dense().")
    if tensor.is_quantized:
        refuse("is a quantised tensor", f"pass {name}.dequantize().")
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.to(torch.float32)
    found: npt.NDArray[Any] = tensor.cpu().resolve_conj().resolve_neg().numpy()
    return found
