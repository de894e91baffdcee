"""A network's last layer on one page: what applies, what is proved, which classes are dead or share coordinates."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import plots
from ufm_convex.cli import application
from ufm_convex.errors import HypothesisError, LabelsError, SizeError
from ufm_convex.networks.directions import shared_directions
from ufm_convex.networks.page import html
from ufm_convex.networks.report import report_on

COUNTS = np.array([500, 100, 60, 30])
PROBLEM = ufm.Problem(COUNTS, 2e-3, 5e-3)
W, H = ufm.solve(PROBLEM).factors()


def layer(change=lambda W, H: None):
    V, F = W.copy(), H.copy()
    change(V, F)
    return ufm.Candidate(weights=V, features=F, class_counts=COUNTS)


def kill(V, F):
    V[:, 2] = F[2] = 0.0


def share(V, F):
    """Classes 2 and 3 on one unit, as descent leaves them."""
    F[3, 2], F[3, 3], V[:, 3] = F[2, 2], 0.0, 0.0


def test_the_optimum_is_optimal_and_nothing_is_to_be_done():
    found = report_on(layer(), PROBLEM)
    assert found.applies
    assert found.certificate.verdict is ufm.Judgement.OPTIMAL
    assert (found.dead_classes, found.shared_coordinates) == ((), ())
    assert found.advice() == ["nothing: it is optimal within the tolerance."]


def test_without_a_problem_it_is_judged_by_its_own_decays():
    found = report_on(layer())
    assert found.problem.lambda_w == pytest.approx(2e-3)
    assert found.problem.lambda_h == pytest.approx(5e-3)
    assert found.gap[1] < 1e-6


def test_dead_classes_are_named_with_what_they_cost():
    found = report_on(layer(kill), PROBLEM, class_names=["cat", "dog", "eel", "fox"])
    assert found.dead_classes == (2,)
    assert [one.index for one in found.attribution.dead_classes] == [2]
    assert "eel" in str(found)
    assert "revive" in str(found)
    assert found.gap[0] == pytest.approx(found.attribution.gap, rel=1e-6)


def test_classes_on_one_unit_share_coordinates_and_are_not_dead():
    found = report_on(layer(share), PROBLEM)
    assert found.shared_coordinates == ((2, 3),)
    assert found.dead_classes == ()
    assert "2, 3" in dict(found.lines())["share coordinates"]


def test_classes_that_collapse_rightly_are_neither():
    problem = ufm.Problem([5000, 4000, 2], 2e-3, 5e-3)
    V, F = ufm.solve(problem).factors()
    found = report_on(ufm.Candidate(weights=V, features=F, class_counts=problem.class_counts), problem)
    assert found.collapsed_classes == (2,)
    assert (found.dead_classes, found.shared_coordinates) == ((), ())


@pytest.mark.parametrize("features", ["nonnegative", "free"])
def test_a_network_that_no_decay_explains_is_said_not_to_fit(features):
    rng = np.random.default_rng(5)
    labels = np.repeat(range(4), [50, 20, 10, 5])
    F = np.abs(rng.normal(size=(85, 6))) + 4 * np.eye(6)[labels]
    problem = ufm.Problem([50, 20, 10, 5], 1e-3, 1e-3, features=features)
    found = report_on(ufm.Candidate(weights=np.eye(4, 6), features=F, labels=labels), problem)
    assert not found.applies
    assert re.search("spread|misfit", found.why)
    assert "does not describe" in str(found)


def test_where_no_decay_fits_only_a_problem_can_judge():
    backwards = ufm.Candidate(weights=-W, features=H, class_counts=COUNTS)
    with pytest.raises(HypothesisError, match="no decay"):
        report_on(backwards)
    found = report_on(backwards, PROBLEM)
    assert found.decays is None
    assert not found.applies
    assert "no decay" in found.why


def test_a_negative_feature_is_infeasible_and_the_page_says_so():
    def sink(V, F):
        F[0, 1] = -0.5

    found = report_on(layer(sink), PROBLEM)
    assert found.gap is None
    assert "negative" in str(found)
    assert "free features" in found.advice()[0]


@pytest.mark.parametrize("K", [2, 7, 300])
def test_shared_directions_are_the_components_of_large_cosines(K, monkeypatch):
    """Against networks of all pairs, whatever the size of a block."""
    import scipy.sparse.csgraph

    rng = np.random.default_rng(K)
    means = np.abs(rng.normal(size=(K, 40))) ** 4  # long-tailed: some cosines above a half, most below
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    labels = scipy.sparse.csgraph.connected_components(unit @ unit.T > 0.5)[1]
    expected = sorted(tuple(np.flatnonzero(labels == one).tolist()) for one in set(labels) if (labels == one).sum() > 1)
    assert shared_directions(means) == expected
    monkeypatch.setattr("ufm_convex.networks.directions._BLOCK", 3 * K)
    assert shared_directions(means) == expected
    assert shared_directions(1e-200 * means) == expected


def test_a_cosine_of_a_half_is_the_threshold():
    angle = np.arccos(0.5)
    for shift, together in ((1e-9, []), (-1e-9, [(0, 1)])):
        means = np.array([[1.0, 0.0], [np.cos(angle + shift), np.sin(angle + shift)]])
        assert shared_directions(means) == together


def test_names_are_one_a_class():
    for wrong in (["a", "b"], "abcd", [1, 2, 3, 4]):
        with pytest.raises(LabelsError, match="class_names"):
            report_on(layer(), PROBLEM, class_names=wrong)


# -- the page -----------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Open elements, ids, and addresses that a browser would load."""

    def __init__(self):
        super().__init__()
        self.ids, self.loads, self.figures, self.text = [], [], 0, []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.figures += tag == "svg"
        address = found.get("src") or (found.get("href") if tag in ("link", "image") else None)
        self.loads += [address] if address else []

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_one_file_with_its_figures_inside():
    page = Page()
    page.feed(html(report_on(layer(kill), PROBLEM, class_names=["cat", "dog", "<eel>", "fox"]), title="a < b"))
    assert page.loads == []
    assert page.figures == 3
    assert len(page.ids) == len(set(page.ids))
    said = " ".join(page.text)
    assert "<eel>" in said
    assert "a < b" in said
    assert "NC1" in said
    assert "@import" not in said


def test_a_figure_that_is_not_drawn_says_why(monkeypatch):
    drawn = plots.draw

    def draw(name, problem, **subject):
        if name == "gram":
            raise SizeError("5,000 classes are too many to see.", expected="fewer", fix="take fewer.")
        return drawn(name, problem, **subject)

    monkeypatch.setattr(plots, "draw", draw)
    page = html(report_on(layer(), PROBLEM))
    assert page.count("<figure>") == 2
    assert "not drawn, 5,000 classes are too many to see." in page


# -- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path):
    candidate = layer(kill)
    np.savez(tmp_path / "trained.npz", **candidate.arrays())
    return tmp_path / "trained.npz"


def run(*arguments):
    return CliRunner().invoke(application(), ["report", *map(str, arguments)])


def test_the_command_prints_a_page_and_writes_one(trained, tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\neel\nfox\n")
    done = run(trained, "--html", tmp_path / "page.html", "--class-names", tmp_path / "names.txt")
    assert done.exit_code == 1, done.output
    assert "eel" in done.stdout
    assert "eel" in (tmp_path / "page.html").read_text()
    assert len(done.stdout.splitlines()) <= 24  # a screen


def test_json_is_that_of_certify_and_more(trained):
    decays = ("--lambda-w", "2e-3", "--lambda-h", "5e-3")
    found = json.loads(run(trained, *decays, "--json").stdout)
    certified = json.loads(CliRunner().invoke(application(), ["certify", str(trained), *decays, "--json"]).stdout)
    assert set(certified) <= set(found)
    assert {name: found[name] for name in ("candidate", "verdict", "attribution")} == {
        name: certified[name] for name in ("candidate", "verdict", "attribution")
    }
    assert set(found["decays"]) == {"lambda_w", "lambda_h", "lambda_b", "misfit_w", "misfit_h", "spread", "excess"}
    assert found["dead_classes"] == [2]
    assert found["shared_coordinates"] == []
    assert isinstance(found["applies"], bool)


def test_the_exit_code_is_that_of_certify(tmp_path):
    np.savez(tmp_path / "best.npz", **layer().arrays())
    assert run(tmp_path / "best.npz", "--lambda-w", "2e-3", "--lambda-h", "5e-3").exit_code == 0
    assert run(tmp_path / "best.npz", "--lambda-w", "4e-3", "--lambda-h", "5e-3").exit_code == 1


def test_what_is_stated_goes_before_what_the_candidate_says(tmp_path):
    """At the optimum of a problem its decays are that problem's; any of its options may be stated, and then counts."""
    b = np.array([0.4, 0.1, -0.2, -0.3])
    np.savez(tmp_path / "best.npz", **layer().arrays())
    np.savez(tmp_path / "biased.npz", **layer().arrays(), bias=b)
    own = {"lambda_w": 2e-3, "lambda_h": 5e-3}

    def judged_by(*options, name="best.npz"):
        (line,) = [one for one in run(tmp_path / name, *options).stdout.splitlines() if one.startswith("judged by")]
        return {key: float(value) for key, value in re.findall(r"(λ_[WHb]) = ([0-9.e-]+)", line)}, line

    for option, key, other in (("--lambda-w", "λ_W", "λ_H"), ("--lambda-h", "λ_H", "λ_W")):
        found, _ = judged_by(option, "3e-3")
        assert found[key] == 3e-3
        assert found[other] == pytest.approx(own["lambda_h" if other == "λ_H" else "lambda_w"], rel=1e-3)
    assert "free" in run(tmp_path / "best.npz", "--features", "free").stdout.splitlines()[0]
    assert judged_by("--bias", "0.25", name="biased.npz")[0]["λ_b"] == 0.25
    assert "free bias" in judged_by("--bias", "free")[1]
    assert "binary-cross-entropy" in judged_by("--loss", "binary-cross-entropy")[1]


def test_a_negative_feature_makes_them_free_unless_the_sign_is_stated(tmp_path):
    def lower(V, F):
        F[0, 1] = -0.1

    np.savez(tmp_path / "n.npz", **layer(lower).arrays())
    assert "free features" in run(tmp_path / "n.npz").stdout
    stated = run(tmp_path / "n.npz", "--features", "nonnegative")
    assert stated.exit_code == 1
    assert "none: a feature is negative" in stated.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no candidate is given"),
        (("trained", "--features", "half"), "features is 'half'"),
        (("trained", "--lambda-w", "0"), "lambda_w is 0.0"),
        (("trained", "--bias", "0"), "bias is 0.0"),
        (("trained", "--class-counts", "5,3"), "other class counts"),
        (("trained", "--constraint", "hard-margin"), "lambda_w is None"),
        (("trained", "--html", "no/such/folder/page.html"), "folder"),
        (("trained", "--tolerance", "2"), "tolerance"),
        (("trained", "--loss", "hingo"), "hingo"),
    ],
)
def test_bad_input(trained, arguments, words):
    done = run(*(trained if one == "trained" else one for one in arguments))
    assert done.exit_code == 2, done.output
    assert words in done.stderr
