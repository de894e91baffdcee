"""The candidate: validation, files, digest, and statistics gathered block by block."""

from __future__ import annotations

import copy
import hashlib
import pickle
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.candidate import Candidate, files, streaming
from ufm_convex.candidate.streaming import feature_statistics
from ufm_convex.errors import CandidateError, CountsError, FileFormatError, LabelsError, ShapeError

K, D = 3, 4
LABELS = np.array([0, 1, 2, 0, 0, 1, 2, 0])


def arrays(dtype=np.float64, labels=LABELS, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "weights": rng.standard_normal((K, D)).astype(dtype),
        "features": rng.random((len(labels), D)).astype(dtype),
        "labels": np.asarray(labels),
    }


# -- what is accepted, what is derived ----------------------------------------------------------------------------


def test_counts_and_sizes_come_from_the_labels():
    candidate = Candidate(**arrays())
    assert candidate.class_counts.tolist() == [4, 2, 2]
    assert (candidate.num_classes, candidate.feature_dim, candidate.num_samples) == (3, 4, 8)
    assert candidate.level == "sample"
    assert candidate.multiplicities.tolist() == [1, 1, 1]


def test_class_means_stand_for_all_samples_of_their_class():
    candidate = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[4, 2, 2])
    assert candidate.level == "class"
    assert candidate.labels.tolist() == [0, 1, 2]
    assert candidate.multiplicities.tolist() == candidate.class_counts.tolist() == [4, 2, 2]
    assert candidate.num_samples == 8


def test_its_problem_has_the_counts_of_the_labels():
    problem = Candidate(**arrays()).problem(0.01, 0.02, features="free", feature_dim=4, loss=ufm.CrossEntropy())
    assert problem == ufm.Problem([4, 2, 2], 0.01, 0.02, features="free", feature_dim=4)


def test_arguments_are_by_keyword_only():
    given = arrays()
    with pytest.raises(TypeError):
        Candidate(*given.values())


def test_the_caller_cannot_change_it_through_the_candidate_and_small_arrays_are_copied():
    given = arrays()
    candidate = Candidate(**given)
    for name in ("weights", "features", "labels", "class_counts"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(candidate, name)[0] = 0
    before = candidate.weights.copy()
    given["weights"][:] = 7.0
    given["features"][:] = 7.0  # the caller's array stays writeable, and is not copied
    assert np.array_equal(candidate.weights, before)
    assert np.shares_memory(candidate.features, given["features"])


@pytest.mark.parametrize("carry", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
@pytest.mark.parametrize("third", ["labels", "class_counts"])
def test_it_survives_copying_and_pickling(carry, third):
    if third == "labels":
        candidate = Candidate(**arrays(np.float32))
    else:
        candidate = Candidate(weights=np.eye(3), features=np.eye(3), class_counts=[4, 2, 2])
    again = carry(candidate)
    assert again.sha256 == candidate.sha256
    assert again.level == candidate.level
    assert not again.weights.flags.writeable


def test_repr_is_short():
    assert repr(Candidate(**arrays(np.float32))) == (
        "Candidate(3 classes, 8 samples, dimension 4, weights float32, features float32)"
    )


# -- what is refused ----------------------------------------------------------------------------------------------


def refused(kind, **changes):
    given = arrays() | changes
    with pytest.raises(kind) as caught:
        Candidate(**{name: value for name, value in given.items() if value is not None})
    return caught.value


def test_transposed_features_get_the_hint():
    error = refused(ShapeError, features=arrays()["features"].T)
    assert "features has shape (4, 8)" in error.got
    assert "pass features.T" in error.fix


def test_transposed_weights_get_the_hint():
    assert "weights.T" in refused(ShapeError, weights=np.ones((D, K)), labels=[0, 1, 2, 3] * 2).fix
    assert "weights.T" in refused(ShapeError, weights=np.ones((D, K))).fix
    # labels 0, 1, 2 for two outputs are those of a table of three columns, and none of classes
    for judge in (
        lambda one: one.problem(1e-2, 1e-2),
        lambda one: ufm.attribute_gap(ufm.Problem([4, 2, 2], 1e-2, 1e-2), one),
    ):
        with pytest.raises(LabelsError) as caught:
            judge(Candidate(**arrays() | {"weights": np.ones((K - 1, D))}))
        assert "weights.T" in caught.value.fix
    assert "weights.T" in refused(LabelsError, weights=np.ones((K - 1, D)), labels=LABELS % 2 * 2).fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", np.ones((7, D))),
        ("features", np.ones((8, D + 1))),
        ("features", np.ones(8)),
        ("features", np.ones((8, 2, 2))),
        ("features", np.ones((0, D))),
        ("features", np.ones((8, 0))),
        ("features", [[1.0], [1.0, 2.0]]),
        ("weights", np.ones(3)),
        ("weights", np.ones((3, D + 2))),
    ],
)
def test_wrong_shapes_are_refused(name, value):
    assert refused(ShapeError, **{name: value}).got


def test_labels_that_do_not_name_the_rows_of_w_are_refused():
    assert "pass labels - 1" in refused(LabelsError, labels=LABELS + 1).fix
    refused(LabelsError, labels=LABELS.astype(float))
    refused(LabelsError, labels=-LABELS)
    refused(ShapeError, labels=LABELS[:-1])


def test_exactly_one_of_labels_and_counts():
    assert "labels are not given" in refused(ShapeError, labels=None).got
    assert "both given" in refused(ShapeError, class_counts=[4, 2, 2]).got


def test_counts_that_do_not_fit_class_means_are_refused():
    means = {"features": np.ones((K, D)), "labels": None}
    refused(CountsError, **means, class_counts=[4, -1, 2])
    refused(CountsError, **means, class_counts=[0, 0, 0])
    refused(ShapeError, **means, class_counts=[4, 2])
    refused(ShapeError, features=np.ones((K + 1, D)), labels=None, class_counts=[4, 2, 2])


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex128, object, bool])
@pytest.mark.parametrize("name", ["weights", "features"])
def test_other_dtypes_are_refused(name, dtype):
    error = refused(CandidateError, **{name: np.ones(arrays()[name].shape).astype(dtype)})
    assert "float32 or float64" in error.expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_with_their_place(bad):
    W = arrays()["weights"]
    W[1, 2] = bad
    assert refused(CandidateError, weights=W).got == f"weights[1, 2] is {bad}."


# -- digest -------------------------------------------------------------------------------------------------------


def expected_digest(weights, features, name, third):
    """The digest written out from its specification, without blocks."""
    digest = hashlib.sha256()
    for label, array in (("weights", weights), ("features", features), (name, np.asarray(third, dtype="<i8"))):
        shape = "x".join(str(n) for n in array.shape)
        digest.update(f"{label} {array.dtype.str} {shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [1, 5, 1 << 22])
def test_digest_is_that_of_the_specification(monkeypatch, dtype, block):
    monkeypatch.setattr("ufm_convex.candidate.data._HASH_BLOCK", block)
    given = arrays(dtype)
    assert Candidate(**given).sha256 == expected_digest(given["weights"], given["features"], "labels", LABELS)


def test_digest_sees_content_and_not_layout(tmp_path):
    given = arrays(np.float32)
    digest = Candidate(**given).sha256
    np.save(tmp_path / "f.npy", given["features"])
    for features in (
        np.asfortranarray(given["features"]),
        given["features"].astype(">f4"),
        np.repeat(given["features"], 2, axis=0)[::2],
        np.load(tmp_path / "f.npy", mmap_mode="r"),
    ):
        assert Candidate(**given | {"features": features}).sha256 == digest


def test_digest_changes_with_every_array_and_dtype():
    given = arrays(np.float32)
    nudged = given["features"].copy()
    nudged[-1, -1] = np.nextafter(nudged[-1, -1], np.float32(2))
    swapped = LABELS[[1, 0, *range(2, 8)]]
    changes = [
        {},
        {"features": nudged},
        {"weights": -given["weights"]},
        {"labels": swapped},
        {"features": given["features"].astype(np.float64)},
    ]
    assert len({Candidate(**given | change).sha256 for change in changes}) == len(changes)
    square = {"weights": np.eye(3), "features": np.eye(3)}
    by_labels = Candidate(**square, labels=[0, 1, 2]).sha256
    assert by_labels != Candidate(**square, class_counts=[1, 1, 1]).sha256


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("map_from", [0, 1 << 26])
def test_npz_is_read_and_large_stored_members_are_mapped(tmp_path, monkeypatch, save, map_from):
    monkeypatch.setattr(files, "_MAP_FROM", map_from)
    given = arrays(np.float32)
    given["features"] = np.asfortranarray(given["features"])
    save(tmp_path / "c.npz", comment=np.array("ignored"), **given)
    candidate = Candidate.load(tmp_path / "c.npz")
    assert candidate.sha256 == Candidate(**given).sha256
    mapped = isinstance(candidate.features.base, np.memmap)
    assert mapped == (save is np.savez and map_from == 0)


def test_npz_with_class_means(tmp_path):
    np.savez(tmp_path / "c.npz", weights=np.eye(3), features=np.eye(3), class_counts=[4, 2, 2])
    assert Candidate.load(str(tmp_path / "c.npz")).num_samples == 8


def test_npy_files_are_mapped(tmp_path):
    given = arrays(np.float32)
    for name, array in given.items():
        np.save(tmp_path / f"{name}.npy", array)
    candidate = Candidate.from_files(*(tmp_path / f"{name}.npy" for name in given))
    assert candidate.sha256 == Candidate(**given).sha256
    assert isinstance(candidate.features.base, np.memmap)
    np.save(tmp_path / "n.npy", np.array([4, 2, 2]))
    np.save(tmp_path / "h.npy", np.ones((K, D)))
    means = Candidate.from_files(tmp_path / "weights.npy", tmp_path / "h.npy", class_counts=tmp_path / "n.npy")
    assert means.level == "class"


def test_every_truncation_of_an_npz_is_a_format_error(tmp_path):
    np.savez(tmp_path / "c.npz", **arrays())
    whole = (tmp_path / "c.npz").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            Candidate.load(tmp_path / "cut.npz")


def test_every_truncation_of_an_npy_is_a_format_error(tmp_path):
    given = arrays()
    for name, array in given.items():
        np.save(tmp_path / f"{name}.npy", array)
    whole = (tmp_path / "features.npy").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "features.npy").write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match="features"):
            Candidate.from_files(*(tmp_path / f"{name}.npy" for name in given))


def test_a_flipped_byte_in_an_npz_is_a_format_error(tmp_path):
    np.savez(tmp_path / "c.npz", **arrays())
    data = bytearray((tmp_path / "c.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "c.npz") as archive:
        middle = archive.getinfo("features.npy").header_offset + 250
    data[middle] ^= 1
    (tmp_path / "c.npz").write_bytes(data)
    with pytest.raises(FileFormatError, match="CRC"):
        Candidate.load(tmp_path / "c.npz")


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    trap = np.array([Trap()], dtype=object)
    given = arrays()
    np.savez(tmp_path / "c.npz", **given | {"features": trap})
    np.save(tmp_path / "features.npy", trap)
    for name in ("weights", "labels"):
        np.save(tmp_path / f"{name}.npy", given[name])
    with pytest.raises(FileFormatError):
        Candidate.load(tmp_path / "c.npz")
    with pytest.raises(FileFormatError):
        Candidate.from_files(*(tmp_path / f"{name}.npy" for name in given))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("shape", ["(8, 5)", "(8, 3)", "(99999999999999, 9999999999)", "(-8, -4)"])
@pytest.mark.parametrize("map_from", [0, 1 << 26])
def test_a_header_that_lies_about_the_size_is_a_format_error(tmp_path, monkeypatch, shape, map_from):
    monkeypatch.setattr(files, "_MAP_FROM", map_from)
    np.savez(tmp_path / "c.npz", **arrays())
    with zipfile.ZipFile(tmp_path / "c.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = members["features.npy"]
    old = b"'shape': (8, 4), }"
    new = f"'shape': {shape}, }}".encode()
    lying = header.replace(old + b" " * (len(new) - len(old)), new.ljust(len(old)))
    assert lying != header
    assert len(lying) == len(header)
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, lying if name == "features.npy" else data)
    with pytest.raises((FileFormatError, ShapeError)):
        Candidate.load(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("drop", "named"), [("weights", "weights"), ("features", "features"), ("labels", "labels and class_counts")]
)
def test_a_missing_array_is_named(tmp_path, drop, named):
    given = {name: array for name, array in arrays().items() if name != drop}
    np.savez(tmp_path / "c.npz", **given)
    with pytest.raises(FileFormatError, match=f"but not .*{named}"):
        Candidate.load(tmp_path / "c.npz")


def test_missing_and_foreign_files_are_format_errors(tmp_path):
    with pytest.raises(FileFormatError, match="cannot be read"):
        Candidate.load(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(FileFormatError, match="not a whole"):
        Candidate.load(tmp_path / "text.npz")
    with pytest.raises(FileFormatError, match="cannot be read"):
        Candidate.from_files(tmp_path / "absent.npy", tmp_path, tmp_path)
    with pytest.raises(FileFormatError):
        Candidate.from_files(tmp_path / "text.npz", tmp_path / "text.npz", tmp_path / "text.npz")


# -- statistics ---------------------------------------------------------------------------------------------------


def exact_statistics(candidate):
    """Class means, their mean absolute entries and squared norms as rationals."""
    means, sizes, squares = {}, {}, []
    for k, multiplicity in enumerate(candidate.multiplicities.tolist()):
        rows = [[Fraction(x) for x in row] for row in candidate.features[candidate.labels == k].tolist()]
        for j in range(candidate.feature_dim):
            means[k, j] = sum(row[j] for row in rows) / len(rows)
            sizes[k, j] = sum(abs(row[j]) for row in rows) / len(rows)
        squares.append(multiplicity * sum(x * x for row in rows for x in row))
    return means, sizes, squares


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunk", [1, 3, 8, 100, None])
def test_statistics_have_the_errors_that_are_documented(dtype, chunk):
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.repeat(np.arange(K), [20, 7, 3]))
    given = arrays(dtype, labels) | {"features": (1e3 * rng.standard_normal((30, D))).astype(dtype)}
    candidate = Candidate(**given)
    statistics = feature_statistics(candidate, chunk=chunk)
    means, sizes, squares = exact_statistics(candidate)
    unit = Fraction(1, 2**53)
    for (k, j), mean in means.items():
        error = abs(Fraction(float(statistics.class_means[k, j])) - mean)
        assert error <= 31 * unit * sizes[k, j]
    for k, square in enumerate(squares):
        assert abs(Fraction(float(statistics.class_square_norms[k])) - square) <= (30 + D + 8) * unit * square


def test_statistics_of_class_means_count_every_sample():
    H = np.array([[1.0, 0.0], [0.0, 2.0]])
    statistics = feature_statistics(Candidate(weights=np.eye(2), features=H, class_counts=[10, 3]))
    assert statistics.class_square_norms.tolist() == [10.0, 12.0]
    assert np.array_equal(statistics.class_means, H)


@pytest.mark.parametrize("chunk", [1, 2, 5, None])
def test_the_most_negative_entry_is_reported_with_its_place(chunk):
    given = arrays()
    F = given["features"]
    F[1, 3], F[6, 2], F[7, 0], F[0, 0] = -1e-30, -0.5, -0.5, -0.0
    statistics = feature_statistics(Candidate(**given), chunk=chunk)
    assert (statistics.smallest, statistics.smallest_at, statistics.negative_entries) == (-0.5, (6, 2), 3)


def test_features_without_negative_entries_report_the_smallest():
    given = arrays()
    given["features"][4, 1] = 0.0
    statistics = feature_statistics(Candidate(**given))
    assert (statistics.smallest, statistics.smallest_at, statistics.negative_entries) == (0.0, (4, 1), 0)


def test_the_smallest_negative_number_of_float32_counts():
    given = arrays(np.float32)
    given["features"][2, 2] = np.float32(-1e-45)
    assert feature_statistics(Candidate(**given)).negative_entries == 1


@pytest.mark.parametrize("chunk", [1, 3, None])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_feature_that_is_not_finite_is_named(chunk, bad, dtype):
    given = arrays(dtype)
    given["features"][5, 3] = bad
    given["features"][7, 1] = np.nan
    with pytest.raises(CandidateError) as caught:
        feature_statistics(Candidate(**given), chunk=chunk)
    assert caught.value.got == f"features[5, 3] is {bad}."


def test_a_feature_whose_square_would_overflow_is_named():
    given = arrays()
    given["features"][5, 1] = 1e200
    with pytest.raises(CandidateError, match=r"features\[5, 1\] is 1e\+200"):
        feature_statistics(Candidate(**given))


@pytest.mark.parametrize("chunk", [0, -1, 1.5, True, "all"])
def test_a_chunk_that_is_no_positive_integer_is_refused(chunk):
    with pytest.raises(CandidateError, match="chunk"):
        feature_statistics(Candidate(**arrays()), chunk=chunk)


def test_progress_tells_rows_done_and_an_interruption_passes_through():
    seen = []
    candidate = Candidate(**arrays())
    feature_statistics(candidate, chunk=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 8), (6, 8), (8, 8)]

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feature_statistics(candidate, chunk=3, progress=interrupt)
    assert feature_statistics(candidate, chunk=3).smallest == candidate.features.min()


def test_pages_of_a_read_only_map_are_dropped_and_those_of_others_are_not(tmp_path, monkeypatch):
    """Dropping the pages of a copy-on-write map would undo what was written to it."""
    monkeypatch.setattr(streaming, "_RELEASE_BYTES", 1)
    given = arrays()
    np.save(tmp_path / "f.npy", given["features"])
    expected = feature_statistics(Candidate(**given), chunk=2).class_means
    read_only = np.load(tmp_path / "f.npy", mmap_mode="r")
    for _ in range(2):
        assert np.array_equal(
            feature_statistics(Candidate(**given | {"features": read_only}), chunk=2).class_means, expected
        )
    changed = np.load(tmp_path / "f.npy", mmap_mode="c")
    changed[0, 0] = -5.0
    for _ in range(2):
        statistics = feature_statistics(Candidate(**given | {"features": changed}), chunk=2)
        assert (statistics.smallest, statistics.smallest_at) == (-5.0, (0, 0))


def test_an_npz_without_labels_is_refused_once(tmp_path):
    path = tmp_path / "candidate.npz"
    np.savez(path, weights=np.eye(3), features=np.eye(3))
    with pytest.raises(FileFormatError, match="but not exactly one of labels and class_counts") as refused:
        files.read_npz(path)
    assert str(refused.value).count("Fix:") == 1
