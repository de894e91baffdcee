"""What is read off a graph: no features are longer than it says, whatever operations follow a normalisation."""

import functools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install torch")
from torch import nn  # noqa: E402

from ufm_convex.errors import HypothesisError  # noqa: E402
from ufm_convex.networks import read_structure  # noqa: E402
from ufm_convex.networks.heads import capture  # noqa: E402
from ufm_convex.networks.reach import Gain  # noqa: E402

NORMS = {
    "batch": lambda c: nn.BatchNorm2d(c),
    "batch, no scale": lambda c: nn.BatchNorm2d(c, affine=False),
    "group": lambda c: nn.GroupNorm(2, c),
    "instance": lambda c: nn.InstanceNorm2d(c, affine=True),
    "layer": lambda c: nn.LayerNorm([c, 4, 4]),
    "last": lambda c: nn.LayerNorm(4),
    "last, no shift": lambda c: nn.LayerNorm(4, bias=False),
    "rms": lambda c: nn.RMSNorm(4),
}
STEPS = [
    nn.ReLU(),
    nn.GELU(),
    nn.SELU(),
    nn.LeakyReLU(1.5),
    nn.Hardtanh(-1, 2),
    nn.AvgPool2d(3, 1, 1),
    nn.AvgPool2d(2, 2, 1, count_include_pad=False),
    nn.MaxPool2d(2, 1),
    nn.MaxPool2d(3, 2, 1),
    nn.AdaptiveAvgPool2d((3, 2)),
    nn.AdaptiveMaxPool2d(2),
    "twice",
    "difference",
    "beside",
    "transposed",
    "part",
    "one row",
]


def step(which, x):
    if which == "twice":
        return x + torch.relu(x)
    if which == "difference":
        return x - x.transpose(2, 3) if x.shape[2] == x.shape[3] else x - torch.tanh(x)
    if which == "beside":
        return torch.cat([x, x.mean((2, 3), keepdim=True) + x], 1)
    if which == "transposed":
        return x.permute(0, 1, 3, 2).contiguous()
    if which == "part":
        return x[:, 1:, :, :]
    if which == "one row":
        return x.select(2, 0).unsqueeze(2)
    return which(x) if min(x.shape[2:]) >= 3 or isinstance(which, (nn.ReLU, nn.GELU)) else x


class Chain(nn.Module):
    def __init__(self, norms, steps):
        super().__init__()
        self.norms = nn.ModuleList([NORMS[name](4) for name in norms])
        self.steps = steps
        self.fc = nn.Identity()

    def forward(self, x):
        out = functools.reduce(torch.add, [norm(part) for norm, part in zip(self.norms, x, strict=True)])
        for which in self.steps:
            out = step(which, out)
        return self.fc(out.flatten(1))


def reading(network, x):
    network.fc = nn.Linear(network(x).shape[1], 2).double()
    captured = capture(network, network.fc, x, marked=True)
    names = {id(one): name for name, one in network.named_parameters()}
    return captured.features.detach(), read_structure(captured.features, names, network.fc)


def chained(seed):
    """A chain, its features and what is read off it."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    norms = [str(one) for one in random.choice(list(NORMS), size=random.integers(1, 3))]
    steps = [STEPS[k] for k in random.integers(0, len(STEPS), size=random.integers(0, 6))]
    network = Chain(norms, steps).double()
    for norm in network.norms:
        for one in norm.parameters():
            one.data.copy_(torch.randn_like(one) ** 5)
    x = [torch.randn(6, 4, 4, 4, dtype=torch.float64) ** 7 for _ in norms]
    return network, *reading(network, x)


@pytest.mark.parametrize("seed", range(60))
def test_no_features_are_longer_than_the_structure_says(seed):
    """Chains of up to five operations behind one or two norms; numpy's generator and torch's, by the seed.

    Inputs, scales and shifts have heavy tails, so that single entries take the whole of a norm. The features are
    compared with the bound for the parameters as they are, and with κ (‖γ‖² + ‖β‖²).
    """
    network, features, structure = chained(seed)
    seen, batch = float(features.square().sum()), len(features)
    given = sum(math.sqrt(one.given) for one in structure.normalisations) ** 2
    assert seen <= batch * given * (1 + 1e-9)
    squares = {name: float(one.detach().square().sum()) for name, one in network.named_parameters()}
    total = 0.0
    for one in structure.normalisations:
        paid = sum(squares[name] for name in (one.weight, one.bias) if name) if one.weight else 4.0
        total += math.sqrt(float(one.kappa) * paid)
    assert seen <= batch * total**2 * (1 + 1e-9)
    assert not structure.nonnegative or bool((features >= 0).all())


@pytest.mark.parametrize(
    ("name", "fault"),
    [("plus", lambda one, other: one), ("beside", lambda one, other: one), ("times", lambda one, *squares: one)],
)
def test_the_campaign_finds_a_wrong_rule(name, fault, monkeypatch):
    """A sum or a concatenation that forgets a part, or a map without its norm."""
    monkeypatch.setattr(Gain, name, fault)
    found = 0
    for seed in range(60):
        try:
            test_no_features_are_longer_than_the_structure_says(seed)
        except (HypothesisError, AssertionError):  # of the batch at hand, or of the comparison here
            found += 1
    assert found


class Block(nn.Module):
    """A basic block of a residual network, as torchvision writes it: in place wherever it can be."""

    def __init__(self, before, after):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, padding=1), nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        change = nn.Sequential(nn.Conv2d(before, after, 1), nn.BatchNorm2d(after))
        self.downsample = change if before != after else None

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Residual(nn.Module):
    def __init__(self, pre=False):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.layer = nn.Sequential(Block(4, 8), Block(8, 8))
        self.last = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU()) if pre else nn.Identity()
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(torch.flatten(self.avgpool(self.last(self.layer(self.stem(x)))), 1))


@pytest.mark.parametrize(("pre", "branches"), [(False, 3), (True, 1)])
def test_residual_networks_have_the_branches_of_their_last_stage(pre, branches):
    """Two blocks and a projection, m = 3; pre-activation ends in one normalisation."""
    torch.manual_seed(0)
    network = Residual(pre)
    captured = capture(network, network.fc, torch.randn(5, 2, 6, 6), marked=True)
    names = {id(one): name for name, one in network.named_parameters()}
    structure = read_structure(captured.features, names, network.fc)
    assert sum(one.kappa for one in structure.normalisations) == branches
    assert len(structure.normalisations) == branches
    assert structure.nonnegative
    assert structure.aligned
