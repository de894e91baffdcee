"""``ufm-convex solve`` and ``verify`` with files of the contrastive problem."""

import json
import math

import numpy as np
import pytest
from test_cli import record_of, refused, run

import ufm_convex as ufm

TOML = 'model = "contrastive"\nclass_counts = [50, 10, 2, 1]\nbound = 1.0\ntemperature = 0.5\n'
VALUE = sum(n * math.log(n - 1 + (63 - n) * math.exp(-2.0)) for n in (50, 10, 2))  # docs/contrastive.md, section 4


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "problem.toml"
    path.write_text(TOML)
    return path


def test_the_optimum_as_json(file):
    result = run("solve", file, "--json")
    found = record_of(result)
    assert (result.exit_code, result.stderr) == (0, "")
    assert found["lower_bound"] <= VALUE * (1 + 1e-14)  # VALUE is a rounded number
    assert found["upper_bound"] >= VALUE * (1 - 1e-14)
    assert (found["model"], found["status"], found["collapsed_classes"]) == ("contrastive", "certified", [3])
    assert (found["num_classes"], found["num_samples"], found["theory"]["relation"]) == (4, 63, "tight")
    plain = record_of(
        run("solve", "--profile", "balanced:classes=3,max=5", "--lambda-w", "1", "--lambda-h", "1", "--json")
    )
    other = {
        "merged_groups",
        "multiplier",
        "bias",
        "within_class_variability",
        "gram_positivity",
    }  # of W and of samples, which have none
    assert set(found) == set(plain) - other | {"model"}


def test_the_optimum_as_a_table(file):
    result = run("solve", file)
    assert (result.exit_code, result.stderr) == (0, "")
    outside = {n: (63 - n) * math.exp(-2.0) / (n - 1 + (63 - n) * math.exp(-2.0)) for n in (50, 10, 2)}
    assert [line.split() for line in result.stdout.splitlines()[5:9]] == [
        *(["1", str(n), "1.000000", f"{s:.6f}", "active"] for n, s in outside.items()),
        ["1", "1", "0.000000", "0.000000", "collapsed"],
    ]
    for words in ("4 classes, 63 samples, ‖h‖² ≤ 1, temperature 0.5", "certified", "1: 3", f"{VALUE:.12g} (tight)"):
        assert words in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_of_many_counts_both_ends_are_shown(tmp_path):
    ufm.ContrastiveProblem(np.repeat(np.arange(1, 101), 2), lambda_h=0.5).save(tmp_path / "p.toml")
    result = run("solve", tmp_path / "p.toml")
    rows = [line.split() for line in result.stdout.splitlines()[5:36]]
    assert [row[1] for row in rows] == [*map(str, range(100, 85, -1)), "70", *map(str, range(15, 0, -1))]
    assert "λ_H = 0.5" in result.stdout


def test_a_gap_that_is_not_reached_is_one(file):
    result = run("solve", file, "--solver", "scs", "--tolerance", "1e-15", "--json")
    assert (result.exit_code, record_of(result)["status"]) == (1, "bounded")


def test_the_certificate_is_verified(file, tmp_path):
    target = tmp_path / "c.json"
    assert run("solve", file, "-o", target).exit_code == 0
    result = run("verify", target, "--json")
    assert (result.exit_code, record_of(result)["verdict"]) == (0, "PROVED")
    assert ufm.ContrastiveCertificate.load(target).problem == ufm.ContrastiveProblem.load(file)
    document = json.loads(target.read_text())
    document["problem"]["bound"] = "3p-1"
    target.write_text(json.dumps(document))
    assert run("verify", target).exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TOML + "lambda_h = 1.0\n", "both given"),
        (TOML.replace("bound = 1.0\n", ""), "neither bound nor lambda_h"),
        (TOML.replace("1.0", "nan"), "bound is nan"),
        (TOML.replace("1.0", "true"), "bound is True"),
        (TOML + "lambda_w = 1.0\n", "lambda_w"),
        (TOML.replace("[50, 10, 2, 1]", "[50]"), "class_counts"),
        (TOML.replace("contrastive", "other"), "has the keys"),
        (TOML + "=", "not TOML"),
    ],
)
def test_bad_files_are_refused(file, text, words):
    file.write_text(text)
    assert refused(run("solve", file), words)


def test_options_do_not_override_the_file(file):
    assert refused(run("solve", file, "--lambda-h", "1", "--loss", "multiclass-hinge"), "--lambda-h, --loss is given")


def test_the_optimum_is_certified(file, tmp_path):
    target = tmp_path / "c.json"
    result = run("certify", file, "--json", "-o", target)
    found = record_of(result)
    assert (result.exit_code, result.stderr) == (0, "")
    assert (found["model"], found["verdict"], found["proof"]) == ("contrastive", "optimal", "outside-mass")
    assert found["lower_bound"] <= VALUE * (1 + 1e-14)
    assert found["upper_bound"] >= VALUE * (1 - 1e-14)
    assert (found["candidate"], found["attribution"]) == (None, None)
    assert record_of(run("verify", target, "--problem", file, "--json"))["verdict"] == "PROVED"
    other = tmp_path / "other.toml"
    other.write_text(TOML.replace("0.5", "0.25"))
    assert run("verify", target, "--problem", other).exit_code == 1
    table = run("certify", file)
    assert table.exit_code == 0
    assert "outside mass; certificate" in table.stdout
    assert "slack" not in table.stdout


def test_what_certify_has_no_form_for_is_refused_with_the_reason(file, tmp_path):
    np.savez(tmp_path / "c.npz", features=np.eye(4)[[0, 0, 1, 2, 3]], labels=[0, 0, 1, 2, 3])
    assert refused(run("certify", file, tmp_path / "c.npz"), "no classifier W")
    assert refused(run("certify", file, "--digits", "20"), "digits was asked for")
    assert refused(run("certify", file, "--lambda-h", "1"), "--lambda-h is given with a contrastive problem")


def test_the_limit_is_that_of_any_problem(file):
    result = run("solve", file, "--solver", "scs", "--time-limit", "0.001", "--json")
    assert (result.exit_code, record_of(result)["solve_time_limit"]) == (1, {"seconds": 0.001, "reached": True})


OTHERS = [["crosscheck"], ["export", "-o", "p.cbf"], ["plot", "-o", "p.png"], ["sweep", "-o", "p.csv"]]


@pytest.mark.parametrize("command", OTHERS, ids=lambda one: one[0])
def test_other_commands_refuse_the_file(file, command):
    assert refused(run(command[0], file, *command[1:]), "another kind of problem")


def test_a_sweep_refuses_a_problem_without_decays_and_a_file_that_is_not_there(tmp_path):
    ufm.Problem([3, 2], features="free", constraint=ufm.LayerPeeled(1, 5)).save(tmp_path / "p.toml")
    assert refused(run("sweep", tmp_path / "p.toml", "-o", tmp_path / "t.csv"), "a sweep over decays")
    assert refused(run("sweep", tmp_path / "none.toml", "-o", tmp_path / "t.csv"), "none.toml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.toml"]
