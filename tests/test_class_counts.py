"""Class counts: validation, counting labels, profiles against published totals, files and their faults."""

from __future__ import annotations

import contextlib
import inspect
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from ufm_convex.class_counts import (
    balanced,
    class_counts_from_labels,
    counts_from_profile,
    exponential,
    pareto,
    profile_names,
    profiles,
    read_class_counts,
    read_labels,
    step,
    validate_class_counts,
    validate_labels,
)
from ufm_convex.errors import CountsError, FileFormatError, LabelsError, UnknownNameError

PLACES_LT = Path(__file__).parent / "data" / "places_lt_class_counts.csv"
COUNTS = st.lists(st.integers(1, 30), min_size=2, max_size=12)


def assert_same(actual: np.ndarray, expected: object) -> None:
    """int64, one-dimensional, writeable, and equal entry by entry."""
    assert actual.dtype == np.int64
    assert actual.flags.writeable
    assert actual.tolist() == list(expected)


# -- validation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "counts",
    [
        [500, 100, 20],
        (500, 100, 20),
        np.array([500, 100, 20]),
        np.array([500, 100, 20], dtype=">u2"),
        np.array([500, 100, 20], dtype=np.uint64),
        np.array([500, 100, 20], dtype=object),
        [np.int32(500), 100, np.uint8(20)],
    ],
)
def test_integers_of_every_kind_are_taken(counts: object) -> None:
    assert_same(validate_class_counts(counts), [500, 100, 20])


def test_the_result_is_a_copy() -> None:
    given_counts = np.array([5, 4])
    validate_class_counts(given_counts)[0] = 7
    assert given_counts.tolist() == [5, 4]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([500, 1.5], r"class_counts\[1\] is 1\.5, of type float(?s:.*)astype\(int\)"),
        ([500.0, 100.0], r"class_counts\[0\] is 500\.0(?s:.*)astype\(int\)"),
        ([500, float("nan")], r"class_counts\[1\] is nan"),
        ([500, float("inf")], r"class_counts\[1\] is inf"),
        (np.array([500.0, 100.0]), r"has dtype float64(?s:.*)astype\(int\)"),
        (np.array([500.0, 100.5]), r"class_counts\[1\] is 100\.5"),
        (np.array([500.0, np.nan]), r"class_counts\[1\] is nan"),
        (np.array([np.inf, 3.0]), r"class_counts\[0\] is inf"),
        ([True, 5], r"class_counts\[0\] is True"),
        ([5, np.True_], r"class_counts\[1\] is True"),
        (np.array([True, True]), "has dtype bool"),
        ([0, 0], "class_counts is 0 for every class"),
        ([5, -1], r"class_counts\[1\] is -1"),
        ([5, -3], r"class_counts\[1\] is -3"),
        (np.array([5, -3], dtype=np.int8), r"class_counts\[1\] is -3"),
        ([5], "one class"),
        ([], "is empty"),
        (np.zeros(0, dtype=int), "is empty"),
        (5, "is 5, a int"),
        (np.int64(5), r"shape \(\)"),
        ("500,100", "a str"),
        (None, "is None"),
        ({0: 5, 1: 3}, "a dict"),
        ({5, 3}, "a set"),
        ((n for n in [5, 3]), "a generator"),
        ([[5, 3], [2, 1]], r"class_counts\[0\] is \[5, 3\], of type list"),
        (np.array([[5, 3], [2, 1]]), r"shape \(2, 2\)"),
        (np.array([[5], [3]]), r"shape \(2, 1\)(?s:.*)ravel"),
        (["5", "3"], r"class_counts\[0\] is '5', of type str"),
        (np.array(["5", "3"]), "has dtype <U1"),
        ([5, None], r"class_counts\[1\] is None"),
        ([5, 2 + 0j], r"class_counts\[1\] is \(2\+0j\)"),
        ([2**53, 1], r"sums to N = 9007199254740993"),
        ([2**53 + 1, 1], r"class_counts\[0\] is 9007199254740993"),
        ([5, 2**63], r"class_counts\[1\] is 9223372036854775808"),
        ([5, -(2**63) - 1], r"class_counts\[1\] is -9223372036854775809"),
        ([5, 10**5000], "an integer of 16610 bits"),
        (np.array([5, 2**63], dtype=np.uint64), r"class_counts\[1\] is 9223372036854775808"),
        (np.array([5, 10**30], dtype=object), r"class_counts\[1\] is 1000000000000000000000000000000"),
        # the int64 sum of these wraps round to 2, so a sum taken in int64 would let them pass
        (np.append(np.full(2**11, 2**53), [1, 1]), r"sums to N = 18446744073709551618"),
    ],
)
def test_what_is_no_vector_of_counts_is_refused(counts: object, words: str) -> None:
    with pytest.raises(CountsError, match=words):
        validate_class_counts(counts)


def test_the_largest_total_is_taken_and_one_more_is_not() -> None:
    assert_same(validate_class_counts([2**53 - 1, 1]), [2**53 - 1, 1])
    with pytest.raises(CountsError, match=r"N <= 2\*\*53"):
        validate_class_counts([2**53 - 1, 2])


@pytest.mark.parametrize("form", [np.asarray, list])
def test_a_million_classes_take_well_under_a_second(form) -> None:
    counts = form(np.arange(1, 10**6 + 1))
    start = time.process_time()
    array = validate_class_counts(counts)
    # measured 0.03 s (array) and 0.05 s (list); entry-by-entry Python takes longer than this bound
    assert time.process_time() - start < 1.0
    assert int(array.sum()) == 10**6 * (10**6 + 1) // 2


# -- labels -----------------------------------------------------------------------------------------------------


@given(COUNTS, st.randoms(use_true_random=False))
def test_counting_undoes_the_listing_of_samples(counts: list[int], random) -> None:
    labels = [k for k, n in enumerate(counts) for _ in range(n)]
    random.shuffle(labels)
    assert_same(class_counts_from_labels(labels), counts)
    assert_same(class_counts_from_labels(np.array(labels, dtype=np.uint8)), counts)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([0.0, 1.0], r"labels\[0\] is 0\.0(?s:.*)astype\(int\)"),
        (np.array([0.0, 1.0]), "has dtype float64"),
        (np.array([0.0, np.nan]), r"labels\[1\] is nan"),
        (np.array([0.0, 3.5]), r"labels\[1\] is 3\.5"),
        ([False, True], r"labels\[0\] is False"),
        ([0, 1, -1], r"labels\[2\] is -1"),
        ([], "is empty"),
        (np.eye(3, dtype=int), r"shape \(3, 3\)(?s:.*)argmax\(axis=1\)"),
        (np.zeros((3, 1), dtype=int), r"shape \(3, 1\)(?s:.*)ravel"),
        (["cat", "dog"], r"labels\[0\] is 'cat'(?s:.*)np\.unique"),
        (np.array(["cat", "dog"]), r"(?s:.*)np\.unique"),
        ([0, 0, 0], "one class only"),
        ([0, 2, 2], r"1 of the classes 0 … 2 have no samples: 1\."),
        ([1, 2, 3, 3], r"no samples: 0\.(?s:.*)labels - 1"),
        ([0, 5, 3], r"3 of the classes 0 … 5 have no samples: 1, 2, …"),
        ([0, 10**15], r"999999999999999 of the classes (?s:.*) have no samples: 1, …"),
        ([0, 2**63], r"labels\[1\] is 9223372036854775808"),
        ([0, 30], r"no samples: 1, …"),
        (list(range(0, 60, 2)), r"no samples: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, …"),
    ],
)
def test_what_are_no_labels_is_refused(labels: object, words: str) -> None:
    with pytest.raises(LabelsError, match=words):
        class_counts_from_labels(labels)


@pytest.mark.parametrize("largest", [10**8 - 1, 10**8])
def test_a_number_of_classes_is_offered_only_where_it_is_taken(largest: int) -> None:
    with pytest.raises(LabelsError) as refusal:
        class_counts_from_labels([0, largest])
    assert (f"num_classes={largest + 1}," in refusal.value.fix) == (largest < 10**8)  # 10**8 is the most
    assert "number the classes that occur" in refusal.value.fix


def test_labels_may_have_gaps_until_they_are_counted() -> None:
    assert_same(validate_labels([3, 0]), [3, 0])
    with pytest.raises(LabelsError, match=r"y\[1\] is -2"):
        validate_labels([3, -2], name="y")


# -- profiles ---------------------------------------------------------------------------------------------------


def test_cifar_10_lt() -> None:
    counts = exponential(classes=10, max=5000, ratio=100)
    assert_same(counts, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
    assert counts.sum() == 12_406


@pytest.mark.parametrize(
    ("classes", "largest", "ratio", "total", "smallest"),
    [
        (10, 5000, 10, 20_431, 500),
        (10, 5000, 50, 13_996, 100),
        (10, 5000, 100, 12_406, 50),
        (10, 5000, 200, 11_203, 25),
        (100, 500, 10, 19_573, 50),
        (100, 500, 50, 12_608, 10),
        (100, 500, 100, 10_847, 5),
        (100, 500, 200, 9_502, 2),
    ],
)
def test_cifar_lt_has_the_published_totals(classes: int, largest: int, ratio: int, total: int, smallest: int) -> None:
    counts = exponential(classes, largest, ratio)
    assert (counts.sum(), counts[0], counts[-1]) == (total, largest, smallest)


@given(st.integers(2, 40), st.integers(1, 10**6), st.data())
@settings(max_examples=150)
def test_the_exponential_profile_truncates_as_exact_integers_do(classes: int, largest: int, data) -> None:
    """n = ⌊max r^(−k/(K−1))⌋ is n^(K−1) r^k ≤ max^(K−1) < (n+1)^(K−1) r^k, without a root."""
    ratio = data.draw(st.integers(1, largest))
    for k, n in enumerate(exponential(classes, largest, ratio).tolist()):
        assert n ** (classes - 1) * ratio**k <= largest ** (classes - 1) < (n + 1) ** (classes - 1) * ratio**k


@pytest.mark.parametrize(("classes", "base"), [(10, 2), (4, 7), (6, 3), (8, 10)])
def test_whole_numbers_are_not_truncated_below_themselves(classes: int, base: int) -> None:
    """With max = ratio = base^(K−1) every count is a power of the base; plain truncation loses some by rounding."""
    top = base ** (classes - 1)
    assert_same(exponential(classes, top, top), [base ** (classes - 1 - k) for k in range(classes)])


def test_a_float_ratio_counts_as_the_decimal_it_was_written_as() -> None:
    assert exponential(2, 11, 1.1)[-1] == 10  # the binary64 number 1.1 is a little more than 1.1
    assert step(2, 11, 1.1)[-1] == 10
    assert step(2, 10, 3.0)[-1] == 3


def test_numbers_of_narrow_types_are_taken_at_their_value() -> None:
    narrow = {"classes": np.int8(10), "max": np.int16(5000), "ratio": np.float16(100)}
    assert_same(exponential(**narrow), exponential(10, 5000, 100))
    assert_same(pareto(**narrow, power=np.float32(6)), pareto(10, 5000, 100, 6))
    assert_same(step(**narrow, fraction=np.float16(0.5)), [5000] * 5 + [50] * 5)
    assert_same(balanced(np.uint8(2), np.uint8(200)), [200, 200])


def test_step() -> None:
    assert_same(step(classes=4, max=500, ratio=10), [500, 500, 50, 50])
    assert_same(step(classes=5, max=500, ratio=10), [500, 500, 50, 50, 50])
    assert_same(step(classes=10, max=90, ratio=100 / 7, fraction=0.2), [90] * 8 + [6, 6])
    assert_same(step(classes=10, max=90, ratio=1, fraction=0.9), [90] * 10)


def test_balanced() -> None:
    assert_same(balanced(classes=3, max=7), [7, 7, 7])


@pytest.mark.parametrize("power", [1.34, 6.0])
def test_pareto_counts_are_quantiles_of_the_pareto_distribution(power: float) -> None:
    classes, largest, ratio = 365, 4980, 996
    quantiles = stats.pareto(power).isf((np.arange(classes) + 0.5) / classes)
    stretched = 5 + 4975 * (quantiles - quantiles[-1]) / (quantiles[0] - quantiles[-1])
    # both round near 1e-12; a count may fall on the other side of an integer only where it is that near to one
    nearest = np.abs(stretched - np.rint(stretched)) < 1e-9
    counts = pareto(classes, largest, ratio, power)
    assert np.array_equal(counts[~nearest], np.floor(stretched[~nearest]))
    assert np.array_equal(counts[nearest], np.rint(stretched[nearest]))
    assert (counts[0], counts[-1]) == (4980, 5)
    assert (np.diff(counts) <= 0).all()


def test_pareto_with_power_six_comes_near_to_the_totals_stated_for_it() -> None:
    # Liu et al. 2019 drew their counts at random; the relative scatter of 365 and 1000 draws whose largest value
    # sets the scale is of the order of 10 %, and power 3 or 12 would be off by more than 20 %
    assert pareto(365, 4980, 996).sum() == pytest.approx(184_500, rel=0.1)
    assert pareto(1000, 1280, 256).sum() == pytest.approx(115_800, rel=0.1)
    for power in (3.0, 12.0):
        assert pareto(365, 4980, 996, power).sum() != pytest.approx(184_500, rel=0.1)


@pytest.mark.parametrize("profile", [step, exponential, pareto])
@given(classes=st.integers(2, 60), largest=st.integers(1, 10**7), data=st.data())
@settings(max_examples=40)
def test_profiles_fall_from_the_largest_to_the_smallest(profile, classes: int, largest: int, data) -> None:
    ratio = data.draw(st.integers(1, largest) | st.floats(1.0, largest).filter(lambda r: r <= largest))
    counts = profile(classes, largest, ratio)
    assert counts.shape == (classes,)
    assert counts[0] == largest
    assert (np.diff(counts) <= 0).all()
    smallest = Fraction(largest) / Fraction(ratio)
    assert counts[-1] in {smallest.__floor__(), round(smallest)}
    assert isinstance(ratio, float) or counts[-1] == largest // ratio


@pytest.mark.parametrize(
    ("profile", "arguments", "words"),
    [
        (balanced, (1, 5), "classes is 1"),
        (balanced, (2.0, 5), r"classes is 2\.0"),
        (balanced, (True, 5), "classes is True"),
        (balanced, (10**9, 5), "classes is 1000000000"),
        (balanced, (2, 0), "max is 0"),
        (balanced, (2, 2.5), r"max is 2\.5"),
        (balanced, (2, 10**5000), "max is an integer of 16610 bits"),
        (balanced, (2, 2**53), "sums to N"),
        (exponential, (10, 50, 0.5), r"ratio is 0\.5"),
        (exponential, (10, 50, 51), "ratio is 51 with max = 50"),
        (exponential, (10, 50, float("nan")), "ratio is nan"),
        (exponential, (10, 50, float("inf")), "ratio is inf"),
        (exponential, (10, 50, "5"), "ratio is '5'"),
        (exponential, (10, 50, True), "ratio is True"),
        (step, (10, 50, 5, 0.0), r"fraction is 0\.0"),
        (step, (10, 50, 5, 1.0), r"fraction is 1\.0"),
        (step, (10, 50, 5, 0.01), r"fraction is 0\.01 with 10 classes"),
        (step, (10, 50, 5, 0.99), r"fraction is 0\.99"),
        (step, (10, 50, 5, float("nan")), "fraction is nan"),
        (pareto, (10, 50, 5, 0.0), r"power is 0\.0"),
        (pareto, (10, 50, 5, float("nan")), "power is nan"),
        (pareto, (10, 50, 100), "ratio is 100"),
    ],
)
def test_profile_arguments_out_of_range_are_refused(profile, arguments: tuple, words: str) -> None:
    with pytest.raises(CountsError, match=words):
        profile(*arguments)


def test_the_notation_is_the_call() -> None:
    assert profile_names() == ("balanced", "exponential", "pareto", "step")
    assert_same(counts_from_profile("balanced:classes=3,max=7"), [7, 7, 7])
    assert_same(counts_from_profile("exponential:classes=10,max=5000,ratio=100"), exponential(10, 5000, 100))
    assert_same(counts_from_profile(" step : ratio = 10 , classes=4, max=500,fraction=0.25 "), [500, 500, 500, 50])
    assert_same(counts_from_profile("pareto:classes=30,max=900,ratio=33.3"), pareto(30, 900, 33.3))


def test_a_profile_is_added_by_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "_PROFILES", dict(profiles._PROFILES))

    @profiles.profile
    def linear(classes: int, step_size: int = 1) -> np.ndarray:
        return validate_class_counts(np.arange(classes, 0, -1) * step_size)

    assert "linear" in profile_names()
    assert_same(counts_from_profile("linear:classes=3,step_size=2"), [6, 4, 2])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("zipf:classes=10", r"'zipf' is not known(?s:.*)balanced, exponential, pareto, step"),
        ("", "'' is not known"),
        ("Exponential:classes=10,max=5,ratio=2", "'Exponential' is not known"),
    ],
)
def test_unknown_profiles_name_the_known_ones(text: str, words: str) -> None:
    with pytest.raises(UnknownNameError, match=words):
        counts_from_profile(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exponential", r"no value for classes, max, ratio(?s:.*)exponential:classes=…,max=…,ratio=…"),
        ("exponential:", "no value for classes, max, ratio"),
        ("exponential:classes=10,max=5000", "no value for ratio"),
        ("exponential:classes=10,max=5000,ratio=", "ratio = '', which is not a number"),
        ("exponential:classes=10,max=5000,ratio=ten", "ratio = 'ten', which is not a number"),
        ("exponential:classes=10,max=5000,ratio=nan", "ratio is nan"),
        ("exponential:classes=10,max=5000.5,ratio=10", r"max is 5000\.5"),
        ("exponential:classes=10,max=5e3,ratio=10", r"max is 5000\.0(?s:.*)without a decimal point or exponent"),
        ("exponential:classes=10,max=" + "9" * 5000 + ",ratio=10", "max is inf"),
        ("exponential:classes=10,max=5000,ratio=10,ratio=20", "'ratio' twice"),
        ("exponential:classes=10,max=5000,ratio=10,alpha=2", "'alpha' that is not known"),
        ("exponential:10,5000,100", "'10' that is not known"),
        ("step:classes=10", r"step:classes=…,max=…,ratio=…\[,fraction=0\.5\]"),
        (["exponential"], "a list"),
        (5, "the profile is 5"),
    ],
)
def test_faulty_profiles_show_their_notation(text: str, words: str) -> None:
    with pytest.raises(CountsError, match=words):
        counts_from_profile(text)


# -- files: what is read ------------------------------------------------------------------------------------------


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_places_lt_is_read() -> None:
    counts = read_class_counts(PLACES_LT)
    assert (counts.size, counts.sum(), counts.max(), counts.min()) == (365, 62_500, 4980, 5)
    assert counts[:4].tolist() == [219, 20, 115, 86]


def test_class_counts_in_any_order_of_rows_and_columns(tmp_path: Path) -> None:
    assert_same(read_class_counts(write(tmp_path / "a.csv", "class_id,count\n0,5\n1,3\n2,1\n")), [5, 3, 1])
    assert_same(
        read_class_counts(str(write(tmp_path / "b.CSV", "Count, class_id\r\n1,2\r\n\r\n5,0\r\n3,1"))), [5, 3, 1]
    )
    assert_same(read_class_counts(write(tmp_path / "c.csv", b"\xef\xbb\xbfclass_id,count\n1,3\n0,5\n")), [5, 3])


@given(COUNTS, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_every_format_gives_the_labels_back(tmp_path_factory, counts: list[int], random) -> None:
    labels = [k for k, n in enumerate(counts) for _ in range(n)]
    random.shuffle(labels)
    folder = tmp_path_factory.mktemp("labels")
    np.save(folder / "y.npy", np.array(labels, dtype=random.choice(["u1", "<i4", ">i8"])))
    np.savetxt(folder / "y.txt", labels, fmt="%d", header="labels of the samples")
    write(folder / "bare.csv", "".join(f"{y}\n" for y in labels))
    write(folder / "headed.csv", "category\n" + "".join(f"{y}\n" for y in labels))
    write(folder / "table.csv", "path,Label,weight\n" + "".join(f"a{y}.png,{y},0.5\n" for y in labels))
    for path in sorted(folder.iterdir()):
        assert_same(read_labels(path), labels)
    assert_same(class_counts_from_labels(read_labels(folder / "table.csv")), counts)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("crlf.txt", "0\r\n1\r\n\r\n1\r\n"),
        ("cr.txt", "0\r1\r1"),
        ("comments.txt", "# labels, geprüft\n\n0 # first\n  1\n+1\n"),
        ("bom.txt", b"\xef\xbb\xbf0\n1\n1\n"),
        ("padded.txt", "000\n001\n 1 \n"),
        ("quoted.csv", '"label"\n"0"\n"1"\n"1"\n'),
        ("blank.csv", "\n0\n\n1\n  \n1\n\n"),
        ("index.csv", ",y\n0,0\n1,1\n2,1\n"),
    ],
)
def test_text_in_its_usual_variants(tmp_path: Path, name: str, content: str | bytes) -> None:
    assert_same(read_labels(write(tmp_path / name, content)), [0, 1, 1])


@pytest.mark.parametrize(
    "header",
    [
        *("class,cnt", "label,qty", "class,population", "class,no. of images", "category,No. images"),
        *("ClassID;NumSamples", "y\tvalue_counts", "target|tally"),
    ],
)
def test_a_table_of_counts_in_other_words(tmp_path: Path, header: str) -> None:
    mark = next(mark for mark in ",;\t|" if mark in header)
    path = write(tmp_path / "counts.csv", f"{header}\n0{mark}5\n1{mark}4\n2{mark}9\n")
    assert_same(read_class_counts(path), [5, 4, 9])
    with pytest.raises(FileFormatError, match="counts"):  # no labels 0, 1, 2 of three samples
        read_labels(path)


@pytest.mark.parametrize("header", ["class,value", "label,Anzahl", "y,train", "target,members"])
def test_counts_under_a_name_that_nobody_knows_are_no_labels(tmp_path: Path, header: str) -> None:
    """The advice for it as counts, followed, is not to end in labels 0, 1, 2 of three samples."""
    path = write(tmp_path / "counts.csv", f"{header}\n0,5\n1,4\n2,9\n")
    label, other = header.split(",")
    for read in (read_class_counts, read_labels):
        with pytest.raises(FileFormatError, match=other) as refused:
            read(path)
        assert "to count" in refused.value.fix
    write(path, f"{label},count\n0,5\n1,4\n2,9\n")
    assert_same(read_class_counts(path), [5, 4, 9])
    write(path, f"{header}\n0,5\n1,4\n1,9\n")  # a label on two rows: one row a sample
    assert_same(read_labels(path), [0, 1, 1])


@pytest.mark.parametrize("header", ["class_name,count", "species,n", "name,num_images"])
def test_counts_with_names_of_classes_alone_say_to_number_them(tmp_path: Path, header: str) -> None:
    path = write(tmp_path / "counts.csv", f"{header}\ncat,5\ndog,4\n")
    with pytest.raises(FileFormatError, match="class_id") as refused:
        read_class_counts(path)
    assert refused.value.fix.startswith("number the classes 0 … K − 1 in a column class_id")
    write(path, f"class_id,class_name,{header.partition(',')[2]}\n0,cat,5\n1,dog,4\n")
    assert_same(read_class_counts(path), [5, 4])


# -- files: what is refused -----------------------------------------------------------------------------------------


def npy(array: np.ndarray, tmp_path: Path) -> bytes:
    np.save(tmp_path / "written.npy", array, allow_pickle=True)
    return (tmp_path / "written.npy").read_bytes()


def npy_with_shape(shape: str) -> bytes:
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(80)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("y.csv", "", "does not hold anything"),
        ("y.csv", " \n\n", "does not hold anything"),
        ("y.csv", "label\n", "does not hold labels"),
        ("y.txt", "", "does not hold anything"),
        ("y.txt", "# nothing\n", "does not hold labels"),
        ("y.npy", b"", "does not hold labels"),
        ("y.npy", b"\x93NUMPY", "not a whole .npy file"),
        ("y.npy", b"PK\x03\x04 an archive", "not a whole .npy file"),
        ("y.npy", "0\n1\n", "not a whole .npy file"),
        ("y.npy", npy_with_shape("(11,)"), "not a whole .npy file"),
        ("y.npy", npy_with_shape("(10**9,)"), "not a whole .npy file"),
        ("y.npy", npy_with_shape("(4611686018427387904,)"), "not a whole .npy file"),
        ("y.npy", npy_with_shape("(-1,)"), "not a whole .npy file"),
        ("y.npy", npy_with_shape("(99999999999999999999999,)"), "not a whole .npy file"),
        ("y.txt", b"0\n1\n\xff\xfe\n", "line 3: byte 0xff is not UTF-8"),
        ("y.csv", "label\n0\n1\n".encode("utf-16"), "line 1: byte 0x(ff|fe) is not UTF-8"),
        ("y.dat", "0\n1\n", r"ends in '\.dat'(?s:.*)\.npy, \.csv or \.txt"),
        ("labels", "0\n1\n", "has no suffix"),
        ("y.csv", "a,b\n0,1\n1,0\n", r"has 2 columns, called 'a, b'(?s:.*)label, labels, y, class, target"),
        ("y.csv", "label,class\n0,1\n1,0\n", "has 2 columns, called 'label, class'"),
        ("y.csv", "0,1\n1,0\n", "has 2 columns, and no header"),
        ("y.csv", "id,label\n0,1\n1\n", "line 3: the row has 1 cells"),
        ("y.csv", 'label\n0\n"1\n', "line 3: unexpected end of data"),
        ("y.csv", 'label\n0\n"1"2\n', "line 3: "),
        ("y.csv", "0;1\n1;0\n", "2 columns, and no header"),
        ("y.csv", "class_id,count\n0,5\n1,3\n", r"holds class counts(?s:.*)--class-counts"),
        ("y.csv", "count\n5\n3\n", r"holds class counts(?s:.*)--class-counts"),
        ("no/such/y.csv", None, "cannot be read: No such file"),
        ("missing.npy", None, "cannot be read: No such file"),
        ("missing.txt", None, "cannot be read: No such file"),
        ("nul\0.txt", None, "cannot be read: embedded null"),
    ],
)
def test_faulty_label_files(tmp_path: Path, name: str, content: str | bytes | None, words: str) -> None:
    path = tmp_path / name
    if content is not None:
        write(path, content)
    with pytest.raises(FileFormatError, match=words) as caught:
        read_labels(path)
    assert str(path) in caught.value.got


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("y.txt", "0\n1.0\n", r"line 2: the label is '1\.0'(?s:.*)astype\(int\)"),
        ("y.txt", "# x\n\n0\n3.5\n", r"line 4: the label is '3\.5'"),
        ("y.txt", "0\nnan\n", "line 2: the label is 'nan'"),
        ("y.txt", "0\n1 2\n", "line 2: the label is '1 2'"),
        ("y.txt", "0\n1_0\n", "line 2: the label is '1_0'"),
        ("y.txt", "0\n١\n", "line 2: the label is '١'"),
        ("y.txt", "0\n1e3\n", "line 2: the label is '1e3'"),
        ("y.txt", "0\n-1\n", "line 2: the label is -1"),
        ("y.txt", "0\n" + "9" * 5000, r"line 2: the label is '9{5}"),
        ("y.csv", "1.0\n0.0\n", r"line 1: the label is '1\.0'"),
        ("y.csv", "nan\n0\n", "line 1: the label is 'nan'"),
        ("y.csv", "label\n0\ncat\n", r"line 3: the label is 'cat'(?s:.*)mend or remove"),
        ("y.csv", 'label\n0\n""\n1\n', "line 3: the label is ''"),
        ("y.csv", "id,label\n0,0\n\n1,\n", "line 4: the label is ''"),
        ("y.csv", "label\n0\n-1\n", "line 3: the label is -1"),
    ],
)
def test_faulty_labels_are_named_with_their_line(tmp_path: Path, name: str, content: str, words: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(LabelsError, match=words) as caught:
        read_labels(path)
    assert str(path) in caught.value.got


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([0.0, 1.0]), "has dtype float64"),
        (np.array([0.0, np.nan]), r"\[1\] is nan"),
        (np.array([0, -1]), r"\[1\] is -1"),
        (np.eye(2, dtype=int), "argmax"),
        (np.array(0), r"shape \(\)"),
        (np.array([], dtype=int), "is empty"),
        (np.array([True, False]), "has dtype bool"),
        (np.array(["a", "b"]), "has dtype <U1"),
        (np.array([(0, 1)], dtype=[("a", int), ("b", int)]), "has dtype"),
    ],
)
def test_faulty_arrays_in_npy_files(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "y.npy", array)
    with pytest.raises(LabelsError, match=words) as caught:
        read_labels(tmp_path / "y.npy")
    assert str(tmp_path / "y.npy") in caught.value.got


def test_an_npy_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = npy(np.arange(12) % 3, tmp_path)
    assert read_labels(write(tmp_path / "y.npy", whole)).size == 12
    for length in range(0, len(whole), 7):
        with pytest.raises(FileFormatError):
            read_labels(write(tmp_path / "y.npy", whole[:length]))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    class Loud:
        def __reduce__(self) -> tuple[object, ...]:
            return pytest.fail, ("the file was unpickled",)

    path = write(tmp_path / "y.npy", npy(np.array([Loud(), None]), tmp_path))
    with pytest.raises(FileFormatError, match="Python objects"):
        read_labels(path)


@given(st.binary(max_size=60), st.sampled_from(["y.csv", "y.txt", "y.npy"]))
@example(b"\x1c0", "y.csv")  # white space to a regular expression, not to int()
@settings(max_examples=150, deadline=None)
def test_no_bytes_bring_down_a_reader(tmp_path_factory, content: bytes, name: str) -> None:
    path = write(tmp_path_factory.getbasetemp() / name, content)
    for reader in (read_labels, read_class_counts):
        found = np.zeros(1, dtype=np.int64)
        with contextlib.suppress(CountsError, FileFormatError, LabelsError):
            found = reader(path)
        assert found.dtype == np.int64
        assert found.min() >= 0


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("n.csv", "", FileFormatError, "does not hold anything"),
        ("n.csv", "class_id,count\n", FileFormatError, "does not hold class counts"),
        ("n.dat", "5\n3\n", FileFormatError, r"ends in '\.dat'(?s:.*)--labels"),
        ("n.txt", "5\n0\n", CountsError, r"entry 1 is 0(?s:.*)--labels"),
        ("n.txt", "5\n3.0\n", CountsError, r"line 2: count is '3\.0'"),
        ("n.txt", "# nothing\n", FileFormatError, "does not hold class counts"),
        ("n.txt", "cat 5\ndog\n", CountsError, r"line 1: count is 'cat 5'"),
        ("n.npy", b"", FileFormatError, "does not hold"),
        ("n.npy", b"nonsense", FileFormatError, "not a whole .npy file"),
        ("n.json", "[5, 3", FileFormatError, "no JSON"),
        ("n.json", "5", FileFormatError, "holds 5"),
        ("n.json", "[]", FileFormatError, "a list of counts"),
        ("n.json", "[5, 3.0]", CountsError, "of type str"),
        ("n.json", "[5, true]", CountsError, "of type bool"),
        ("n.json", "[5, null]", CountsError, "of type NoneType"),
        ("n.json", "[5, NaN]", CountsError, "'NaN'"),
        ("n.json", "[0, 1, 1, 0]", CountsError, r"entry 0 is 0(?s:.*)--labels"),
        ("n.json", '{"0": 5, "2": 3}', FileFormatError, "0, 2"),
        ("n.json", '{"cat": 5, "cat": 3}', FileFormatError, "each once"),
        ("n.csv", "0,5\n1,3\n", FileFormatError, r"the first row is '0,5'(?s:.*)add the header"),
        ("n.csv", "label\n0\n1\n", FileFormatError, r"the first row is 'label'(?s:.*)--labels"),
        ("n.csv", "0\n1\n1\n", FileFormatError, "--labels"),
        ("n.csv", "path,label\na,0\nb,1\n", FileFormatError, "--labels"),
        ("n.csv", "class_id,count,name\n0,5,a\n", CountsError, "one class"),
        ("n.csv", "class_id,count,weight\n0,5,1.5\n1,3,1\n", FileFormatError, "the column weight"),
        ("n.csv", "class_id,class_id\n0,5\n", FileFormatError, "the first row"),
        ("n.csv", "class_id,count\n0,5\n1\n", FileFormatError, "line 3: the row has 1 cells"),
        ("n.csv", b"class_id,count\n0,5\n1,\xe9\n", FileFormatError, "line 3: byte 0xe9"),
        ("n.csv", "class_id,count\n0,5\n1,3.5\n", CountsError, r"line 3: count is '3\.5'"),
        ("n.csv", "class_id,count\n0,5\n1,3.0\n", CountsError, r"line 3: count is '3\.0'(?s:.*)astype\(int\)"),
        ("n.csv", "class_id,count\n0,5\n1,nan\n", CountsError, "line 3: count is 'nan'"),
        ("n.csv", "class_id,count\n0,5\n1,\n", CountsError, "line 3: count is ''"),
        ("n.csv", "class_id,count\n0,5\n1.0,3\n", CountsError, r"line 3: class_id is '1\.0'"),
        ("n.csv", "class_id,count\n0,0\n1,0\n", CountsError, "class_counts is 0 for every class"),
        ("n.csv", "class_id,count\n1,5\n0,-2\n", CountsError, "line 3: the count of class 0 is -2"),
        ("n.csv", "class_id,count\n0,5\n1,2\n\n0,3\n", CountsError, "line 5: class_id 0 stands on line 2"),
        ("n.csv", "class_id,count\n0,5\n2,3\n", CountsError, r"line 3: class_id 2 among 2 classes(?s:.*)1 is missing"),
        ("n.csv", "class_id,count\n1,5\n2,3\n", CountsError, r"line 3: class_id 2(?s:.*)0 is missing"),
        ("n.csv", "class_id,count\n0,5\n-1,3\n", CountsError, "line 3: class_id -1"),
        ("n.csv", "class_id,count\n0,5\n", CountsError, "one class"),
        ("n.csv", f"class_id,count\n0,5\n1,{2**53}\n", CountsError, "sums to N"),
        ("n.csv", "class_id,count\n0,5\n1," + "9" * 40, CountsError, r"line 3: count is '9{5}"),
    ],
)
def test_faulty_class_count_files(
    tmp_path: Path, name: str, content: str | bytes, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        read_class_counts(write(tmp_path / name, content))


def test_missing_class_count_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="No such file"):
        read_class_counts(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileFormatError, match="Is a directory"):
        read_class_counts(tmp_path / "folder.csv")


def test_the_profiles_say_where_they_come_from() -> None:
    for name in set(profile_names()) - {"balanced"}:
        assert "Source:" in (inspect.getdoc(getattr(profiles, name)) or "")
