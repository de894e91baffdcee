"""What ``GapMetric`` costs beside a training epoch of a residual network; run by hand, needs PyTorch.

    python -m tests.benchmarks.bench_gap_metric

The network is ResNet-18 as it is trained on images of 32 × 32 (He, Zhang, Ren, Sun, CVPR 2016: four stages of two basic
blocks, 64 to 512 channels), on random images and the processor. Seconds are processor time, least of the repeats: a
step (forward, backward, SGD) on a batch, and ``update`` of the metric with the same batch. ``compute`` is once an epoch
of ``--samples`` images; the first of a problem, which solves it and proves the bound, stands by itself.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import nn

import ufm_convex as ufm
from tests.scripts import parsed, small
from ufm_convex.networks import GapMetric


class Block(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        shortcut = [nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)]
        self.shortcut = nn.Sequential(*shortcut) if (before, stride) != (after, 1) else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def backbone(width: int) -> nn.Sequential:
    """Everything before the head: images (B, 3, 32, 32) to features (B, 8 · width)."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    before = width
    for stage in range(4):
        for stride in (1 if stage == 0 else 2, 1):
            layers.append(Block(before, width << stage, stride))
            before = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Least processor time."""
    least = math.inf
    for _ in range(repeats):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
    return least


def row(options: argparse.Namespace, num_classes: int) -> str:
    """One number of classes."""
    torch.manual_seed(0)
    body, batch = backbone(options.width), options.batch
    head = nn.Linear(8 * options.width, num_classes)
    optimizer = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1, momentum=0.9, weight_decay=5e-4)
    x, y = torch.randn(batch, 3, 32, 32), torch.arange(batch) % num_classes

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(body(x)), y).backward()
        optimizer.step()

    stepping = seconds(step, options.repeats)
    with torch.no_grad():
        features = body(x)
    counts = [options.samples // num_classes + k % 5 for k in range(num_classes)]
    problem = ufm.Problem(counts, lambda_w=5e-4, lambda_h=5e-4 / sum(counts), bias="free")
    metric = GapMetric(head, problem)
    updating = seconds(lambda: metric.update(features, y), max(options.repeats, 5))
    metric.reset()
    labels = torch.repeat_interleave(torch.arange(num_classes), torch.tensor(counts))
    for some in labels.split(4096):
        metric.update(features[some % batch], some)
    first = seconds(metric.compute, 1)
    computing, steps = seconds(metric.compute, options.repeats), sum(counts) / batch
    epoch = steps * stepping
    return (
        f"| {num_classes} | {stepping:.3f} | {updating:.5f} | {updating / stepping:.2%} | {computing:.3f} "
        f"| {computing / epoch:.2%} | {first:.2f} | {first / epoch:.2%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    small(parser, classes=[3, 5], width=2, batch=6, samples=40, repeats=1)
    options = parsed(parser)
    torch.set_num_threads(1)
    print("| K | a step | update | of a step | compute | of an epoch | the first | of an epoch |")
    print("|---|---|---|---|---|---|---|---|")
    for num_classes in options.classes:
        print(row(options, num_classes), flush=True)


if __name__ == "__main__":
    main()
