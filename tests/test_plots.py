"""Figures: the numbers drawn are those of the solution and of theory, the files are what their suffixes say."""

import math
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from typer.testing import CliRunner

import ufm_convex as ufm
from ufm_convex import plots
from ufm_convex.attribution import PARTS, attribute_gap
from ufm_convex.cli import application
from ufm_convex.errors import (
    CountsError,
    FileFormatError,
    HypothesisError,
    MissingExtraError,
    ProblemError,
    SizeError,
    UnknownNameError,
)
from ufm_convex.plots.phase import phases

PROBLEM = ufm.Problem([40, 20, 20, 8, 2], 0.02, 0.01)
N_C = 90**2 * 0.02 * 0.01 * 5 / 4  # n_c = N² λ_W λ_H K/(K−1) = 2.025
Y = np.repeat(np.arange(5), PROBLEM.class_counts)
MAGIC = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.fixture(scope="module")
def solution():
    return ufm.solve(PROBLEM)


@pytest.fixture(scope="module")
def candidate():
    """Away from the optimum in every part, by fixed noise."""
    rng = np.random.default_rng(3)
    W, H = ufm.theory.optimum(PROBLEM).factors()
    features = np.abs(H[Y] + 0.1 * rng.standard_normal((Y.size, 5)))
    return ufm.Candidate(weights=W + 0.1 * rng.standard_normal(W.shape), features=features, labels=Y)


def line(ax, label):
    found = [drawn for drawn in ax.lines if drawn.get_label().startswith(label)]
    assert len(found) == 1, [drawn.get_label() for drawn in ax.lines]
    return np.asarray(found[0].get_xdata(), dtype=float), np.asarray(found[0].get_ydata(), dtype=float)


def heat_maps(figure):
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]


# -- what is drawn ------------------------------------------------------------------------------------------------


def test_norms_are_the_solutions_at_each_distinct_count(solution):
    axes = plots.draw("norms", PROBLEM, solution=solution).axes
    for ax, values in zip(axes, (solution.feature_norms, solution.weight_norms, solution.margins), strict=True):
        x, y = line(ax, "solution")
        np.testing.assert_array_equal(x, [2, 8, 20, 40])
        # classes 1 and 2 are one marker; a mean of two equal numbers rounds at most once
        np.testing.assert_allclose(y, values[[4, 3, 1, 0]], rtol=1e-15)


def test_the_threshold_stands_at_n_c_and_theory_bends_there(solution):
    for ax in plots.draw("norms", PROBLEM, solution=solution).axes:
        x, _ = line(ax, "$n_c$")
        np.testing.assert_allclose(x, N_C, rtol=1e-14)  # a few roundings of the product above
        size, values = line(ax, "theory")
        place = int(np.argmin(abs(size - N_C)))
        assert values[place] == values[0]  # up to n_c all classes are alike
        assert values[place + 1] > values[place]
        low, high = ax.get_xlim()
        assert low < min(2, N_C) < 40 < high


def test_a_threshold_far_away_is_named_in_the_title():
    problem = ufm.Problem([5, 4, 3], 1.0, 1.0)  # n_c = 144 · 3/2 = 216
    figure = plots.draw("norms", problem, solution=ufm.solve(problem))
    assert "$n_c$ = 216, off the axis" in figure.get_suptitle()
    assert figure.axes[0].get_xlim()[1] < 10.0


def test_with_class_weights_the_abscissa_is_what_collapse_depends_on():
    problem = ufm.Problem([40, 20, 8], 0.02, 0.01, loss=ufm.CrossEntropy(class_weights=(1.0, 0.5, 4.0)))
    solved = ufm.solve(problem)
    axes = plots.draw("norms", problem, solution=solved).axes
    x, y = line(axes[0], "solution")
    np.testing.assert_allclose(x, [5.0, 40.0, 128.0], rtol=0)  # ω² n, all exact in binary64
    np.testing.assert_allclose(y, solved.feature_norms[[1, 0, 2]], rtol=1e-15)
    assert "omega" in axes[-1].get_xlabel()


def test_a_candidates_norms_are_those_of_its_class_means(candidate):
    axes = plots.draw("norms", PROBLEM, candidate=candidate).axes
    means = np.array([candidate.features[k == Y].mean(axis=0) for k in range(5)])
    logits = means @ candidate.weights.T
    margins = [logits[k, k] - max(np.delete(logits[k], k)) for k in range(5)]
    norms = np.sqrt((means**2).sum(axis=1))
    for ax, values in ((axes[0], norms), (axes[2], np.array(margins))):
        _, y = line(ax, "candidate")
        expected = [values[4], values[3], (values[1] + values[2]) / 2, values[0]]
        np.testing.assert_allclose(y, expected, rtol=1e-12)  # sums over 40 samples in another order


def test_heat_maps_are_the_solutions_and_theorys_matrices(solution):
    figure = plots.draw("gram", PROBLEM, solution=solution)
    optimum = ufm.theory.optimum(PROBLEM)
    drawn = heat_maps(figure)
    pairs = zip(drawn[0::2], drawn[1::2], ("weight_gram", "logits", "feature_gram"), strict=True)
    for left, right, name in pairs:
        np.testing.assert_array_equal(left, getattr(solution, name))
        np.testing.assert_array_equal(right, getattr(optimum, name)())
    scales = [ax.images[0].get_clim() for ax in figure.axes if ax.images]
    assert scales[0::2] == scales[1::2]  # both panels of a row share one scale
    assert scales[0][0] == -scales[0][1]
    assert scales[4][0] == 0.0


def naive_blocks(matrix, starts):
    """Means over pairs of different classes, and over classes with themselves, pair by pair."""
    B, K = len(starts) - 1, len(matrix)
    block = np.repeat(np.arange(B), np.diff(starts))
    between = np.full((B, B), np.nan)
    for g in range(B):
        for h in range(B):
            entries = [matrix[k, j] for k in range(K) for j in range(K) if k != j and block[k] == g and block[j] == h]
            between[g, h] = np.mean(entries) if entries else np.nan
    return between, [np.mean([matrix[k, k] for k in range(K) if block[k] == g]) for g in range(B)]


@pytest.mark.parametrize(
    ("counts", "starts"),
    [
        (np.repeat([9, 5, 2], [30, 1, 40]), [0, 30, 31, 71]),  # a run of one class, too
        (np.arange(80, 0, -1), [0, *range(5, 80, 5), 80]),
    ],
)
def test_many_classes_are_blocks_of_the_mean_entries(counts, starts):
    problem, rng = ufm.Problem(counts, 1e-3, 1e-3, features="free"), np.random.default_rng(1)
    W, H = rng.standard_normal((2, counts.size, 6))
    candidate = ufm.Candidate(weights=W, features=H, class_counts=counts)
    figure = plots.draw("gram", problem, candidate=candidate)
    panels = [
        ax for ax in figure.axes if ax.collections and ax.get_ylabel() in ("", "classes") and len(ax.collections) == 2
    ]
    assert len(panels) == 3
    for ax, matrix in zip(panels, (W @ W.T, W @ H.T, H @ H.T), strict=True):
        between, own = naive_blocks(matrix, starts)
        cells, squares = (np.ma.filled(drawn.get_array(), np.nan) for drawn in ax.collections)
        # means of at most 1600 entries in another order
        np.testing.assert_allclose(cells.reshape(between.shape), between, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(squares, own, rtol=1e-10, atol=1e-12)
        assert ax.collections[0].get_clim() == ax.collections[1].get_clim()
    assert [text.get_text() for text in panels[-1].get_xticklabels()] == ["0", str(counts.size - 1)]


@pytest.mark.parametrize(("num_classes", "blocks"), [(63, False), (64, True)])
def test_blocks_begin_where_a_class_is_less_than_a_point(num_classes, blocks):
    problem = ufm.Problem([3] * num_classes, 0.01, 0.01)
    figure = plots.draw("gram", problem, solution=ufm.solve(problem))
    assert bool(heat_maps(figure)) is not blocks
    assert len(plots.rendered(figure, ".svg")) < 500_000


def test_a_thousand_classes_are_a_small_figure_of_vectors():
    counts = ufm.counts_from_profile("exponential:classes=1000,max=1000,ratio=100")
    problem = ufm.Problem(counts, 2e-5, 2e-5)
    figure = plots.draw("gram", problem, solution=ufm.solve(problem))
    image = plots.rendered(figure, ".pdf")
    assert len(image) < 200_000
    assert len(figure.axes[0].collections[0].get_array().ravel()) == 16 * 16


def test_the_style_is_there_for_figures_of_ones_own():
    import matplotlib as mpl

    before = mpl.rcParams["font.size"]
    with plots.styled():
        assert mpl.rcParams["pdf.fonttype"] == 42
        assert mpl.rcParams["font.size"] >= 7.0
    assert mpl.rcParams["font.size"] == before


def test_the_difference_in_the_title_sees_a_planted_one():
    W, H = ufm.theory.optimum(PROBLEM).factors()
    exact = ufm.Candidate(weights=W, features=H, class_counts=PROBLEM.class_counts)
    wrong = ufm.Candidate(weights=2.0 * W, features=H, class_counts=PROBLEM.class_counts)
    titles = [plots.draw("gram", PROBLEM, candidate=c).get_suptitle() for c in (exact, wrong)]
    assert float(titles[0].split()[-5]) < 1e-14
    assert float(titles[1].split()[-5]) == 3.0  # (2W)(2W)ᵀ − WWᵀ = 3 WWᵀ, to the two digits shown


def test_without_a_theorem_there_is_one_column():
    problem = ufm.Problem([6, 4, 3], 0.02, 0.01, features="free")
    figure = plots.draw("gram", problem, solution=ufm.solve(problem))
    assert len(heat_maps(figure)) == 3
    assert [ax.get_xlabel() for ax in plots.draw("norms", problem, solution=ufm.solve(problem)).axes][-1]


def test_bars_are_the_parts_and_sum_to_the_gap(candidate):
    figure = plots.draw("attribution", PROBLEM, candidate=candidate)
    found = attribute_gap(PROBLEM, candidate)
    bars = [bar.get_width() for bar in figure.axes[0].patches]
    assert bars == [found.totals[name] for name in PARTS]
    values = found.candidate_value - ufm.theory.optimum(PROBLEM).value
    assert math.fsum(bars) == pytest.approx(values, rel=1e-12)
    by_class = [bar.get_width() for bar in figure.axes[1].patches]
    assert by_class == sorted(found.by_class.tolist(), reverse=True)


def test_a_dead_class_is_the_longest_bar():
    W, H = ufm.theory.optimum(PROBLEM).factors()
    H[1], W[:, 1] = 0.0, 0.0
    dead = ufm.Candidate(weights=W, features=H, class_counts=PROBLEM.class_counts)
    figure = plots.draw("attribution", PROBLEM, candidate=dead)
    assert figure.axes[1].get_yticklabels()[0].get_text() == "class 1"
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths.index(max(widths)) == PARTS.index("calibration")


def test_no_gap_is_drawn_too():
    W, H = np.zeros((3, 2)), np.zeros((3, 2))
    problem = ufm.Problem([3, 2, 1], 1.0, 1.0)  # everything collapses, and W = H = 0 is optimal
    nothing = ufm.Candidate(weights=W, features=H, class_counts=problem.class_counts)
    for name in ("attribution", "gram", "norms"):
        assert plots.draw(name, problem, candidate=nothing).axes


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_shares_of_the_phase_diagram_are_theorys(smoothing):
    problem = ufm.Problem([200, 50, 10, 4], 1e-3, 2e-3, loss=ufm.CrossEntropy(smoothing=smoothing))
    found = phases(problem)
    for i, j in [(0, 0), (0, 60), (20, 40), (30, 50), (48, 55), (48, 96)]:
        counts = ufm.counts_from_profile(f"exponential:classes=4,max=200,ratio={float(found.ratios[i])!r}")
        decay = float(found.decays[j])
        like = ufm.Problem(counts, decay, decay, loss=problem.loss)
        assert found.share[i, j] == ufm.theory.optimum(like).collapsed.mean()
    assert (np.diff(found.share, axis=1) >= 0.0).all()
    assert (found.share[:, 0].max(), found.share[:, -1].min()) == (0.0, 1.0)
    # the two lines are the ends of the colours
    assert ((found.share > 0.0) == (found.decays >= found.first[:, None])).all()
    assert ((found.share == 1.0) == (found.decays >= found.last[:, None])).all()


def test_the_boundary_is_the_written_rule():
    found = phases(ufm.Problem([200, 50, 10, 4], 1e-3, 2e-3))
    # ratio 1: four classes of 200, n_c = N² λ² K/(K−1) = 200 at λ² = 200 · 3/4 / 800²
    assert found.first[0] == found.last[0] == math.sqrt(Fraction(150, 640_000))


def test_the_problem_itself_is_marked(solution):
    ax = plots.draw("phase", PROBLEM).axes[0]
    x, y = line(ax, "this problem")
    assert (x[0], y[0]) == (pytest.approx(math.sqrt(2e-4), rel=1e-15), 20.0)


# -- how it looks -------------------------------------------------------------------------------------------------


def texts(figure):
    from matplotlib.text import Text

    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def outside(figure):
    """Panels (with their labels), legends and texts that reach beyond the figure."""
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    boxes = [(artist, artist.get_tightbbox()) for artist in (*figure.axes, *figure.legends, *figure.texts)]
    # half a pixel for the rounding of extents
    low, right, top = -0.5, width + 0.5, height + 0.5
    return [artist for artist, b in boxes if min(b.x0, b.y0) < low or b.x1 > right or b.y1 > top]


@pytest.mark.parametrize("name", sorted(plots.available()))
def test_column_width_seven_points_and_nothing_cut(name, solution, candidate):
    figure = plots.draw(name, PROBLEM, solution=solution, candidate=candidate)
    assert figure.get_size_inches()[0] == 3.3
    assert min(text.get_fontsize() for text in texts(figure)) >= 7.0
    assert outside(figure) == []
    legends = [legend.get_window_extent() for legend in figure.legends]
    title = figure._suptitle
    assert title is None or not any(title.get_window_extent().overlaps(legend) for legend in legends)


def test_the_check_sees_a_cut_label(solution):
    figure = plots.draw("norms", PROBLEM, solution=solution)
    planted = figure.text(0.95, 0.5, "far too long")
    assert outside(figure) == [planted]


def test_the_callers_settings_come_back(solution):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 31.0, "svg.hashsalt": "mine"}):
        plots.draw("norms", PROBLEM, solution=solution)
        assert (mpl.rcParams["font.size"], mpl.rcParams["svg.hashsalt"]) == (31.0, "mine")


def test_drawing_and_writing_need_no_pyplot(tmp_path):
    script = (
        "import sys, ufm_convex as ufm\np = ufm.Problem([5, 4, 3], 0.1, 0.1)\n"
        f"ufm.plots.save(ufm.plots.draw('phase', p), {str(tmp_path / 'a.pdf')!r})\n"
        "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "False"], done.stderr


# -- files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", plots.SUFFIXES)
def test_files_are_what_their_suffix_says(suffix, tmp_path):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix.upper()}"
    for path in (first, second):
        plots.save(plots.draw("phase", PROBLEM), path)
    assert first.read_bytes().startswith(MAGIC[suffix])
    assert first.read_bytes() == second.read_bytes()  # no date, no random name
    assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}


def test_a_png_has_the_width_of_a_column(tmp_path, solution):
    plots.save(plots.draw("norms", PROBLEM, solution=solution), tmp_path / "a.png")
    header = (tmp_path / "a.png").read_bytes()
    assert int.from_bytes(header[16:20], "big") == 990  # 3.3 in at 300 dpi


def complaints(figure):
    """What a journal's preflight stops at: fonts that are no outlines of TrueType, and anything half transparent."""
    pdf, svg = plots.style.rendered(figure, ".pdf"), plots.style.rendered(figure, ".svg")
    shades = set(re.findall(rb"/(?:ca|CA) ([\d.]+)", pdf)) - {b"0", b"1"}
    found = {
        "no embedded font": pdf.count(b"/FontFile2") < pdf.count(b"/Type /FontDescriptor") or b"/FontFile2" not in pdf,
        "Type 3": b"/Type3" in pdf,
        "transparency": bool(shades) or b"/SMask" in pdf or b"opacity: 0." in svg,
        "letters of a font that may be missing": b"<text" in svg,
    }
    return [words for words, yes in found.items() if yes]


@pytest.mark.parametrize("name", sorted(plots.available()))
def test_files_pass_a_preflight(name, solution, candidate):
    assert complaints(plots.draw(name, PROBLEM, solution=solution, candidate=candidate)) == []


def test_the_preflight_sees_what_it_is_for(solution, monkeypatch):
    figure = plots.draw("norms", PROBLEM, solution=solution)
    figure.axes[0].axhline(0.1, alpha=0.5)
    assert complaints(figure) == ["transparency"]
    figure = plots.draw("norms", PROBLEM, solution=solution)
    monkeypatch.setitem(plots.style._STYLE, "pdf.fonttype", 3)
    monkeypatch.setitem(plots.style._STYLE, "svg.fonttype", "none")
    assert complaints(figure) == ["no embedded font", "Type 3", "letters of a font that may be missing"]


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.gz"])
def test_other_suffixes_are_refused(name, tmp_path, solution):
    with pytest.raises(FileFormatError, match=r"\.png"):
        plots.save(plots.draw("norms", PROBLEM, solution=solution), tmp_path / name)
    assert not any(tmp_path.iterdir())


# -- errors -------------------------------------------------------------------------------------------------------


def test_missing_matplotlib_is_named_with_the_remedy(monkeypatch, solution):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install matplotlib"):
        plots.draw("norms", PROBLEM, solution=solution)


@pytest.mark.parametrize(
    ("name", "problem", "error"),
    [
        ("pie", PROBLEM, UnknownNameError),
        ("norms", PROBLEM, ProblemError),
        ("gram", PROBLEM, ProblemError),
        ("attribution", PROBLEM, ProblemError),
        ("phase", ufm.Problem([1, 1], 0.1, 0.1), CountsError),
        ("phase", ufm.Problem([5, 4, 3], 0.1, 0.1, features="free"), HypothesisError),
        ("phase", ufm.Problem([5, 4], 0.1, 0.1, loss=ufm.CrossEntropy(class_weights=(1.0, 2.0))), HypothesisError),
    ],
)
def test_what_cannot_be_drawn_is_refused(name, problem, error):
    with pytest.raises(error, match="Fix:"):
        plots.draw(name, problem)


def test_other_counts_and_widths_and_too_many_classes_are_refused(solution, candidate):
    other = ufm.Problem([40, 20, 20, 8, 3], 0.02, 0.01)
    for given in ({"solution": solution}, {"candidate": candidate}):
        with pytest.raises(CountsError):
            plots.draw("norms", other, **given)
    with pytest.raises(UnknownNameError, match="column"):
        plots.draw("norms", PROBLEM, solution=solution, width="poster")
    with pytest.raises(SizeError, match="norms"):
        plots.plot("gram").check_size(2001)
    plots.plot("gram").check_size(2000)


# -- the command --------------------------------------------------------------------------------------------------

OPTIONS = ["--class-counts", "40,20,20,8,2", "--lambda-w", "0.02", "--lambda-h", "0.01"]


def run(*arguments):
    return CliRunner().invoke(application(), ["plot", *map(str, arguments)])


def test_default_figures(tmp_path, solution, candidate):
    archive, certificate, toml = tmp_path / "c.npz", tmp_path / "c.json", tmp_path / "p.toml"
    np.savez(archive, weights=candidate.weights, features=candidate.features, labels=Y)
    ufm.certify(PROBLEM).save(certificate)
    PROBLEM.save(toml)
    out = tmp_path / "out.png"
    expected = {}
    for name, subject in [("norms", {"solution": solution}), ("attribution", {"candidate": candidate})]:
        plots.save(plots.draw(name, PROBLEM, **subject), tmp_path / f"{name}.png")
        expected[name] = (tmp_path / f"{name}.png").read_bytes()
    for arguments, name in [
        (OPTIONS, "norms"),
        ([toml], "norms"),
        ([certificate], "norms"),
        ([archive, *OPTIONS[2:]], "attribution"),
        ([toml, archive], "attribution"),
    ]:
        result = run(*arguments, "-o", out)
        assert (result.exit_code, result.stdout) == (0, ""), result.stderr
        assert out.read_bytes() == expected[name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*OPTIONS], "no output is given"),
        ([*OPTIONS, "-o", "a.bmp"], ".bmp"),
        ([*OPTIONS, "-o", "nowhere/a.png"], "does not exist"),
        ([*OPTIONS, "-o", "a.png", "--figure", "pie"], "attribution, gram, norms, phase"),
        ([*OPTIONS, "-o", "a.png", "--figure", "attribution"], "CANDIDATE.NPZ"),
        ([*OPTIONS, "-o", "a.png", "--width", "poster"], "poster"),
        (["a.json", "b.toml", "-o", "a.png"], "a problem and a certificate"),
        (["a.npz", "b.npz", "-o", "a.png"], "two candidates"),
        (["a.json", *OPTIONS, "-o", "a.png"], "options that describe a problem"),
        (["a.json", "-o", "a.png"], "cannot be loaded"),
        (["--profile", "balanced:classes=2001,max=5", *OPTIONS[2:], "-o", "a.png", "--figure", "gram"], "2,001"),
    ],
)
def test_bad_input_is_exit_2_and_leaves_no_file(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Fix:" in result.stderr
    assert not any(tmp_path.iterdir())


def test_help_and_an_import_load_no_matplotlib():
    script = (
        "import sys\nfrom ufm_convex.cli import main\nimport ufm_convex.plots\n"
        "try:\n    main(['plot', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'matplotlib' not in sys.modules and 'ufm-convex plot' in sys.argv[1]"
    )
    done = subprocess.run([sys.executable, "-c", script, "ufm-convex plot"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--figure" in done.stdout


# -- curves between the counts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[500, 100, 20], [50, 50], [50, 5], [100] * 10, [400, 100, 50, 20, 10, 5]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_theory_between_counts_solves_the_problem_of_one_class(counts, smoothing):
    """By Theorem 1 a class of n samples minimises pt l(M) + σ √((K−1)/K) M on its own, here by bounded search."""
    from scipy.optimize import minimize_scalar

    problem = ufm.Problem(counts, 5e-3, 5e-3, loss=ufm.CrossEntropy(smoothing=smoothing))
    axes = plots.draw("norms", problem, solution=ufm.solve(problem)).axes
    K, N, c = problem.num_classes, problem.num_samples, math.sqrt(problem.num_classes / (problem.num_classes - 1))
    sizes, margins = line(axes[2], "theory")
    assert (sizes.size > 100, sizes[0] < min(counts), sizes[-1] > max(counts)) == (True, True, True)
    assert sizes[-1] / sizes[0] >= 4.0 * (1 - 1e-12)

    def cost(M, n):
        target = 1 - smoothing + smoothing / K
        loss = math.log1p((K - 1) * math.exp(-M)) + (1 - target) * M  # log-sum-exp less the target's logit
        return n / N * loss + 5e-3 * math.sqrt(n) / c * M

    for place in range(0, sizes.size, 37):
        n = float(sizes[place])
        found = minimize_scalar(cost, bounds=(0.0, 40.0), args=(n,), method="bounded", options={"xatol": 1e-12}).x
        assert margins[place] == pytest.approx(found, abs=1e-6)  # the search sees the root of the rounding of the cost


def test_curves_pass_through_the_closed_form_at_the_counts():
    optimum = ufm.theory.optimum(PROBLEM)
    curve = ufm.theory.frame_curve(PROBLEM, optimum, PROBLEM.class_counts.astype(float))
    for name in ("feature_norms", "weight_norms", "margins"):
        # a few roundings, and next to n_c those of 1 − ρ
        np.testing.assert_allclose(getattr(curve, name), getattr(optimum, name), rtol=1e-12, atol=1e-15)


def test_with_several_weights_the_norms_are_marked_and_the_margin_is_a_curve():
    problem = ufm.Problem([40, 20, 8], 0.02, 0.01, loss=ufm.CrossEntropy(class_weights=(1.0, 0.5, 4.0)))
    axes = plots.draw("norms", problem, solution=ufm.solve(problem)).axes
    assert [line(ax, "theory")[0].size > 100 for ax in axes] == [False, False, True]
    _, y = line(axes[0], "theory")
    np.testing.assert_allclose(y, ufm.theory.optimum(problem).feature_norms[[1, 0, 2]], rtol=1e-15)
    equal = ufm.Problem([40, 20, 8], 0.02, 0.01, loss=ufm.CrossEntropy(class_weights=(2.0, 2.0, 2.0)))
    optimum = ufm.theory.optimum(equal)
    curve = ufm.theory.frame_curve(equal, optimum, 4.0 * equal.class_counts, weight=2.0)
    np.testing.assert_allclose(curve.feature_norms, optimum.feature_norms, rtol=1e-12)
    np.testing.assert_allclose(curve.weight_norms, optimum.weight_norms, rtol=1e-12)


# -- labels ---------------------------------------------------------------------------------------------------------


def overlaps(figure):
    """Pairs of tick labels of one axis that touch."""
    figure.draw_without_rendering()
    found = []
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            labels = [label for label in axis.get_ticklabels(which="both") if label.get_text() and label.get_visible()]
            boxes = [label.get_window_extent() for label in labels]
            found += [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlaps(b)]
    return found


SHAPES = {
    "documented": [500, 100, 20],
    "two": [50, 5],
    "balanced two": [50, 50],
    "balanced three": [7, 7, 7],
    "near": [105, 100, 95],
    "near and large": [100_500, 100_000, 99_000],
    "one and a million": [1_000_000, 1],
    "ten": [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    "balanced ten": [100] * 10,
    "hundred": [int(500 * 100 ** (-k / 99)) for k in range(100)],
    "balanced hundred": [50] * 100,
    "large": [123_456, 98_765],
}


@pytest.mark.parametrize("counts", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("name", ["norms", "phase"])
def test_labels_of_an_axis_do_not_touch(name, counts):
    problem = ufm.Problem(counts, 5e-3, 5e-3)
    width = "page" if len(counts) == 10 else "column"
    figure = plots.draw(name, problem, solution=ufm.solve(problem), width=width)
    assert overlaps(figure) == []
    assert outside(figure) == []
    bottom = figure.axes[2 if name == "norms" else 0].xaxis
    low, high = bottom.get_view_interval()
    assert sum(low <= tick <= high for tick in bottom.get_ticklocs()) >= 2  # a scale has two numbers


def test_the_check_sees_labels_that_touch(solution):
    figure = plots.draw("norms", PROBLEM, solution=solution)
    figure.axes[2].set_xticks([20.0, 21.0, 22.0], ["twenty", "twenty-one", "twenty-two"])
    assert overlaps(figure) != []


def test_cells_are_centred_in_the_logarithm():
    from ufm_convex.plots.style import log_cells

    np.testing.assert_allclose(log_cells(np.array([1.0, 100.0])), [0.1, 10.0, 1000.0], rtol=1e-14)
    (low, high) = log_cells(np.array([3.0]))
    assert low * high == pytest.approx(9.0, rel=1e-14)
