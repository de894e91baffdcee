"""The candidate: a classifier W, with a bias or without, and features, either of all samples or of the class means.

    all samples    features (N, d), labels (N,):        row i is the feature of sample i, of class labels[i]
    class means    features (K, d), class_counts (K,):  row k is the feature of all n_k samples of class k

For a problem with a table of targets W has a row an output, (V, d), and labels and counts are those of the m columns
(docs/targets.md).

A ``Candidate`` is data only: what is small (weights, bias, labels) is checked and copied when it is made; the features
may be a memory map of any length, are never copied whole, and their entries are checked block by block by whatever
reads them (``candidate.streaming``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from ufm_convex import _given
from ufm_convex._arrays import IntArray, frozen
from ufm_convex.candidate.counting import counted, counts_for, labelled
from ufm_convex.candidate.files import map_npy, read_npz, release
from ufm_convex.candidate.formats import FORMATS, read_arrays
from ufm_convex.candidate.names import require_renaming
from ufm_convex.candidate.statistics import ClassStatistics
from ufm_convex.errors import CandidateError, ShapeError
from ufm_convex.losses import Loss
from ufm_convex.problem import Features, Problem

_HASH_BLOCK = 1 << 22  # entries hashed at a time: at most 32 MB are copied


@dataclass(frozen=True, eq=False, repr=False)
class Candidate:
    """A classifier with features, to be judged. All arguments by keyword.

    Args:
        weights: W, (K, d), float32 or float64, finite; for a table of targets (V, d).
        features: (N, d) with ``labels``, or class means (K, d) with ``class_counts``; float32 or float64, in memory
            or memory-mapped. Not copied: the caller does not change them while the candidate is in use. PyTorch
            tensors will do for either, of half precision too, which is widened and copied, exactly.
        labels: Class 0 … K − 1 of each row of ``features``, (N,); a class that none of them names has no samples.
            For a table of targets its column 0 … m − 1, and each of them is named.
        class_counts: n_k, (K,): how many samples each class mean stands for; the row of ``features`` of a class without
            samples is zero. For a table (m,), all > 0. Exactly one of this and ``labels``.
        bias: b of the logits W h + b, (K,), as ``weights``; None for a classifier without one, which is judged as
            b = 0 where the problem has a bias. A problem that has none refuses a candidate with one.

    Raises:
        ShapeError: the shapes do not fit together, or both or neither of labels and class_counts are given.
        LabelsError: the labels are neither integers 0 … K − 1 nor those of all columns of a table.
        CountsError: the class counts are not integers ≥ 0, one of them > 0.
        CandidateError: an array is neither float32 nor float64, is masked or sparse, an entry of the weights or of the
            bias is NaN or infinite, or a class without samples has a class mean that is not zero.
            (A feature that is NaN or infinite is found, and named with its row, when the features are read.)

    Example:
        >>> import numpy as np
        >>> candidate = Candidate(weights=np.eye(3), features=np.eye(3)[[0, 1, 2, 0]], labels=[0, 1, 2, 0])
        >>> candidate.class_counts, candidate.num_samples
        (array([2, 1, 1]), 4)
    """

    weights: npt.NDArray[Any]
    features: npt.NDArray[Any]
    labels: IntArray
    class_counts: IntArray
    bias: npt.NDArray[Any] | None
    level: Literal["sample", "class"]

    def __init__(
        self,
        *,
        weights: npt.ArrayLike,
        features: npt.ArrayLike,
        labels: npt.ArrayLike | None = None,
        class_counts: npt.ArrayLike | None = None,
        bias: npt.ArrayLike | None = None,
    ) -> None:
        W, F = _matrix("weights", weights), _matrix("features", features)
        if (labels is None) == (class_counts is None):
            raise ShapeError(
                "labels and class_counts are both given." if class_counts is not None else "labels are not given.",
                expected="labels with the features of all samples, or class_counts with class means",
                fix="pass labels=y for features (N, d), class_counts=n for class means (K, d).",
            )
        if labels is not None:
            class_of, counts = labelled(labels, W.shape[0])
        else:
            counts = counted(class_counts, W.shape[0])
            class_of = np.arange(counts.size)
        _check_shapes(W, F, class_of.size, "labels" if labels is not None else "class_counts")
        _check_finite("weights", W)
        b = None if bias is None else _bias(bias, W.shape[0])
        if labels is None:
            _check_empty(F, counts)
        view = F.view(np.ndarray)
        view.flags.writeable = False
        for name, value in {
            "weights": frozen(W, dtype=W.dtype),
            "features": view,
            "labels": frozen(class_of, dtype=np.int64),
            "class_counts": frozen(counts, dtype=np.int64),
            "bias": None if b is None else frozen(b, dtype=b.dtype),
            "level": "sample" if labels is not None else "class",
        }.items():
            object.__setattr__(self, name, value)

    # -- files ----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path, *, arrays: Mapping[str, str] | None = None) -> Candidate:
        """Read ``weights``, ``features``, either ``labels`` or ``class_counts``, and perhaps ``bias`` from a file.

        Nothing is unpickled. Large arrays that ``np.savez`` stored are memory-mapped inside the archive; those of
        ``np.savez_compressed`` are unpacked into memory.

        Args:
            path: ``.npz``; or ``.pt`` and ``.pth`` (dictionaries of tensors), ``.safetensors``, ``.mat`` (up to
                version 7).
            arrays: What the file calls them, where it is not that: ``{"weights": "fc.weight"}``. Arrays that nobody
                names are then left aside, and the log says so; without it they are refused.

        Raises:
            FileFormatError: the file is missing, truncated, damaged, or has not these arrays.
            UnknownNameError: ``arrays`` names what no candidate has.
            MissingExtraError: the package that reads such files is not installed.
            UFMError: as ``Candidate`` for what the arrays hold.
        """
        renamed, source = require_renaming(arrays), Path(path)
        other = source.suffix.lower() in FORMATS
        return cls(**(read_arrays(source, renamed) if other else read_npz(source, renamed)))

    @classmethod
    def from_files(
        cls,
        weights: str | Path,
        features: str | Path,
        labels: str | Path | None = None,
        *,
        class_counts: str | Path | None = None,
        bias: str | Path | None = None,
    ) -> Candidate:
        """Memory-map one ``.npy`` file an array; raises as ``load``."""
        third = {"labels": labels, "class_counts": class_counts}
        paths = {"weights": weights, "features": features, **third, "bias": bias}
        return cls(**{name: map_npy(Path(path)) for name, path in paths.items() if path is not None})

    @classmethod
    def from_statistics(cls, statistics: ClassStatistics, **classifier: Any) -> Candidate:
        """The candidate of the class means that statistics amount to; raises as ``Candidate``.

        Args:
            statistics: What was gathered of the features, every class among them.
            **classifier: ``weights``, and whatever else ``Candidate`` takes of a classifier.

        What samples of a class differ in is left out, and can only add to the objective: λ_H/2 Σ of the statistics'
        ``square_deviations``, and the spread of the loss around each mean.

        Example:
            >>> found = ClassStatistics([2, 1], [[3.0, 1.0], [0.0, 2.0]], [6.0, 4.0])
            >>> Candidate.from_statistics(found, weights=[[1.0, -1.0], [-1.0, 1.0]]).features[0]
            array([1.5, 0.5])
        """
        return cls(features=statistics.class_means, class_counts=statistics.class_counts, **classifier)

    # -- derived quantities ---------------------------------------------------------------------------------

    @property
    def num_classes(self) -> int:
        """K, the number of counts: for a table of targets that of columns, as of a ``Problem``."""
        return int(self.class_counts.size)

    @property
    def num_outputs(self) -> int:
        """V: the rows of W."""
        return int(self.weights.shape[0])

    @property
    def feature_dim(self) -> int:
        """D."""
        return int(self.weights.shape[1])

    @property
    def num_samples(self) -> int:
        """N = Σ n_k, whether each sample has a row of its own or not."""
        return int(self.class_counts.sum())

    @cached_property
    def multiplicities(self) -> IntArray:
        """Samples that a row of class k stands for, (K,): 1 for all samples, n_k for class means."""
        return self.class_counts if self.level == "class" else frozen(np.ones(self.num_classes), dtype=np.int64)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of names, dtypes, shapes and entries of the arrays (docs/streaming.md, section 7)."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            little = array.dtype.newbyteorder("<")
            digest.update(f"{name} {little.str} {'x'.join(map(str, array.shape))}\n".encode())
            rows = max(1, _HASH_BLOCK // (array.size // len(array)))
            for start in range(0, len(array), rows):
                digest.update(np.ascontiguousarray(array[start : start + rows], dtype=little).data)
                release(array)
        return digest.hexdigest()

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by the names that they have in files.

        ``weights``, ``features``, then ``labels`` or, at class level, ``class_counts``; ``bias`` where there is one.
        """
        third = {"labels": self.labels} if self.level == "sample" else {"class_counts": self.class_counts}
        bias = {} if self.bias is None else {"bias": self.bias}
        return {"weights": self.weights, "features": self.features, **third, **bias}

    def problem(
        self,
        lambda_w: float,
        lambda_h: float,
        *,
        loss: Loss | None = None,
        features: Features = "nonnegative",
        feature_dim: int | None = None,
        bias: float | Literal["free"] | None = None,
    ) -> Problem:
        """The problem of which this is a candidate: counts from the labels, the rest as for ``Problem``.

        Raises:
            UFMError: as ``of_loss`` and ``Problem``.
        """
        given: dict[str, Any] = {"loss": loss, "features": features, "feature_dim": feature_dim, "bias": bias}
        counts = self.of_loss(loss).class_counts
        return Problem(counts, lambda_w, lambda_h, **given)

    def of_loss(self, loss: Loss | None) -> Self:
        """The candidate with the counts of a problem with this loss; None for cross-entropy of classes.

        It is another only where a table has fewer columns than outputs, which labels alone do not tell from classes
        without samples.

        Raises:
            ShapeError: W has other rows than there are outputs.
            LabelsError: a label names no class.
            CountsError: the table has other columns than the candidate.
        """
        labels = self.labels if self.level == "sample" else None
        counts = counts_for(loss, self.num_outputs, self.class_counts, labels)
        if counts.size == self.num_classes:
            return self
        found = object.__new__(type(self))
        for field in fields(self):
            object.__setattr__(found, field.name, getattr(self, field.name))
        object.__setattr__(found, "class_counts", frozen(counts, dtype=np.int64))
        return found

    def __repr__(self) -> str:
        rows = "samples" if self.level == "sample" else "class means"
        outputs = f"{self.num_outputs} outputs, " if self.num_outputs != self.num_classes else ""
        bias = "" if self.bias is None else f", bias {self.bias.dtype}"
        return (
            f"Candidate({outputs}{self.num_classes} {'columns' if outputs else 'classes'}, "
            f"{self.features.shape[0]} {rows}, dimension {self.feature_dim}, "
            f"weights {self.weights.dtype}, features {self.features.dtype}{bias})"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and unpickle through the constructor: an array alone would lose its read-only flag."""
        return partial(type(self), **self.arrays()), ()


def _matrix(name: str, values: npt.ArrayLike) -> npt.NDArray[Any]:
    """``values`` as a float matrix, not a copy of an array, or the error that says what is wrong with it."""
    expected = "(K, d)" if name == "weights" else "(N, d), or (K, d) for class means"
    return float_matrix(
        name,
        values,
        expected=expected,
        fix="one row a class." if name == "weights" else "one row a sample: features.reshape(len(features), -1).",
    )


def float_matrix(name: str, values: npt.ArrayLike, *, expected: str, fix: str) -> npt.NDArray[Any]:
    """``values`` as a matrix of float32 or float64, not a copy of an array, or the error that says what is wrong."""
    array = _given.array(name, values, CandidateError, expected=expected)
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"{name} has shape {array.shape}.", expected=expected, fix=fix)
    return _floats(name, array)


def _bias(values: npt.ArrayLike, num_classes: int) -> npt.NDArray[Any]:
    """The bias, (K,), of float32 or float64 and finite; or the error that says what is wrong with it."""
    expected = f"({num_classes},), one number a row of weights"
    array = _given.array("bias", values, CandidateError, expected=expected)
    if array.shape != (num_classes,):
        flat = array.size == num_classes
        fix = "pass bias.ravel()." if flat else "take weights and bias from the same layer; bias=None is no bias."
        raise ShapeError(f"bias has shape {array.shape}.", expected=expected, fix=fix)
    _check_finite("bias", _floats("bias", array))
    return array


def _floats(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array, if it is one of float32 or float64."""
    if array.dtype.type not in (np.float32, np.float64):
        raise CandidateError(
            f"{name} has dtype {array.dtype}.",
            expected="float32 or float64",
            fix=_conversion(name, array),
        )
    return array


def _conversion(name: str, array: npt.NDArray[Any]) -> str:
    """How entries of another type become floats without a change of their values."""
    if array.dtype == np.float16:
        return f"pass np.asarray({name}, dtype=np.float32), which is exact."
    if array.dtype.kind == "O":
        return f"pass np.asarray({name}, dtype=np.float64), if each entry is one real number."
    if array.dtype.kind in "biufUS":
        return f"pass np.asarray({name}, dtype=np.float64)."
    return f"real numbers are needed: choose a part or a field of {name}, as {name}.real or {name}['field']."


def _check_shapes(W: npt.NDArray[Any], F: npt.NDArray[Any], rows: int, counted_by: str) -> None:
    """Raise ``ShapeError`` unless features is (rows, d)."""
    d = W.shape[1]
    if F.shape == (rows, d):
        return
    N = "N" if counted_by == "labels" else "K"
    if F.shape == (d, rows):
        fix = f"if your features are (d, {N}), pass features.T."
    elif F.shape[1] != d and F.shape[1] == W.shape[0]:
        fix = "if your weights are (d, K), pass weights.T."
    else:
        fix = "take features and weights from the same layer, and labels from the same samples."
    raise ShapeError(
        f"features has shape {F.shape}, but weights has shape {W.shape} and {counted_by} has {rows} entries.",
        expected=f"({N}, d) with {N} = {rows} and d = {d}, one row per {'sample' if N == 'N' else 'class'}.",
        fix=fix,
    )


def _check_empty(F: npt.NDArray[Any], counts: IntArray) -> None:
    """Raise ``CandidateError`` for the mean of no samples that is not zero: it would count nowhere."""
    empty = np.flatnonzero(counts == 0)
    stray = np.any(F[empty] != 0.0, axis=1)  # NaN is not 0
    if stray.any():
        k = int(empty[np.argmax(stray)])
        raise CandidateError(
            f"row {k} of features is not zero, and class {k} has no samples.",
            expected="zeros in the rows of classes without samples, which have no mean",
            fix="set features[class_counts == 0] = 0.",
        )


def _check_finite(name: str, array: npt.NDArray[Any]) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        raise CandidateError(
            f"{name}[{', '.join(map(str, place))}] is {array[place]}.",
            expected="finite numbers",
            fix="training diverged, or the file is damaged; there is nothing to judge.",
        )
