"""The atlas has every theorem, its verdicts follow from the numbers beside them, and a wrong value is refuted."""

import importlib
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from pages import ROOT

import ufm_convex as ufm

sys.path.insert(0, str(ROOT))  # scripts are run from the root
atlas = importlib.import_module("tests.benchmarks.make_atlas")
rows, theorems, claims, facts, limits, two_groups = (
    importlib.import_module(f"tests.benchmarks.atlas.{name}")
    for name in ("rows", "theorems", "claims", "facts", "limits", "two_groups")
)
PAGE = (ROOT / "docs" / "atlas.md").read_text(encoding="utf-8")
ALL = {title: list(table()) for title, table in atlas.TABLES.items()}


def tables():
    """Title → the cells of its rows, as the page has them."""
    found = {}
    for part in PAGE.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ")][1:]
        found[title] = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return found


def test_every_theorem_and_every_step_of_a_proof_has_a_row():
    kinds = theorems.written_down()
    assert {type(theorem) for theorem in theorems.known()} <= kinds
    assert len(kinds) > 25
    assert theorems.without_a_row(kinds, statements()) == []
    for theorem in theorems.known():
        problems = [theorems.INSTANCES[theorem.name], *theorems.MORE.get(theorem.name, {}).values()]
        assert not any(theorem.failed(problem) for problem in problems), theorem.name


def statements():
    return [row.statement for table in ALL.values() for row in table]


def test_no_file_has_a_theorem_that_is_not_found():
    """Read as text: what the walk over modules misses would have no row, and nobody would know."""
    written = r"class ([A-Z]\w+)\((?:Theorem|ProofStep|_Peeled)\)"
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "ufm_convex").rglob("*.py")]
    named = {name for text in texts for name in re.findall(written, text)}
    assert named == {kind.__name__ for kind in theorems.written_down()}


class Root:
    """In the place of ``Theorem``, whose subclasses last as long as the process."""


def test_a_theorem_without_a_row_is_found():
    """A file that is added, and a row that is taken away."""
    added = type("Added", (Root,), {"name": "of a new file", "__module__": "ufm_convex.theory.added"})
    abstract = type("Abstract", (Root,), {"__module__": added.__module__})
    abstract.__abstractmethods__ = frozenset({"evaluate"})
    elsewhere = type("Elsewhere", (Root,), {"name": "of another package"})
    found = theorems.below(Root)
    assert found == {added}
    assert elsewhere in Root.__subclasses__()
    assert theorems.without_a_row(found, statements()) == ["Added"]
    less = [one for one in statements() if not one.startswith(("hinge frame", "(43)"))]
    assert theorems.without_a_row(theorems.written_down(), less) == ["HingeFrame", "Overlap"]


def test_the_page_has_exactly_these_rows():
    """What is said and of what; the figures are those of the day on which it was made."""
    assert PAGE.startswith(atlas.HEAD)
    shown = tables()
    assert list(shown) == list(ALL)
    for title, table in ALL.items():
        expected = [(*row.said, row.source) for row in table]
        assert [(*cells[:3], cells[-1]) for cells in shown[title]] == expected, title
        width = len(f"statement | {table[0].columns} | source".split("|"))
        assert all(len(cells) == width for cells in shown[title]), title


def test_no_cell_would_end_early():
    for table in ALL.values():
        assert not any("|" in cell for row in table for cell in (*row.said, row.source))
        assert all(row.source and row.statement for row in table)


def test_the_verdicts_of_the_page_follow_from_its_numbers():
    """Digits are left out on the page: a relation is judged where they decide it."""
    for title, table in ALL.items():
        for row, cells in zip(table, tables()[title], strict=True):
            said = cells[-2].strip("*")
            if isinstance(row, rows.Entry):
                low, high = map(float, cells[4].split(" to "))
                assert rows.verdict(row.relation, float(cells[3]), low, high) == said, row.statement
            elif isinstance(row, rows.Threshold):
                assert said == ("tight" if cells[4] == cells[5] else "refuted")
            elif isinstance(row, rows.Limit):
                values = [float(value) for value in cells[3].split(", ")]
                assert rows.approach(values, float(cells[4]), row.within * (1 + 1e-5)) == said, row.statement
            else:
                assert rows.compared(row.relation, float(cells[3]), float(cells[5])) == said, row.statement


REFUTED = (
    "strong logit adjustment", "multiplicative", "sigmoids, K = 5", "smoothed targets", "two resemble a third",
    "optimal: a free bias", "beyond four", "two sizes of classes: logits", "changes nothing", "simplex, with classes",
    "columns with equal", "circle of 5", "circle of 7", "circle of 8", "table of five", "all sets of three",
    "larger class", "one scalar", "doubly non-negative", "focal", "decoupled", "excess without", "of one branch",
    "running statistics",
)  # fmt: skip


def test_what_is_refuted_is_what_was_known_to_be_wrong():
    """By hand, from the theory: a verdict that changes is a fault of the library, or news."""
    found = [cells[0] for table in tables().values() for cells in table if cells[-2] == "**refuted**"]
    first = sorted({next((words for words in REFUTED if words in one), one) for one in found})
    assert first == sorted(REFUTED)
    assert "not seen" not in PAGE


# -- verdicts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relation", "value", "found"),
    [
        ("tight", 1.0, "tight"),
        ("tight", 1.0 + 2e-8, "refuted"),
        ("tight", 1.0 - 2e-8, "refuted"),
        ("tight", 1.0 + 0.9e-8, "tight"),
        ("lower", 0.5, "lower"),
        ("lower", 1.0 + 2e-8, "refuted"),
        ("upper", 1.5, "upper"),
        ("upper", 1.0 - 2e-8, "refuted"),
    ],
)
def test_a_verdict_is_what_the_interval_makes_of_a_value(relation, value, found):
    assert rows.verdict(relation, value, 1.0, 1.0) == found


@pytest.mark.parametrize(
    ("relation", "left", "right", "found"),
    [
        ("equal", 1.0, 1.0 + 0.9e-9, "tight"),
        ("equal", 1.0, 1.0 + 2e-9, "refuted"),
        ("at most", 1.0, 2.0, "upper"),
        ("at most", 1.0, 1.0, "tight"),
        ("at most", 1.0 + 2e-9, 1.0, "refuted"),
        ("equal", 0.0, 0.0, "tight"),
        ("equal", float("nan"), 1.0, "refuted"),
        ("at most", float("nan"), 1.0, "refuted"),
    ],
)
def test_a_fact_is_what_its_two_sides_make_of_it(relation, left, right, found):
    assert rows.compared(relation, left, right) == found


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([3.0, 2.0, 1.1], "approached"),
        ([3.0, 2.0, 1.3], "not seen"),  # not near enough
        ([3.0, 3.0, 1.1], "not seen"),  # no step towards it
        ([0.5, 1.1, 1.2], "not seen"),  # away from it
        ([3.0, 2.0, float("nan")], "not seen"),
    ],
)
def test_a_limit_is_approached_step_by_step(values, found):
    assert rows.approach(values, 1.0, 0.2) == found


# -- planted faults ----------------------------------------------------------------------------------------------------


def row_of(words):
    return next(row for table in ALL.values() for row in table if words in row.statement)


def test_a_theorem_with_a_wrong_value_would_be_refuted():
    entry = row_of("orthogonal frame")
    assert "| tight |" in entry.line()
    wrong = replace(entry, value=lambda problem: 1.0001 * entry.value(problem))
    assert "**refuted**" in wrong.line()


def test_a_wrong_threshold_would_be_refuted():
    row = row_of("a class collapses iff n ≤ n_c")
    assert row.found()[-1] == "tight"
    assert replace(row, size=lambda problem: 2 * row.size(problem)).found()[-1] == "**refuted**"


def test_a_wrong_limit_is_not_seen():
    row = row_of("cosine of two classifiers, minority")
    assert row.found()[-1] == "approached"
    assert replace(row, limit=lambda: 2 * row.limit()).found()[-1] == "**not seen**"


@pytest.mark.parametrize("words", ["strong logit", "multiplicative", "two sizes of classes: logits"])
def test_claims_are_refuted_where_the_page_says_so(words):
    assert row_of(words).found()[-1] == "**refuted**"


def test_facts_are_what_they_are_today():
    assert [(row.statement, row.found()[-1]) for row in ALL["Identities, inequalities and counterexamples"]] == [
        (cells[0], cells[-2]) for cells in tables()["Identities, inequalities and counterexamples"]
    ]


# -- two sizes of classes ----------------------------------------------------------------------------------------------


def test_four_numbers_are_the_optimum_at_random_sizes_ratios_and_decays():
    """Beside both proved bounds; default_rng(5), twelve instances, of which some merge."""
    generator = np.random.default_rng(5)
    merged = 0
    for _ in range(12):
        sizes = generator.integers([1, 2], 6)
        small = int(generator.integers(1, 30))
        counts = np.repeat([small * int(generator.integers(2, 60)), small], sizes)
        decay = float(10 ** generator.uniform(-0.5, 1.2)) / counts.sum()
        problem = ufm.Problem(counts, decay, decay, features="free")
        low, high = rows.conic(problem)
        assert rows.verdict("tight", claims.four(problem), low, high) == "tight", (sizes, counts, decay)
        merged += small <= (counts.sum() * decay) ** 2
    assert 2 < merged < 10


def test_a_wrong_programme_of_four_numbers_is_refuted(monkeypatch):
    entry = row_of("two sizes of classes: least of four numbers")
    norm = two_groups.TwoGroups.norm
    monkeypatch.setattr(two_groups.TwoGroups, "norm", lambda self, x, nu: 1.001 * norm(self, x, nu))
    assert entry.found()[-1] == "**refuted**"


def test_the_closed_form_of_the_limit_is_the_square_root_of_its_matrix():
    P = np.eye(limits.COUNTS.size) - 1.0 / limits.COUNTS.size
    root = limits.closed_gram()
    # entries up to 10, sums of six terms
    assert np.abs(root @ root - P @ np.diag(limits.COUNTS / limits.COUNTS[-1]) @ P).max() < 1e-13


def test_merging_ratios_are_those_of_the_thresholds():
    thresholds = importlib.import_module("tests.benchmarks.atlas.thresholds")
    for (size, radii), ratio in thresholds.RATIOS.items():
        budget = (size + 3) * math.sqrt(radii[0] * radii[1])
        # four digits are written down
        assert two_groups.merging_ratio((size, 3), budget) == pytest.approx(ratio, rel=5e-4)


def test_instances_say_what_makes_them_other_instances():
    """Two rows of one statement and one problem in words would be one row twice."""
    for title, table in ALL.items():
        said = [row.said for row in table]
        assert len(set(said)) == len(said), title
    for row in ALL["Claims that the library can test"]:
        assert re.match(r"n = [\d, ]+; lambda_w", row.said[2])
