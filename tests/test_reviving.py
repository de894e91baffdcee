"""Dead classes revived by a dead unit: the drop that is seen is the one that was predicted."""

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.errors import HypothesisError, NetworkError

torch = pytest.importorskip("torch", reason="pip install torch")
from torch import nn  # noqa: E402

from ufm_convex.networks import judge, report_on, revive  # noqa: E402

COUNTS = [40, 20, 12, 8]
PROBLEM = ufm.Problem(COUNTS, 5e-3, 1e-3)
Y = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))


def network(dead, norm=False, width=6):
    """Linear → (batch norm) → ReLU → head at the optimum, but for the dead classes; inputs are near e_y (seed 0)."""
    torch.manual_seed(0)
    x = torch.eye(4, dtype=torch.float64)[Y] + 1e-4 * torch.randn(len(Y), 4, dtype=torch.float64)
    W, H = ufm.solve(PROBLEM).factors(width)
    lengths, order = np.linalg.norm(H, axis=1), H.argmax(axis=1)
    layers = [
        nn.Linear(4, width),
        *([nn.BatchNorm1d(width)] if norm else []),
        nn.ReLU(),
        nn.Linear(width, 4, bias=False),
    ]
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.fill_(-1.0)
        model[-1].weight.copy_(torch.tensor(W))
        for k in range(4):
            if k in dead:
                model[-1].weight[:, order[k]] = 0.0
                continue
            model[0].weight[order[k], k] = 2 * lengths[k]
            model[0].bias[order[k]] = -lengths[k]
        if norm:
            out = model[0](x)
            mean, variance = out.mean(0), out.var(0, unbiased=False)
            model[1].running_mean.copy_(mean)
            model[1].running_var.copy_(variance)
            model[1].weight.copy_((variance + model[1].eps).sqrt())
            model[1].bias.copy_(mean)
    return model.eval(), [(x[rows], Y[rows]) for rows in torch.arange(len(Y)).split(32)]


def judged(model, loader):
    return judge(model, loader, weight_decay=5e-3, feature_decay=1e-3, head=model[-1])


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("dead", [[3], [2, 3]])
def test_the_drop_is_the_one_that_was_predicted(dead, norm):
    """Inputs that a linear map tells apart: all of it is seen at once, and nothing is left of the gap."""
    model, loader = network(dead, norm)
    report = judged(model, loader)
    assert sorted(report.dead_classes) == dead
    found = revive(model, report)
    assert found.model is model
    assert sorted(found.classes) == dead
    assert found.predicted_drop == pytest.approx(report.gap[1], rel=1e-3)
    assert found.seen_drop == pytest.approx(found.predicted_drop, rel=1e-3)
    after = judged(model, loader)
    assert after.dead_classes == ()
    assert after.gap[1] <= 1e-3 * report.gap[1]


def test_training_on_does_not_revive_what_reviving_does():
    """300 steps from the dead network leave the class dead: its unit has no gradient."""
    model, loader = network([3])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = (torch.cat(part) for part in zip(*loader, strict=True))

    def objective():
        h = model[:2](x)
        penalties = 2.5e-3 * model[-1].weight.square().sum() + 5e-4 * h.square().sum()
        return nn.functional.cross_entropy(model(x), y) + penalties

    for _ in range(300):
        optimizer.zero_grad()
        objective().backward()
        optimizer.step()
    report = judged(model, loader)
    assert report.dead_classes == (3,)
    assert revive(model, report).seen_drop > 0.9 * report.attribution.dead_classes[0].cost


def test_the_costliest_class_comes_first_where_units_are_few():
    model, loader = network([2, 3], width=6)
    with torch.no_grad():  # of three dead units one is left
        spare = [unit for unit in range(6) if not model[0].weight[unit].any()]
        for unit in spare[1:]:  # class 0 takes the others
            model[0].weight[unit, 0] = 1.0
            model[0].bias[unit] = -0.5
    report = judged(model, loader)
    found = revive(model, report)
    assert found.classes == (report.dead_classes[0],)
    assert found.units == (spare[0],)


def test_what_cannot_be_revived_is_refused():
    model, loader = network([])
    report = judged(model, loader)
    with pytest.raises(NetworkError, match="no class is dead"):
        revive(model, report)
    model, loader = network([3], width=4)
    report = judged(model, loader)
    other, _ = network([3])
    with pytest.raises(NetworkError, match="not one that judge made of this network"):
        revive(other, report)
    with pytest.raises(NetworkError, match="judge made"):
        revive(model, report_on(report.candidate, report.problem))
    once = judge(model, iter(loader), 5e-3, feature_decay=1e-3, head=model[-1])
    with pytest.raises(NetworkError, match="no batch"):
        revive(model, once)
    with torch.no_grad():
        unit = next(unit for unit in range(4) if not model[0].weight[unit].any())
        model[0].weight[unit, 0] = 1.0  # class 0 takes it
        model[0].bias[unit] = -0.5
    with pytest.raises(HypothesisError, match="no unit is dead"):
        revive(model, judged(model, loader))


def test_features_that_are_no_relu_units_are_refused():
    model, loader = network([3])
    deep = nn.Sequential(model[0], nn.ReLU(), nn.Hardtanh(0, 100), nn.Identity(), model[-1])
    assert revive(deep, judged(deep, loader)).seen_drop > 0  # the same function
    model, loader = network([3])
    clipped = nn.Sequential(model[0], nn.ReLU(), nn.Hardtanh(0, 0.05), model[-1])
    with pytest.raises(HypothesisError, match="not ReLU units"):
        revive(clipped, judged(clipped, loader))
