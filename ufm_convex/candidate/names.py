"""Which arrays of a file make the candidate, by their names: what nobody asked for is refused, or said to be unused."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ufm_convex._files import say_unused
from ufm_convex.errors import FileFormatError, UnknownNameError, shown

FIELDS = ("weights", "features", "labels", "class_counts", "bias")
_BIAS = re.compile(r"(?:^|[^a-z])bias(?:es)?(?:$|[^a-z])|^b_?[0-9]*$", re.IGNORECASE)  # fc.bias, head_bias, b


def require_renaming(arrays: object) -> dict[str, str]:
    """The names that somebody gives for the arrays of a file.

    Raises:
        UnknownNameError: one is for none of ``FIELDS``.
        FileFormatError: it is no mapping between texts, or one name in the file is to be two arrays.
    """
    given = {} if arrays is None else arrays
    if not isinstance(given, Mapping) or not all(isinstance(one, str) for pair in given.items() for one in pair):
        raise FileFormatError(
            f"arrays is {shown(arrays)}.",
            expected="a mapping between names, such as {'weights': 'fc.weight'}",
            fix="map what Candidate calls an array to what the file calls it.",
        )
    if unknown := sorted(set(given) - set(FIELDS)):
        raise UnknownNameError(
            f"arrays names {', '.join(map(repr, unknown))}.",
            expected="names among " + ", ".join(FIELDS),
            fix="map what Candidate calls an array to what the file calls it: {'weights': 'fc.weight'}.",
        )
    keys = list(given.values())
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise FileFormatError(
            f"arrays takes {twice[0]!r} for two arrays.",
            expected="a name of its own for each",
            fix="keep one of them.",
        )
    return dict(given)


def chosen(path: Path, names: Sequence[str], renamed: Mapping[str, str], texts: Collection[str] = ()) -> dict[str, str]:
    """Array of a candidate → its name in the file.

    Where ``renamed`` says which is which, arrays that it does not name are none of the candidate, and the log says so;
    but the bias that belongs to its weights may not be passed over, unless another is named. Where nothing is said,
    another array of numbers might be part of the model, and is refused.

    Args:
        path: The file, for messages.
        names: The names of its arrays.
        renamed: What arrays are called in the file, where it is not what ``Candidate`` calls them.
        texts: Names of arrays of text, which enter no objective.

    Raises:
        FileFormatError: an array is missing, there twice, or would not be used.
    """
    if absent := [key for key in renamed.values() if key not in names]:
        raise FileFormatError(
            f"{path} has no array {absent[0]!r}, but {shown(', '.join(sorted(names)) or '(none)')}.",
            expected="names of arrays in the file",
            fix="choose one of these.",
        )
    # a name that stands for another array is not also what it says
    plain = {name: name for name in FIELDS if name in names and name not in renamed.values()}
    found = {**plain, **renamed}
    if renamed and {"labels", "class_counts"} <= set(found) and len({"labels", "class_counts"} & set(renamed)) == 1:
        del found["labels" if "class_counts" in renamed else "class_counts"]
    _check(path, list(names), found)
    left = [name for name in names if name not in found.values()]
    biases = [name for name in left if _BIAS.search(name)]  # one written as text is a bias all the same
    if renamed:
        refused = [name for name in biases if "bias" not in renamed and _beside(name, found["weights"])]
    else:
        refused = [name for name in left if name not in texts or name in biases]
    if refused:
        raise _unasked(path, refused, [] if "bias" in found else biases)
    say_unused(path, "array", left)
    return found


def _beside(bias: str, weights: str) -> bool:
    """Whether a bias belongs to the same layer as the weights: ``fc.bias`` to ``fc.weight``, ``b`` to ``W``."""
    return bias.rpartition(".")[0] == weights.rpartition(".")[0]


def _unasked(path: Path, refused: list[str], biases: list[str]) -> FileFormatError:
    """The error for arrays that would not be used; one of ``biases`` may be that of the classifier."""
    out = f"leave {', '.join(refused)} out of the file; text may stay."
    told = [name for name in biases if name in refused]
    if len(told) == 1:
        out = (
            f"if it is the classifier's, say so: Candidate.load(path, arrays={{'bias': {told[0]!r}}}), or --array "
            f"bias={told[0]}, beside what else is renamed; else {out}"
        )
    return FileFormatError(
        f"{path} has the array{'s'[: len(refused) - 1]} {', '.join(refused)}, which would not be used.",
        expected="weights, features, labels or class_counts, and bias where there is one",
        fix=out,
    )


def _check(path: Path, names: list[str], found: Mapping[str, str]) -> None:
    """Raise ``FileFormatError`` unless each needed array is there once."""
    missing = [name for name in ("weights", "features") if name not in found]
    if "labels" not in found and "class_counts" not in found:
        missing.append("exactly one of labels and class_counts")
    both = "labels" in found and "class_counts" in found
    twice = sorted({name for name in names if names.count(name) > 1})
    if not (missing or both or twice):
        return
    wrong = f"but not {', '.join(missing)}" if missing else "but labels as well as class_counts"
    raise FileFormatError(
        f"{path} has the array {twice[0]} twice."
        if twice
        else f"{path} has the arrays {', '.join(sorted(names)) or '(none)'}, {wrong}.",
        expected="weights (K, d), features (N, d), labels (N,); or class means (K, d) with class_counts (K,); "
        "and bias (K,) where there is one",
        fix=_renaming(names)
        if missing
        else "keep labels if features has one row a sample, class_counts if it has one row a class."
        if both
        else "write it again with np.savez(path, weights=W, features=F, labels=y).",
    )


def _renaming(names: list[str]) -> str:
    """The names that are meant, as ``Candidate.load`` and the command line take them, where they can be guessed."""
    guesses = {
        "weights": ("weights", "W", "w", "weight", "classifier", "fc.weight", "head.weight", "classifier.weight"),
        "features": ("features", "H", "h", "F", "feature", "Z", "X", "embeddings"),
        "labels": ("labels", "y", "Y", "label", "targets", "target"),
        "class_counts": ("class_counts", "counts", "n", "num_samples"),
        "bias": ("bias", "b", "fc.bias", "head.bias", "classifier.bias"),
    }
    found = {meant: next((one for one in spelled if one in names), "") for meant, spelled in guesses.items()}
    third = "class_counts" if found["class_counts"] and not found["labels"] else "labels"
    fields = ("weights", "features", third)
    known = {meant: found[meant] for meant in (*fields, "bias") if found[meant]}
    told = {meant: name for meant, name in known.items() if meant != name}
    if set(fields) <= set(known):
        options = " ".join(f"--array {meant}={name}" for meant, name in told.items())
        return f"say which is which: Candidate.load(path, arrays={told}), or {options}."
    lacking = ", ".join(meant for meant in fields if meant not in known)
    return (
        f"name {lacking} by Candidate.load(path, arrays={{'weights': …, 'features': …, '{third}': …}}), or add what is "
        "missing to the file: np.savez(path, weights=W, features=F, labels=y)."
    )
