"""What people give is taken whole or refused by name: arrays of every make, numbers, keys, columns, members."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import _arrays, _given, solvers
from ufm_convex.class_counts import read_class_counts, read_labels, validate_class_counts, validate_labels
from ufm_convex.cli import application
from ufm_convex.errors import CandidateError, ProblemError
from ufm_convex.interchange import cbf_solution, point_from_cbf
from ufm_convex.positivity import complete_positivity
from ufm_convex.relaxation import GramPoint
from ufm_convex.sweep import Grid

W, H, y = np.eye(3), np.eye(3)[[0, 0, 0, 1, 2]], np.array([0, 0, 0, 1, 2])
PROBLEM = ufm.Problem([500, 100, 20], 5e-3, 5e-3)
SMALL = ufm.Problem([3, 1, 1], 5e-3, 5e-3)
DECAYS = ["--lambda-w", "5e-3", "--lambda-h", "5e-3"]


def masked(values, *, place=-1):
    """The values with one entry masked, and nonsense under the mask."""
    array = np.ma.masked_array(np.array(values), mask=False)
    mask = np.zeros(array.shape, dtype=bool)
    mask.flat[place] = True
    array.mask = mask
    return array


BOUNDARIES = {
    "class counts": lambda a: ufm.Problem(a([500, 100, 20]), 1e-3, 1e-3),
    "counts of a contrastive problem": lambda a: ufm.ContrastiveProblem(a([500, 100, 20]), bound=1.0),
    "labels": lambda a: ufm.class_counts_from_labels(a(y)),
    "weights": lambda a: ufm.Candidate(weights=a(W), features=H, labels=y),
    "features": lambda a: ufm.Candidate(weights=W, features=a(H), labels=y),
    "labels of a candidate": lambda a: ufm.Candidate(weights=W, features=H, labels=a(y)),
    "counts of a candidate": lambda a: ufm.Candidate(weights=W, features=W, class_counts=a([3, 1, 1])),
    "contrastive features": lambda a: ufm.ContrastiveCandidate(features=a(H), labels=y),
    "contrastive labels": lambda a: ufm.ContrastiveCandidate(features=H, labels=a(y)),
    "class weights": lambda a: ufm.CrossEntropy(class_weights=a([1.0, 2.0, 3.0])),
    "targets": lambda a: ufm.SoftTargetCrossEntropy(a(W)),
    "shift": lambda a: ufm.LogitAdjustedCrossEntropy(shift=a([1.0, 2.0, 3.0])),
    "scale": lambda a: ufm.LogitAdjustedCrossEntropy(scale=a([1.0, 2.0, 3.0])),
    "margins": lambda a: ufm.HardMargin(a([1.0, 2.0, 3.0])),
    "scale of margins": lambda a: ufm.HardMargin(1.0, scale=a([1.0, 2.0, 3.0])),
    "a Gram matrix": lambda a: complete_positivity(a(W)),
    "a factor": lambda a: complete_positivity(W, factor=a(W)),
    "decays of a sweep": lambda a: Grid(a([1e-3, 1e-2]), [1.0]),
    "values of a conic solution": lambda a: point_from_cbf(
        SMALL, "class", a(cbf_solution(SMALL, ufm.solve(SMALL, solver="clarabel"), "class"))
    ),
    "a pair in an assertion": lambda a: ufm.testing.assert_optimal(SMALL, (a(W), W), tolerance=0.999),
}


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_a_mask_is_never_dropped(boundary: str) -> None:
    BOUNDARIES[boundary](np.array)  # the same without a mask is taken
    with pytest.raises(ufm.UFMError, match="masked array"):
        BOUNDARIES[boundary](masked)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_a_mask_inside_a_list_is_never_dropped(boundary: str) -> None:
    with pytest.raises(ufm.UFMError, match="masked array"):
        BOUNDARIES[boundary](lambda values: list(masked(values)))


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=str)
def test_tensors_are_taken_exactly_wherever_arrays_are(boundary: str) -> None:
    torch = pytest.importorskip("torch", reason="pip install torch")
    BOUNDARIES[boundary](lambda values: torch.as_tensor(np.array(values)))
    with pytest.raises(ufm.UFMError, match="without data"):
        BOUNDARIES[boundary](lambda values: torch.as_tensor(np.array(values)).to("meta"))


def test_a_layer_of_torch_is_a_classifier_as_it_is() -> None:
    torch = pytest.importorskip("torch", reason="pip install torch")
    layer = torch.nn.Linear(3, 3)
    taken = ufm.Candidate(
        weights=layer.weight, features=torch.as_tensor(H).to(torch.bfloat16), labels=torch.as_tensor(y)
    )
    assert layer.weight.requires_grad
    assert np.array_equal(taken.weights, layer.weight.detach().numpy())
    third = torch.tensor([[1 / 3] * 3] * 3, dtype=torch.bfloat16)  # not a number of float16, nor 1/3
    taken = ufm.Candidate(weights=third, features=third.half(), class_counts=[3, 1, 1])
    assert taken.weights.dtype == taken.features.dtype == np.float32
    assert float(taken.weights[0, 0]) == 0.333984375  # 171 / 512, the bfloat16 next to a third
    assert float(taken.features[0, 0]) == 0.333984375


@pytest.mark.parametrize("change", ["to_sparse", "quantised"])
def test_other_tensors_are_refused_and_the_advice_works(change: str) -> None:
    torch = pytest.importorskip("torch", reason="pip install torch")
    tensor, back = torch.eye(3).to_sparse(), lambda one: one.to_dense()
    if change == "quantised":
        with pytest.warns(UserWarning, match="deprecated"):
            tensor, back = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), lambda one: one.dequantize()
    with pytest.raises(CandidateError) as refusal:
        ufm.Candidate(weights=tensor, features=W, class_counts=[3, 1, 1])
    assert ("to_dense()" if change == "to_sparse" else "dequantize()") in refusal.value.fix
    ufm.Candidate(weights=back(tensor), features=W, class_counts=[3, 1, 1])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (scipy.sparse.csr_array(W), "sparse"),
        (scipy.sparse.csr_matrix(W), "sparse"),
        (W.astype(complex), "complex128"),
        (W.astype(bool), "bool"),
        (W.astype(str), "dtype <U"),
        (W.astype(object), "object"),
        (W.astype("datetime64[s]"), "datetime64"),
        (np.zeros((3, 3), dtype=[("a", float)]), "dtype"),
        (W[0], "shape"),
        ([W, W[:1]], "ragged"),
    ],
    ids=str,
)
def test_what_is_no_matrix_of_numbers_is_refused(values: object, words: str) -> None:
    with pytest.raises(ufm.UFMError, match=words):
        ufm.Candidate(weights=values, features=W, class_counts=[3, 1, 1])


def test_a_matrix_and_a_memory_map_are_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", W)
    warnings.simplefilter("ignore", PendingDeprecationWarning)  # of np.matrix; pytest undoes it
    for values in (np.matrix(W), np.load(tmp_path / "w.npy", mmap_mode="r")):
        assert np.array_equal(ufm.Candidate(weights=values, features=values, class_counts=[3, 1, 1]).weights, W)


NUMBERS = {
    "lambda_w": lambda one: ufm.Problem([3, 2], one(5e-4), 1e-3).lambda_w == 5e-4,
    "bias": lambda one: ufm.Problem([3, 2], 1e-3, 1e-3, bias=one(5e-4)).bias == 5e-4,
    "smoothing": lambda one: ufm.CrossEntropy(smoothing=one(0.25)).smoothing == 0.25,
    "class weights": lambda one: ufm.CrossEntropy([one(0.25), 1.0]).class_weights == (0.25, 1.0),
    "radius": lambda one: ufm.LayerPeeled(one(0.25), 1).weight_radius == 0.25,
    "margin": lambda one: ufm.HardMargin(one(0.25)).margins == 0.25,
    "bound": lambda one: ufm.ContrastiveProblem([3, 2], bound=one(0.25)).bound == 0.25,
    "tolerance of solve": lambda one: ufm.solve(PROBLEM, tolerance=one(0.25)).tolerance == 0.25,
    "tolerance of certify": lambda one: ufm.certify(PROBLEM, tolerance=one(0.25)).tolerance == 0.25,
    "ratio": lambda one: len(ufm.class_counts.exponential(2, 8, one(4.0))) == 2,
    "gap": lambda one: ufm.stability_bounds(SMALL, one(0.25)).weights > 0.0,
}


@pytest.mark.parametrize("name", NUMBERS, ids=str)
@pytest.mark.parametrize("make", [np.array, np.float64, float], ids=["0-d array", "scalar", "float"])
def test_numbers_without_dimensions_are_numbers(name: str, make: type) -> None:
    assert NUMBERS[name](make)
    if name != "margin":  # of which a list is one a class
        with pytest.raises(ufm.UFMError):
            NUMBERS[name](lambda value: np.array([value]))
    with pytest.raises(ufm.UFMError):  # a masked number is none, whatever lies under the mask
        NUMBERS[name](lambda value: np.ma.masked_array(value, mask=True))


@pytest.mark.parametrize("name", NUMBERS, ids=str)
def test_tensors_without_dimensions_are_numbers(name: str) -> None:
    torch = pytest.importorskip("torch", reason="pip install torch")
    assert NUMBERS[name](lambda value: torch.tensor(value, dtype=torch.float64, requires_grad=True))
    with pytest.raises(ufm.UFMError):
        NUMBERS[name](lambda value: torch.tensor(value, device="meta"))


POSITIVE = {
    "lambda_w": lambda one: ufm.Problem([3, 2], one, 1e-3),
    "lambda_h": lambda one: ufm.Problem([3, 2], 1e-3, one),
    "bias": lambda one: ufm.Problem([3, 2], 1e-3, 1e-3, bias=one),
    "weight_radius": lambda one: ufm.LayerPeeled(one, 1),
    "feature_radius": lambda one: ufm.LayerPeeled(1, one),
    "bound": lambda one: ufm.ContrastiveProblem([3, 2], bound=one),
    "temperature": lambda one: ufm.ContrastiveProblem([3, 2], bound=1.0, temperature=one),
    "time_limit": lambda one: ufm.solve(SMALL, time_limit=one),
}


@pytest.mark.parametrize("bad", [0, -0.0, -5e-324, float("inf"), float("nan"), 10**400, True, "1", [1.0]], ids=str)
@pytest.mark.parametrize("name", POSITIVE)
def test_what_is_no_finite_number_above_zero_is_refused_by_its_name(name: str, bad: object) -> None:
    with pytest.raises(ufm.errors.ProblemError, match=rf"^{name} is ") as refused:
        POSITIVE[name](bad)
    assert "> 0" in refused.value.expected


def test_the_ends_of_the_range() -> None:
    """On either side: the smallest number above zero and the largest of all; ``most`` itself and what is above it."""
    for number in (5e-324, sys.float_info.max):
        assert _given.positive("x", number, fix="f") == number
    assert _given.positive("x", 2, most=2.0, fix="f") == 2.0
    with pytest.raises(ufm.errors.ProblemError):
        _given.positive("x", np.nextafter(2.0, 3.0), most=2.0, fix="f")
    assert _given.nonnegative("x", 0, fix="f") == 0.0
    for bad in (-5e-324, float("inf"), float("nan")):
        with pytest.raises(ufm.errors.CandidateError, match=r"^x is "):
            _given.nonnegative("x", bad, fix="f", kind=ufm.errors.CandidateError)


def test_whole_numbers_without_dimensions_are_whole_numbers() -> None:
    assert ufm.Problem([np.array(3), np.int8(2)], 1, 1, feature_dim=np.array(2)).feature_dim == 2
    assert ufm.class_counts.balanced(np.array(3), np.array(5)).tolist() == [5, 5, 5]
    assert [_arrays.whole(one) for one in (True, 2.0, "2", np.array([2]), np.ma.masked)] == [None] * 5


def test_a_number_under_a_mask_is_not_looked_at() -> None:
    assert np.isnan(_arrays.real(np.ma.masked))  # its item() is 0.0
    assert np.isnan(_arrays.real(masked([5.0])[0]))
    for given in (np.ma.masked, np.ma.masked_array(0.25, mask=True)):  # nor is it shown as what was given
        with pytest.raises(ufm.errors.ProblemError, match="lambda_w is a masked number"):
            ufm.Problem([5, 3], given, 0.1)


def test_an_imbalance_below_one_is_told_to_be_turned_over() -> None:
    from ufm_convex.sweep import Grid

    with pytest.raises(ufm.errors.ProblemError, match=r"imbalances has the entry 0.01(?s:.*)is the ratio 100"):
        Grid([1e-3], [0.01], [3])
    assert len(Grid([1e-3], [100], [3])) == 1


def test_classes_of_a_sweep_are_not_rounded() -> None:
    with pytest.raises(ProblemError, match=r"10\.5"):
        Grid([1e-3], [1.0], [10.5])


# -- options ------------------------------------------------------------------------------------------------------

PROBLEMS = {
    "penalties": PROBLEM,
    "norm balls": ufm.Problem([5, 3], constraint=ufm.LayerPeeled(1, 5), features="free"),
    "contrastive": ufm.ContrastiveProblem([5, 3], bound=1.0),
}


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("name", sorted(solvers.available()))
def test_an_option_that_a_solver_does_not_have_is_refused_before_any_work(name: str, kind: str) -> None:
    said: list[str] = []
    with pytest.raises(ProblemError, match=f"solver '{name}' has no option 'foo'"):
        ufm.solve(PROBLEMS[kind], solver=name, options={"foo": 1}, progress=said.append)
    assert said == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("clarabel", {"max_iter": "x"}),
        ("clarabel", {"max_iter": -1}),
        ("scs", {"max_iters": 1.5}),
        ("scs", {"eps_abs": -1.0}),
        ("factored", {"starts": 0}),
        ("factored", {"seed": 1.5}),
        ("factored", {"starts": True}),
    ],
    ids=str,
)
def test_a_value_that_a_solver_refuses_is_named_before_any_work(name: str, options: dict[str, object]) -> None:
    said: list[str] = []
    with pytest.raises(ProblemError, match=next(iter(options))):
        ufm.solve(PROBLEM, solver=name, options=options, progress=said.append)
    assert said == []


def test_the_options_that_are_listed_exist(tmp_path: Path) -> None:
    """Each name of the list is one that the installed SCS knows, or that cvxpy takes for it."""
    tried = {
        "write_data_filename": str(tmp_path / "d"),
        "log_csv_filename": str(tmp_path / "l"),
        "linear_solver": "qdldl",
    }
    usual = {
        "max_iters": 5,
        "verbose": False,
        "acceleration_lookback": 5,
        "acceleration_interval": 5,
        "use_indirect": False,
    }
    switches = dict.fromkeys(("normalize", "adaptive_scale", "adaptive_diag_scale", "acceleration_type_1"), True)
    for option in solvers.solver("scs").options():
        value = {**tried, **usual, **switches}.get(option, 0.1)
        solvers.solver("scs").check_options({option: value})
    assert {"max_iter", "tol_gap_rel", "verbose"} <= set(solvers.solver("clarabel").options())


def test_the_closest_key_is_suggested() -> None:
    with pytest.raises(ProblemError) as refusal:
        _given.require_known(["max_iter"], ["max_iters", "eps"], "solver 'scs' option", ProblemError)
    assert refusal.value.fix.startswith("write max_iters")
    _given.require_known(["eps"], ["max_iters", "eps"], "solver 'scs' option", ProblemError)


# -- files --------------------------------------------------------------------------------------------------------


def saved(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "c.npz", **arrays)
    return folder / "c.npz"


@pytest.mark.parametrize("extra", ["b", "temperature", "mask", "weights2", "Weights"])
def test_a_member_that_would_not_be_used_is_refused(tmp_path: Path, extra: str) -> None:
    path = saved(tmp_path, weights=W, features=H, labels=y, **{extra: np.array([50.0, -30.0, 2.0])})
    with pytest.raises(ufm.errors.FileFormatError, match=extra):
        ufm.Candidate.load(path)
    done = CliRunner().invoke(application(), ["certify", str(path), *DECAYS])
    assert done.exit_code == 2
    assert extra in done.stderr


@pytest.mark.parametrize("name", ["fc.bias", "head_bias", "b", "b2"])
def test_a_bias_written_as_text_is_no_text(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, weights=W, features=H, labels=y, **{name: np.array(["50", "-30", "2"])})
    with pytest.raises(ufm.errors.FileFormatError, match=rf"(?s)the array {name}, which would not be used.*say so"):
        ufm.Candidate.load(path)
    named = saved(tmp_path, weights=W, features=H, labels=y, bias=np.array(["50", "-30", "2"]))
    with pytest.raises(ufm.errors.CandidateError, match="bias has dtype"):
        ufm.Candidate.load(named)


def test_text_beside_the_arrays_is_said_not_to_be_used(tmp_path: Path) -> None:
    path = saved(tmp_path, weights=W, features=H, labels=y, class_names=np.array(["cat", "dog", "eel"]))
    command = [sys.executable, "-c", "from ufm_convex.cli import main; main()", "certify", str(path), *DECAYS, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stderr.splitlines() == [f"{path}: not used: the array class_names"]
    assert json.loads(done.stdout)["verdict"] == "suboptimal"


def test_other_names_are_listed_with_the_call_that_renames_them(tmp_path: Path) -> None:
    path = saved(tmp_path, W=W, H=H, y=y)
    with pytest.raises(ufm.errors.FileFormatError, match=r"the arrays H, W, y") as refusal:
        ufm.Candidate.load(path)
    call, options = refusal.value.fix.removeprefix("say which is which: ").rstrip(".").split(", or ")
    assert eval(call, {"path": path, "Candidate": ufm.Candidate}).num_samples == 5  # the advice is the call itself
    done = CliRunner().invoke(application(), ["certify", str(path), *options.split(), *DECAYS])
    assert done.exit_code == 1, done.output


def test_a_bias_beside_renamed_weights_is_not_passed_over(tmp_path: Path) -> None:
    names = {"weights": "W", "features": "H", "labels": "y"}
    path = saved(tmp_path, W=W, H=H, y=y, b=np.array([50.0, -30.0, 2.0]))
    with pytest.raises(ufm.errors.FileFormatError, match="the array b, which would not be used"):
        ufm.Candidate.load(path, arrays=names)


@pytest.mark.parametrize("form", ["object", "S25", "U25"])
def test_the_advice_for_numbers_in_another_form_works(form: str) -> None:
    given = np.array([[1.0, 0.0], [0.5, 2.0]]).astype(form)
    with pytest.raises(ufm.errors.CandidateError) as refusal:
        ufm.Candidate(weights=given, features=np.eye(2), class_counts=[3, 1])
    call = refusal.value.fix.removeprefix("pass ").partition("),")[0].rstrip(".)") + ")"
    weights = eval(call, {"np": np, "weights": given})
    assert ufm.Candidate(weights=weights, features=np.eye(2), class_counts=[3, 1]).weights[1, 1] == 2.0


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_torch_is_read_as_its_tensors_are(tmp_path: Path, legacy: bool) -> None:
    torch = pytest.importorskip("torch", reason="pip install torch")
    path = tmp_path / "model.pt"
    state = {"fc": torch.nn.Linear(3, 3).weight.detach().bfloat16(), "H": torch.as_tensor(H), "y": torch.as_tensor(y)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ufm.errors.FileFormatError, match="name weights"):
        ufm.Candidate.load(path)
    called = ufm.Candidate.load(path, arrays={"weights": "fc", "features": "H", "labels": "y"})
    found = torch.load(path, weights_only=True)
    c = ufm.Candidate(weights=found["fc"], features=found["H"], labels=found["y"])
    again = ufm.Candidate.load(saved(tmp_path, weights=c.weights, features=c.features, labels=c.labels))
    assert again.sha256 == c.sha256 == called.sha256


TABLES = [
    "class,count\n0,5000\n1,400\n2,30\n",
    "label,num_images\n0,5000\n1,400\n2,30\n",
    "class_id,class_name,count\n0,cat,5000\n1,dog,400\n2,eel,30\n",
    "class_id;count\n0;5000\n1;400\n2;30\n",
    "class_id\tcount\n0\t5000\n1\t400\n2\t30\n",
    "class_id|count\n0|5000\n1|400\n2|30\n",
    "cls,n\n2,30\n0,5000\n1,400\n",
    "Label , Num Images\n0, 5000\n1, 400\n2, 30\n",
    '"classId","# samples"\n"0","5000"\n"1","400"\n"2","30"\n',
    ",count\n0,5000\n1,400\n2,30\n",
    ",class_id,count\n0,2,30\n1,0,5000\n2,1,400\n",
    "count\n5000\n400\n30\n",
    "class_index,class,count\n0,cat,5000\n1,dog,400\n2,eel,30\n",
    "Class,Number of images\n0,5000\n1,400\n2,30\n",
    "\ufeffclass_id,count\r\n0,5000\r\n1,400\r\n2,30\r\n",
]


@pytest.mark.parametrize("text", TABLES)
def test_a_table_of_counts_is_read_as_one_and_never_as_labels(tmp_path: Path, text: str) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(text.encode())
    assert read_class_counts(path).tolist() == [5000, 400, 30]
    with pytest.raises(ufm.errors.FileFormatError, match="class counts"):
        read_labels(path)


@pytest.mark.parametrize(
    "text",
    [
        "class_id,train_count,test_count\n0,5,1\n1,3,1\n",
        "class,label,count\n0,1,5\n1,0,3\n",
        "class_id,count,weight\n0,5,1\n1,3,2\n",
        "class_id;a,count\n0;b,5\n",
        "class_id,count\n0,5\n0,3\n",
        "class_id,count\n0,5.5\n1,3\n",
        "class_id,count\n0,-5\n1,3\n",
    ],
)
def test_a_table_that_may_mean_two_things_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "n.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ufm.UFMError):
        read_class_counts(tmp_path / "n.csv")


def test_columns_that_are_not_used_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "n.csv").write_text("class_id,class_name,count\n0,cat,5\n1,dog,3\n", encoding="utf-8")
    (tmp_path / "y.csv").write_text("path,label\na.png,0\nb.png,1\n", encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        read_class_counts(tmp_path / "n.csv")
        read_labels(tmp_path / "y.csv")
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "not used: the column class_name",
        "not used: the column path",
    ]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte-order mark"])
def test_a_byte_order_mark_is_no_content(tmp_path: Path, mark: str) -> None:
    toml = "class_counts = [5, 3]\nlambda_w = 1e-3\nlambda_h = 1e-3\n"
    files = {
        "p.toml": toml,
        "c.toml": 'model = "contrastive"\nclass_counts = [5, 3]\nbound = 1.0\n',
        "n.csv": "class_id,count\n0,5\n1,3\n",
        "y.csv": "label\n0\n1\n",
        "y.txt": "0\n1\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(mark + content, encoding="utf-8")
    assert ufm.Problem.load(tmp_path / "p.toml").num_classes == 2
    assert ufm.ContrastiveProblem.load(tmp_path / "c.toml").num_classes == 2
    assert read_class_counts(tmp_path / "n.csv").tolist() == [5, 3]
    assert read_labels(tmp_path / "y.csv").tolist() == read_labels(tmp_path / "y.txt").tolist() == [0, 1]
    done = CliRunner().invoke(application(), ["solve", str(tmp_path / "c.toml"), "--json"])
    assert json.loads(done.stdout)["model"] == "contrastive"


# -- words --------------------------------------------------------------------------------------------------------


def test_the_solver_is_not_a_frame_that_was_refused() -> None:
    biased = ufm.Problem([50, 30, 20, 5, 2], 2e-2, 2e-2, bias="free")
    refused, right = ufm.solve(biased), ufm.solve(PROBLEM, solver="frame")
    assert "frame refused" in refused.run.message
    assert (refused.run.solver, refused.solver) == ("frame", "factored")
    assert (right.run.solver, right.solver) == ("frame", "frame")


@pytest.mark.parametrize("solver", ["factored", "clarabel"])
def test_free_features_that_are_zero_are_not_called_active(solver: str) -> None:
    counts = ["--class-counts", "50,30,20,5,2", "--features", "free", "--solver", solver]
    zero = CliRunner().invoke(application(), ["solve", *counts, "--lambda-w", "2", "--lambda-h", "2"]).stdout
    alive = CliRunner().invoke(application(), ["solve", *counts, "--lambda-w", "1e-3", "--lambda-h", "1e-2"]).stdout
    assert (zero.count("zero"), zero.count("active")) == (5, 0)
    assert (alive.count("zero"), alive.count("active")) == (0, 5)


def test_gram_points_of_masked_arrays_are_not_judged() -> None:
    point = GramPoint(masked(W), W, W)
    row = ufm.cross_check(SMALL, [lambda problem: point]).rows[0]
    assert row.verdict.value == "failed"
    assert "mask" in row.reason


def test_counts_and_labels_in_memory() -> None:
    for wrong in (
        np.array(["5", "3"]),
        np.array([5, 3], dtype="datetime64[s]"),
        np.array([5 + 0j, 3]),
        [5, None],
        {5: 3},
        "5,3",
    ):
        with pytest.raises(ufm.UFMError):
            validate_class_counts(wrong)
        with pytest.raises(ufm.UFMError):
            validate_labels(wrong)
