"""Small networks on scikit-learn's digits: the gap of the last layer, and the proved bound of the whole objective.

    python -m tests.benchmarks.train_digits
    python -m tests.benchmarks.train_digits --figures .       # also writes gap.svg and norms.svg

An MLP and a CNN, with the classes in steps and exponentially imbalanced, are trained in three ways: with penalties on W
and H, with batch norm and ordinary weight decay, and with AdamW without batch norm. Seed 0, binary32, batches of 128;
the learning rate falls to zero along a cosine. Then what ``GapMetric`` costs an epoch, and a dead class revived.
Needs the extra ``examples``: scikit-learn, PyTorch, Matplotlib. docs/networks.md tells the same as a tutorial.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ufm_convex as ufm
from tests.scripts import parsed, small
from ufm_convex.networks import GapMetric, judge, revive, training_bound

K, BATCH = 10, 128
PROFILES = {  # name: the profile; digits has 174 samples or more of each class
    "step": "step:classes=10,max={most},ratio=10",
    "exponential": "exponential:classes=10,max={most},ratio=10",
}


# -- what is trained ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Objective:
    """How a network is trained.

    Attributes:
        norm: Whether batch norm stands before each ReLU.
        bias: Whether the head has a bias.
        weight_decay: Of W where the features have a penalty, else of every parameter.
        feature_decay: λ_H, of a penalty λ_H/2 Σ ‖h_i‖² beside the mean loss of all samples; None without.
        optimizer: Of the parameters.
    """

    norm: bool
    bias: bool
    weight_decay: float
    feature_decay: float | None
    optimizer: Callable[[Any], torch.optim.Optimizer]


OBJECTIVES = {
    "penalties": Objective(False, False, 5e-3, 1e-4, lambda parameters: torch.optim.Adam(parameters, lr=1e-2)),
    "batch norm": Objective(
        True, True, 2e-3, None, lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=2e-3)
    ),
    "AdamW": Objective(
        False, True, 1e-2, None, lambda parameters: torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-2)
    ),
}


def mlp(norm: bool, bias: bool, width: int = 64) -> nn.Sequential:
    """Two hidden layers of ReLU units, the second of which are the features."""

    def hidden(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, outputs), *([nn.BatchNorm1d(outputs)] if norm else []), nn.ReLU()]

    return nn.Sequential(nn.Flatten(), *hidden(64, 128), *hidden(128, width), nn.Linear(width, K, bias=bias))


def cnn(norm: bool, bias: bool, width: int = 64) -> nn.Sequential:
    """Three convolutions; the features are averages over the positions that are left."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        return [convolution, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU()]

    blocks = [*block(1, 16), nn.MaxPool2d(2), *block(16, 32), nn.MaxPool2d(2), *block(32, width)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, K, bias=bias))


NETWORKS = {"MLP": mlp, "CNN": cnn}


def digits(profile: str, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first n_k images of each class, (N, 1, 8, 8), entries 0 to 1, and their classes."""
    counts = ufm.counts_from_profile(PROFILES[profile].format(most=most))
    x, y = load_digits(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(y == k)[:n] for k, n in enumerate(counts)])
    return torch.tensor(x[rows] / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8), torch.tensor(y[rows])


# -- training -----------------------------------------------------------------------------------------------------


@dataclass
class History:
    """What is watched while a network trains: the numbers of ``GapMetric``, and ‖h̄_k‖ / ‖h_k*‖, by epoch."""

    counts: np.ndarray
    epochs: list[int] = field(default_factory=list)
    numbers: list[dict[str, float]] = field(default_factory=list)
    norms: list[np.ndarray] = field(default_factory=list)


@dataclass
class Training:
    """A network, its samples and its objective."""

    objective: Objective
    model: nn.Sequential
    data: TensorDataset

    @classmethod
    def of(cls, network: str, objective: Objective, profile: str, most: int) -> Training:
        torch.manual_seed(0)
        return cls(objective, NETWORKS[network](objective.norm, objective.bias), TensorDataset(*digits(profile, most)))

    @property
    def counts(self) -> np.ndarray:
        return ufm.class_counts_from_labels(self.data.tensors[1].numpy(), num_classes=K)

    def batches(self, shuffle: bool = False) -> DataLoader:
        """The samples in batches; in an order of their own where batch norm should see all classes."""
        return DataLoader(self.data, BATCH, shuffle=shuffle, generator=torch.Generator().manual_seed(0))

    def shuffled(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """One partition into batches of mixed classes, the same at every pass."""
        return list(self.batches(shuffle=True))

    def known_problem(self) -> ufm.Problem | None:
        """The problem that the objective makes the last layer, known before training; None for AdamW."""
        one = self.objective
        if one.feature_decay is not None:
            return ufm.Problem(self.counts, one.weight_decay, one.feature_decay)
        if not one.norm:
            return None
        x = self.data.tensors[0][:BATCH]
        return training_bound(self.model, x, class_counts=self.counts, weight_decay=one.weight_decay).problem

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The mean loss of a batch, with its penalties; those of the optimiser are its own."""
        features, one = self.model[:-1](x), self.objective
        loss = nn.functional.cross_entropy(self.model[-1](features), y)
        if one.feature_decay is None:
            return loss
        squares = features.square().sum() * (len(self.data) / len(y))  # estimates Σ over all samples
        return loss + 0.5 * (one.weight_decay * self.model[-1].weight.square().sum() + one.feature_decay * squares)

    def epochs(self, number: int, slower: float = 1.0) -> Iterator[int]:
        """Train, one epoch at a time, with learning rates that many times smaller."""
        optimizer = self.objective.optimizer(self.model.parameters())
        for group in optimizer.param_groups:
            group["lr"] /= slower
        loader = self.batches(shuffle=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, number * len(loader))
        for epoch in range(1, number + 1):
            self.model.train()
            for x, y in loader:
                optimizer.zero_grad()
                self.loss(x, y).backward()
                optimizer.step()
                schedule.step()
            yield epoch

    def train(self, number: int, slower: float = 1.0) -> None:
        """Train, unwatched."""
        for _ in self.epochs(number, slower):
            pass

    def watched(self, number: int) -> History:
        """Train, with the gap at some twenty epochs, ever less often."""
        history, problem = History(self.counts), self.known_problem()
        best = None if problem is None else ufm.solve(problem).feature_norms
        metric = None if problem is None else GapMetric(self.model[-1], problem)
        wanted = set(np.unique(np.geomspace(1, number, 24).astype(int)).tolist())
        for epoch in self.epochs(number):
            if metric is not None and epoch in wanted:
                self.measure(metric)
                history.epochs.append(epoch)
                history.numbers.append(metric.compute())
                means = metric.candidate().features
                history.norms.append(np.linalg.norm(means, axis=1) / np.where(best > 0.0, best, np.nan))
        return history

    def measure(self, metric: GapMetric) -> None:
        """Show the metric all samples."""
        metric.reset()
        for features, y in self.seen():
            metric.update(features, y)

    def seen(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Features and classes of all samples, in evaluation mode."""
        self.model.eval()
        with torch.no_grad():
            for x, y in self.batches():
                yield self.model[:-1](x), y

    def judged(self) -> Any:
        """The report of the network as it is."""
        one = self.objective
        decay = one.weight_decay if one.feature_decay is not None else one.optimizer(self.model.parameters())
        return judge(self.model, self.shuffled(), weight_decay=decay, feature_decay=one.feature_decay)


# -- the tables ---------------------------------------------------------------------------------------------------


COLUMNS = ("network", "imbalance", "trained with", "objective", "proved bound", "gap", "of its objective", "spread")
COLUMNS += ("applies", "largest parts", "training (s)", "verdict (s)")


def train_all(options: argparse.Namespace) -> dict[tuple[str, str, str], History]:
    """A row for each network; what was watched of those whose problem is known."""
    print(
        "| network | imbalance | trained with | objective | proved bound | gap | of objective | spread | applies |",
        end="",
    )
    print(" largest parts | training (s) | verdict (s) |\n|" + "---|" * 12)
    histories = {}
    for network, profile, name in product(NETWORKS, PROFILES, OBJECTIVES):
        training = Training.of(network, OBJECTIVES[name], profile, options.most)
        begun = time.perf_counter()
        history = training.watched(options.epochs)
        trained = time.perf_counter()
        report = training.judged()
        seconds = trained - begun, time.perf_counter() - trained
        print(row([network, profile, name], report, seconds), flush=True)
        if history.epochs:
            histories[network, profile, name] = history
    return histories


def row(names: list[str], report: Any, seconds: tuple[float, float]) -> str:
    """A row of the table."""
    bound, parts = report.training_bound, report.attribution
    largest = [] if parts is None else sorted(parts.shares.items(), key=lambda pair: -pair[1])[:2]
    cells = [
        *names,
        "none" if report.training_objective is None else f"{report.training_objective:.5f}",
        "none" if bound is None else f"{bound:.5f}",
        "none" if report.gap is None else f"{report.gap[1]:.2e}",
        f"{100 * report.relative_gap:.2g} %",
        f"{report.decays.spread:.3g}".replace("inf", "∞"),
        "yes" if report.applies else "no",
        ", ".join(f"{part.replace('_', ' ')} {100 * share:.0f} %" for part, share in largest) or "none",
        *(f"{one:.1f}" for one in seconds),
    ]
    return f"| {' | '.join(cells)} |"


def overhead(options: argparse.Namespace) -> None:
    """What the metric costs an epoch of the CNN: its updates, its result, and the pass that shows it the samples."""
    training = Training.of("CNN", OBJECTIVES["batch norm"], "step", options.most)
    metric = GapMetric(training.model[-1], training.known_problem())
    times: dict[str, list[float]] = {"epoch": [], "update": [], "compute": [], "pass": []}
    steps = training.epochs(options.repeats)
    for _ in range(options.repeats):
        times["epoch"].append(clock(lambda: next(steps)))
        shown: list[tuple[torch.Tensor, torch.Tensor]] = []
        times["pass"].append(clock(lambda shown=shown: shown.extend(training.seen())))
        metric.reset()
        times["update"].append(clock(lambda shown=shown: [metric.update(features, y) for features, y in shown]))
        times["compute"].append(clock(metric.compute))
    best = {name: 1e3 * min(found) for name, found in times.items()}
    print(f"\none epoch of the CNN {best['epoch']:.1f} ms, best of {options.repeats}; beside it GapMetric")
    for name in ("update", "compute"):
        print(f"  {name} {best[name]:.1f} ms, {100 * best[name] / best['epoch']:.1f} %")
    print(f"  and the pass that shows it the samples {best['pass']:.1f} ms, {100 * best['pass'] / best['epoch']:.1f} %")


def clock(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def revival(options: argparse.Namespace) -> None:
    """Switch off what a trained MLP has of its smallest classes, train on, revive, and train on again."""
    training = Training.of("MLP", OBJECTIVES["penalties"], "exponential", options.most)
    training.train(options.epochs)
    print(f"\ntrained MLP, penalties, exponential: gap {training.judged().gap[1]:.6f}")
    silence(training, classes=(8, 9))
    training.train(options.epochs)
    dead = training.judged()
    names = dead.named(dead.dead_classes) or "none"
    print(f"units of classes 8 and 9 off, {options.epochs} epochs on: gap {dead.gap[1]:.6f}, dead classes {names}")
    if not dead.dead_classes:
        return
    found = revive(training.model, dead)
    training.train(options.epochs, slower=10.0)  # the steps of a fresh Adam would throw the new units out again
    after = training.judged()
    drop = dead.certificate.candidate_objective[1] - after.certificate.candidate_objective[1]
    print(f"revived {after.named(found.classes)}: predicted drop {found.predicted_drop:.6f}, seen at once", end=" ")
    print(f"{found.seen_drop:.6f}, {options.epochs} epochs on {drop:.6f}, gap {after.gap[1]:.6f}", end=", ")
    print(f"dead classes {after.named(after.dead_classes) or 'none'}")


def silence(training: Training, classes: tuple[int, ...]) -> None:
    """Switch off every unit that one of these classes uses more than a hundredth of its largest; they stay so."""
    model, (x, y) = training.model, training.data.tensors
    with torch.no_grad():
        h = model[:-1](x)
        means = torch.stack([h[y == k].mean(0) for k in classes])
        units = (means > 0.01 * means.amax(1, keepdim=True)).any(0)
        model[-3].weight[units] = 0.0
        model[-3].bias[units] = -1.0


# -- figures ------------------------------------------------------------------------------------------------------


def draw(histories: dict[tuple[str, str, str], History], folder: Path) -> None:
    """The gap by part, and lengths beside those of the optimum, over epochs."""
    from ufm_convex.plots.style import styled

    with styled():
        for name, panel in (("gap", _gap_panel), ("norms", _norm_panel)):
            path = folder / f"{name}.svg"
            ufm.plots.save(_grid(histories, panel), path)
            print(f"wrote {path}")


def _grid(histories: dict[tuple[str, str, str], History], panel: Callable[[Any, History], Any]) -> Any:
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    from ufm_convex.plots.style import new_figure

    figure = new_figure(ufm.plots.width_in_inches("page"), 4.4)
    rows, columns = len(NETWORKS), math.ceil(len(histories) / len(NETWORKS))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (names, history) in zip(axes.flat, histories.items(), strict=False):
        handles = panel(ax, history)
        ax.set_title(f"{names[0]}, {names[1]},\n{names[2]}")
        ax.set_xscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_locator(NullLocator())
        if panel is _norm_panel:
            ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    for ax in axes[-1]:
        ax.set_xlabel("epoch")
    for ax in axes[:, 0]:
        ax.set_ylabel(LABELS[panel])
    if isinstance(handles, list):
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    else:
        counts = np.unique(next(iter(histories.values())).counts[[0, -1]]).tolist()
        bar = figure.colorbar(handles, ax=axes, label="samples of the class", fraction=0.03)
        bar.set_ticks(counts, labels=[str(count) for count in counts])
        bar.ax.yaxis.set_minor_locator(NullLocator())
    return figure


def _gap_panel(ax: Any, history: History) -> list[Any]:
    """The gap, and those of its parts that are not zero all the time."""
    from ufm_convex.plots.style import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW

    looks = {
        "calibration": (BLUE, "-"),
        "logit_spread": (SKY, "--"),
        "variability": (GREEN, "-."),
        "non_orthogonality": (VERMILLION, "-"),
        "collapsed": (YELLOW, "-"),
        "self_duality": (ORANGE, "--"),
        "classifier_mean": (PURPLE, ":"),
        "bias": (PURPLE, "-."),
    }
    lines = ax.plot(history.epochs, [one["ufm/gap"] for one in history.numbers], color=BLACK, lw=1.6, label="gap")
    for name, (colour, dashes) in looks.items():
        values = [one.get(f"ufm/part/{name}", 0.0) for one in history.numbers]
        if any(values):
            lines += ax.plot(history.epochs, values, color=colour, ls=dashes, label=name.replace("_", " "))
    ax.set_yscale("log")
    ax.set_ylim(1e-7, 10.0)
    return lines


def _norm_panel(ax: Any, history: History) -> Any:
    """A line for each class, as dark as its samples are few."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    scale = ScalarMappable(LogNorm(history.counts.min(), history.counts.max()), colormaps["cividis"])
    for k, count in enumerate(history.counts):
        ax.plot(history.epochs, [one[k] for one in history.norms], color=scale.to_rgba(count))
    ax.axhline(1.0, color="#000000", lw=0.6, ls=":")
    ax.set_yscale("log")
    return scale


LABELS = {_gap_panel: "gap and its parts (nats)", _norm_panel: r"$\|\bar h_k\| \,/\, \|h_k^*\|$"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--most", type=int, default=150, help="samples of the largest class, at most 174")
    parser.add_argument("--repeats", type=int, default=10, help="epochs that the overhead is the best of")
    parser.add_argument("--figures", type=Path, help="the folder that gap.svg and norms.svg go to")
    small(parser, epochs=60, most=40, repeats=2)
    options = parsed(parser)
    histories = train_all(options)
    overhead(options)
    revival(options)
    if options.figures is not None:
        draw(histories, options.figures)


if __name__ == "__main__":
    main()
