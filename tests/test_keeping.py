"""Solutions in files: what comes back is proved again, and nothing that a file says is believed."""

import dataclasses
import json

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex import evidence, solving
from ufm_convex.errors import FileFormatError, ProblemError
from ufm_convex.relaxation import AxesPoint, Factors, FramePoint, Gram, GramPoint

COUNTS = [50, 50, 20, 20, 20, 5]
TABLE = ufm.SoftTargetCrossEntropy([[0.5, 0.5, 0], [0, 0.2, 0.8], [0.1, 0.1, 0.8], [0, 1, 0], [0.5, 0.5, 0]])
CASES = {
    "frame": ({}, "frame", "auto", FramePoint),
    "class": ({}, "clarabel", "class", GramPoint),
    "group": ({}, "clarabel", "group", Gram),
    "sample": ({"class_counts": [4, 3, 1]}, "clarabel", "sample", GramPoint),
    "free": ({"features": "free"}, "factored", "auto", None),
    "bias": ({"bias": 0.02}, "clarabel", "group", Gram),
    "narrow": ({"feature_dim": 2}, "clarabel", "class", GramPoint),
    "smoothing": ({"loss": ufm.CrossEntropy(smoothing=0.1)}, "frame", "auto", None),
    "merged columns": (
        {"class_counts": [5, 4, 3, 3], "loss": ufm.SoftTargetCrossEntropy(np.eye(3)[[0, 1, 2, 2]])},
        "clarabel",
        "class",
        GramPoint,
    ),
    "axes": ({"class_counts": [*range(1, 302)], "loss": ufm.MeanSquaredError()}, "theory", "auto", AxesPoint),
    "variable projection": (
        {"class_counts": [5, 4, 3, 3, 2], "loss": TABLE, "features": "free"},
        "variable-projection",
        "auto",
        Factors,
    ),
    "hard margin": ({"constraint": ufm.HardMargin(0.5)}, "clarabel", "class", GramPoint),
}


def solved(name):
    options, solver, level, _ = CASES[name]
    arguments = {"class_counts": COUNTS, "lambda_w": 5e-3, "lambda_h": 1e-2, **options}
    return ufm.solve(ufm.Problem(**arguments), solver=solver, level=level, tolerance=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_solution_comes_back_with_its_bounds(name, tmp_path):
    """To the last bit: the same run, proved by the same arithmetic."""
    solution, kind = solved(name), CASES[name][3]
    solution.save(tmp_path / "s.npz")
    found = ufm.Solution.load(tmp_path / "s.npz")
    assert kind is None or isinstance(found.run.point, kind)
    assert found.problem == solution.problem
    for one in (
        "value",
        "status",
        "lower_bound",
        "upper_bound",
        "tolerance",
        "route",
        "seconds",
        "solver",
        "level",
        "rank",
    ):
        assert getattr(found, one) == getattr(solution, one), one
    assert (found.logits == solution.logits).all()
    assert found.kkt().residuals == solution.kkt().residuals
    assert found.run.claim is solution.run.claim
    assert found.run.value == solution.run.value
    W, H = found.factors()
    assert all((one == other).all() for one, other in zip(solution.factors(), (W, H), strict=True))


def test_what_comes_back_is_proved_and_certifies(tmp_path, monkeypatch):
    solution = solved("group")
    solution.save(tmp_path / "s.npz")
    monkeypatch.setattr(solving, "solve", lambda *_, **__: pytest.fail("no solver is asked"))
    found = ufm.Solution.load(tmp_path / "s.npz")
    assert ufm.certify(found.problem, solution=found).verdict == "optimal"


def header_of(path):
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("header")[()])), arrays


def written(path, header, arrays):
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def test_a_file_that_says_more_than_its_points_prove_is_not_believed(tmp_path):
    """Its value is moved between the bounds that its points prove, and its status follows from these."""
    path = tmp_path / "s.npz"
    solution = solved("class")
    solution.save(path)
    header, arrays = header_of(path)
    header["value"] = 0.5 * solution.lower_bound
    worse = {name: 0.5 * array if array.ndim == 2 else array for name, array in arrays.items()}
    written(path, header, worse)
    found = ufm.Solution.load(path)
    assert found.lower_bound <= solution.upper_bound
    assert found.upper_bound >= solution.lower_bound
    assert found.value == found.lower_bound
    assert found.status == ("certified" if found.relative_gap <= found.tolerance else "bounded")


def test_points_of_another_problem_prove_what_they_prove(tmp_path):
    path = tmp_path / "s.npz"
    solution = solved("class")
    solution.save(path)
    header, arrays = header_of(path)
    other = ufm.Problem([9, 8, 7, 6, 5, 4], 5e-3, 1e-2)
    written(path, {**header, "problem": other.to_toml()}, arrays)
    found, truth = ufm.Solution.load(path), ufm.theory.optimum(other).value
    assert found.problem == other
    assert found.lower_bound <= truth * (1 + 1e-14)  # of the closed form's rounding
    assert found.upper_bound >= truth * (1 - 1e-14)


def changed(**fields):
    return lambda header, arrays: ({**header, **fields}, arrays)


def run_changed(**fields):
    return lambda header, arrays: ({**header, "run": {**header["run"], **fields}}, arrays)


DAMAGE = {
    "another format": changed(format="other"),
    "another version": changed(version=2),
    "an unknown field": changed(extra=1),
    "no field": lambda header, arrays: ({k: v for k, v in header.items() if k != "run"}, arrays),
    "no object": lambda header, arrays: ([1], arrays),
    "a value that is none": changed(value=None),
    "a value that is text": changed(value="0.5"),
    "a value that is no number": changed(value=float("nan")),
    "a route that is none": changed(route="all"),
    "a run without a point": lambda h, a: ({**h, "run": {k: v for k, v in h["run"].items() if k != "point"}}, a),
    "an unknown claim": run_changed(claim="proved"),
    "a number for a word": run_changed(message=5),
    "a word for a number": run_changed(seconds="5"),
    "an unknown class": run_changed(point={"class": "Path", "parts": {}}),
    "a part that is text": run_changed(point="os.system"),
    "a missing array": lambda header, arrays: (header, {k: v for k, v in arrays.items() if k != "a0"}),
    "an array of other shape": lambda header, arrays: (header, {**arrays, "a0": np.ones((2, 3))}),
    "an array of NaN": lambda header, arrays: (header, {**arrays, "a0": np.full((6, 6), np.nan)}),
    "an array of words": lambda header, arrays: (header, {**arrays, "a0": np.array([["a"]])}),
    "a point that is a dual": lambda h, a: ({**h, "run": {**h["run"], "point": h["run"]["dual"]}}, a),
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "s.npz"
    solved("class").save(path)
    return path


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(name, kept, tmp_path):
    written(tmp_path / "s.npz", *DAMAGE[name](*header_of(kept)))
    with pytest.raises(FileFormatError):
        ufm.Solution.load(tmp_path / "s.npz")


def test_a_problem_that_is_none_is_refused(kept, tmp_path):
    written(tmp_path / "s.npz", *changed(problem="class_counts = [1]")(*header_of(kept)))
    with pytest.raises(ufm.UFMError):
        ufm.Solution.load(tmp_path / "s.npz")
    written(tmp_path / "s.npz", *changed(tolerance=2.0)(*header_of(kept)))
    with pytest.raises(ProblemError, match="tolerance"):
        ufm.Solution.load(tmp_path / "s.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_archive_is_refused(content, kept, tmp_path):
    path = tmp_path / "s.npz"
    path.write_bytes(kept.read_bytes()[:500] if content is None else content)
    with pytest.raises(FileFormatError, match="cannot be read"):
        ufm.Solution.load(path)
    with pytest.raises(FileFormatError, match="cannot be read"):
        ufm.Solution.load(tmp_path / "none.npz")


def test_pickled_arrays_are_not_unpickled(kept, tmp_path):
    header, arrays = header_of(kept)
    written(tmp_path / "s.npz", header, {**arrays, "a0": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(FileFormatError):
        ufm.Solution.load(tmp_path / "s.npz")


def test_other_suffixes_and_norm_bounds_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"\.npz"):
        solved("class").save(tmp_path / "s.json")
    ball = ufm.solve(ufm.Problem([4, 4], constraint=ufm.LayerPeeled(1, 5)), tolerance=1e-3)
    with pytest.raises(ProblemError, match="norm bounds"):
        ball.save(tmp_path / "s.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_another_package_stays_bounded_when_it_is_read(tmp_path, monkeypatch):
    """The file cannot say it: the class that is found by the loss's name does."""
    solution = solved("class")
    solution.save(tmp_path / "s.npz")
    monkeypatch.setattr("ufm_convex.losses.traits.foreign", lambda loss: True)
    found = ufm.Solution.load(tmp_path / "s.npz")
    assert found.status == "bounded"
    assert found.relative_gap <= found.tolerance


def test_every_field_of_a_run_is_kept():
    run = solved("class").run
    tree, arrays = evidence.kept.pack(run)
    assert set(tree) == {one.name for one in dataclasses.fields(run)}
    back = evidence.kept.unpack(json.loads(json.dumps(tree)), arrays)
    plain = [one.name for one in dataclasses.fields(run) if one.name not in ("point", "dual", "factors")]
    assert [getattr(back, name) for name in plain] == [getattr(run, name) for name in plain]


# -- contrastive problems ---------------------------------------------------------------------------------------------

CONTRASTIVE = {
    "theory": ({"lambda_h": 0.5}, "theory", "auto"),
    "group": ({"bound": 1.0, "temperature": 0.5}, "clarabel", "group"),
    "class": ({"lambda_h": 0.3}, "clarabel", "class"),
    "sample": ({"bound": 1.0}, "clarabel", "sample"),
}


def contrastive(name):
    options, solver, level = CONTRASTIVE[name]
    problem = ufm.ContrastiveProblem([4, 2, 2, 1], **options)
    return ufm.solve(problem, solver=solver, level=level, tolerance=1e-5)


@pytest.mark.parametrize("name", CONTRASTIVE)
def test_a_contrastive_solution_comes_back_with_its_bounds(name, tmp_path):
    solution = contrastive(name)
    solution.save(tmp_path / "s.npz")
    found = type(solution).load(tmp_path / "s.npz")
    plain = ("problem", "value", "status", "lower_bound", "upper_bound", *solution.words(), "solver", "level")
    assert [getattr(found, one) for one in plain] == [getattr(solution, one) for one in plain]
    assert (found.factors() == solution.factors()).all()
    assert found.kkt().residuals == solution.kkt().residuals
    assert found.solver_kkt().residuals == solution.solver_kkt().residuals
    assert (found.run.claim, found.run.message) == (solution.run.claim, solution.run.message)
    assert ufm.certify(found.problem, solution=found).verdict == "optimal"


def altered(part, change):
    """Change one array of the point, by its name in the tree."""

    def damage(header, arrays):
        node = header["run"]["point"]["parts"]
        for key in part[:-1]:
            node = node[key]["parts"]
        name = node[part[-1]]["array"]
        return header, {**arrays, name: change(arrays[name])}

    return damage


OF_THE_POINT = {
    "counts of other classes": altered(["groups", "counts"], lambda n: n + 1),
    "classes in other groups": altered(["groups", "orbits", "order"], lambda order: order[::-1].copy()),
    "a length too few": altered(["squares"], lambda squares: squares[:-1]),
    "lengths of another shape": altered(["within"], lambda within: within[:, None]),
    "no groups": lambda h, a: ({**h, "run": {**h["run"], "point": {"class": "ContrastivePoint", "parts": {}}}}, a),
    "a dual point": lambda h, a: ({**h, "run": {**h["run"], "dual": None}}, a),
    "a frame of another problem": lambda h, a: ({**h, "run": {**h["run"], "point": {"class": "GramPoint"}}}, a),
}


@pytest.mark.parametrize("name", OF_THE_POINT)
def test_a_damaged_file_of_a_contrastive_solution_is_refused(name, tmp_path):
    solution = contrastive("group")
    solution.save(tmp_path / "s.npz")
    written(tmp_path / "s.npz", *OF_THE_POINT[name](*header_of(tmp_path / "s.npz")))
    with pytest.raises(FileFormatError, match=r"ContrastiveSolution\.save"):
        type(solution).load(tmp_path / "s.npz")


def test_a_contrastive_file_that_says_more_than_its_point_proves_is_not_believed(tmp_path):
    """Half of every length: the bounds part, and hold; the value is moved between them."""
    solution, path = contrastive("class"), tmp_path / "s.npz"
    solution.save(path)
    header, arrays = altered(["squares"], lambda squares: 0.5 * squares)(*header_of(path))
    header, arrays = altered(["within"], lambda within: 0.5 * within)(header, arrays)
    written(path, {**header, "value": 0.5 * solution.value}, arrays)
    found = type(solution).load(path)
    assert found.lower_bound <= solution.upper_bound
    assert found.upper_bound > solution.upper_bound
    assert found.value == found.lower_bound
    assert found.status == "bounded"


def test_files_of_the_two_kinds_are_not_taken_for_each_other(kept, tmp_path):
    solution = contrastive("theory")
    solution.save(tmp_path / "s.npz")
    with pytest.raises(FileFormatError, match="another kind of problem"):
        ufm.Solution.load(tmp_path / "s.npz")
    with pytest.raises(FileFormatError):
        type(solution).load(kept)
    with pytest.raises(FileFormatError, match=r"\.npz"):
        solution.save(tmp_path / "s.json")
