"""Small networks whose whole objective is driven to its bottom: a free table, a normalisation, what follows it, a head.

Everything before the normalisation is a table with a row a sample, which pays nothing: the network of the theorem with
the most freedom. Seeds are stated where networks are made.
"""

from __future__ import annotations

import torch
from torch import nn

COUNTS = [9, 6, 4, 3]
LABELS = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
DECAY = 0.02
EPS = 1e-8
"""Of normalisations, as small as double precision is comfortable with: the bound is sharp as it goes to 0."""


class Small(nn.Module):
    """A table, a body and a head in double precision; ``shape`` are the positions before the normalisation."""

    def __init__(self, body, shape=(), d=6, bias=False, labels=LABELS):
        super().__init__()
        self.table = nn.Parameter(torch.randn(len(labels), d, *shape, dtype=torch.float64))
        self.body = body(d).double()
        with torch.no_grad():
            width = self.body(self.table).shape[1]
        self.fc = nn.Linear(width, int(labels.max()) + 1, bias=bias).double()

    def forward(self, rows):
        return self.fc(self.body(self.table[rows]))


class Sum(nn.Module):
    """ReLU(v_1 + ReLU(v_2 + …)) of m normalised branches, the last dimension of the input."""

    def __init__(self, d, m):
        super().__init__()
        self.branches = nn.ModuleList([norm(d) for _ in range(m)])

    def forward(self, x):
        out = 0.0
        for k, branch in enumerate(self.branches):
            v = branch(x[..., k])
            out = torch.relu(v + out if k else v)
        return out


class Then(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def norm(d, positions=False, **options):
    kind = nn.BatchNorm2d if positions else nn.BatchNorm1d
    return kind(d, eps=EPS, **options)


def after(*modules, positions=False, **options):
    """A body: batch norm, then the modules."""
    return lambda d: nn.Sequential(norm(d, positions, **options), *modules)


def decays_of(network, without=(), decay=DECAY):
    """The decay of every parameter but the table's, none for names that end as said."""
    return {
        name: 0.0 if name == "table" or name.endswith(tuple(without)) else decay
        for name, _ in network.named_parameters()
    }


def objective(network, decays, batches=None, labels=LABELS, criterion=nn.functional.cross_entropy, shares=None):
    """Σ_b share_b mean_b loss + Σ wd/2 θ², as a tensor; shares are B_b/N where nothing else is said."""
    batches = [torch.arange(len(labels))] if batches is None else batches
    shares = [len(rows) / len(labels) for rows in batches] if shares is None else shares
    loss = sum(share * criterion(network(rows), labels[rows]) for share, rows in zip(shares, batches, strict=True))
    squares = dict(network.named_parameters())
    return loss + sum(0.5 * decay * squares[name].square().sum() for name, decay in decays.items() if decay)


def lowest(make, seeds, without=(), steps=400, decay=DECAY, **settings):
    """The network with the lowest objective of some seeds, after L-BFGS, with its decays and that objective."""
    best = None
    for seed in seeds:
        torch.manual_seed(seed)
        network = make()
        decays = decays_of(network, without, decay)
        descend(network, lambda network=network, decays=decays: objective(network, decays, **settings), steps)
        value = float(objective(network, decays, **settings).detach())
        if best is None or value < best[2]:
            best = network, decays, value
    return best


def descend(network, value, steps):
    """L-BFGS with a strong Wolfe search."""
    optimizer = torch.optim.LBFGS(
        network.parameters(), max_iter=steps, history_size=50, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        found = value()
        found.backward()
        return found

    optimizer.step(closure)
