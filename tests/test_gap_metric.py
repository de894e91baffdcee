"""The gap during training: equal to the offline certificate, from K d numbers, and none where the head has changed."""

import importlib
import importlib.util
import pickle
import sys

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.candidate import ClassStatistics
from ufm_convex.errors import (
    CandidateError,
    CountsError,
    HypothesisError,
    LabelsError,
    NetworkError,
    ShapeError,
    SizeError,
)

torch = pytest.importorskip("torch", reason="pip install torch")

BASES = ["plain", "torchmetrics"]
COUNTS = [50, 20, 8]
PROBLEM = ufm.Problem(COUNTS, 5e-3, 5e-3)


@pytest.fixture(params=BASES)
def metric_class(request, monkeypatch):
    """GapMetric with the base that is used without torchmetrics, and its subclass where that is installed."""
    if request.param == "torchmetrics":
        pytest.importorskip("torchmetrics", reason="pip install torchmetrics")
    find = importlib.util.find_spec
    if request.param == "plain":
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *at: None if name == "torchmetrics" else find(name)
        )
    monkeypatch.delitem(sys.modules, "ufm_convex.networks.metric", raising=False)
    module = importlib.import_module("ufm_convex.networks.metric")
    assert [one.__name__ for one in module.GapMetric.__mro__][1] == {"plain": "_States"}.get(request.param, "Metric")
    return module.GapMetric


def samples(seed=0, dtype=torch.float32, d=5, counts=COUNTS):
    """A head and features near a frame, shuffled. Generator: torch, by seed."""
    torch.manual_seed(seed)
    head = torch.nn.Linear(d, len(counts), bias=False).to(dtype)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    features = (torch.rand(len(labels), d) + 3 * torch.eye(len(counts), d)[labels]).to(dtype)
    order = torch.randperm(len(labels))
    return head, features[order], labels[order]


def gathered(metric, features, labels, size=16):
    for rows in torch.arange(len(labels)).split(size):
        metric.update(features[rows], labels[rows])
    return metric


@pytest.mark.parametrize(("kinds", "refused"), [(400, False), (401, True)])
def test_a_problem_that_no_solver_takes_is_refused_before_anything_is_gathered(kinds, refused, metric_class):
    """And one that a solver takes is not solved before it has to be: 400 orbits with a bias take minutes."""
    problem = ufm.Problem(range(1, kinds + 1), 1e-4, 1e-4, bias="free")
    head = torch.nn.Linear(3, kinds)
    if refused:
        with pytest.raises(SizeError, match="at most 400 different classes"):
            metric_class(head, problem)
        with pytest.raises(SizeError, match="at most 400 different classes"):
            importlib.import_module("ufm_convex.networks").GapCallback([], problem)
    else:
        assert "_solution" not in vars(metric_class(head, problem))


LOSSES = {
    "plain": ufm.CrossEntropy(),
    "smoothed": ufm.CrossEntropy(smoothing=0.1),
    "weighted": ufm.CrossEntropy(class_weights=(0.5, 1.0, 2.0), smoothing=0.2),
    "soft": ufm.SoftTargetCrossEntropy([[0.8, 0.1, 0.1], [0.0, 1.0, 0.0], [0.3, 0.2, 0.5]]),
}


@pytest.mark.parametrize("features", ["nonnegative", "free"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_the_gap_is_that_of_the_certificate(metric_class, dtype, loss, features):
    """To 1e-9 relative to the objective, batches in any order and size."""
    head, h, y = samples(dtype=dtype)
    problem = ufm.Problem(COUNTS, 5e-3, 5e-3, loss=LOSSES[loss], features=features)
    found = gathered(metric_class(head, problem), h, y).compute()
    certificate = ufm.certify(problem, ufm.Candidate(weights=head.weight, features=h, labels=y))
    assert found["ufm/gap"] == pytest.approx(
        certificate.candidate_gap[1], abs=1e-9 * certificate.candidate_objective[1]
    )
    assert found["ufm/mixed"] == found["ufm/infeasible"] == 0.0


@pytest.mark.parametrize("bias", ["free", 1e-2])
def test_the_gap_with_a_bias_is_that_of_the_certificate(metric_class, bias):
    _, h, y = samples(dtype=torch.float64)
    head = torch.nn.Linear(5, 3).double()
    problem = ufm.Problem(COUNTS, 5e-3, 5e-3, bias=bias)
    found = gathered(metric_class(head, problem), h, y).compute()
    candidate = ufm.Candidate(weights=head.weight, features=h, labels=y, bias=head.bias)
    certificate = ufm.certify(problem, candidate)
    assert found["ufm/gap"] == pytest.approx(
        certificate.candidate_gap[1], abs=1e-9 * certificate.candidate_objective[1]
    )
    parts = ufm.attribute_gap(problem, candidate).totals
    for name, part in parts.items():
        assert found[f"ufm/part/{name}"] == pytest.approx(part, rel=1e-6, abs=1e-9)


def test_the_parts_are_those_of_the_attribution(metric_class):
    """With class 2 dead: its cost stands under its own number."""
    W, H = ufm.solve(PROBLEM).factors(6)
    W[:, 2], H[2] = 0.0, 0.0
    _, noise, y = samples(d=6)
    head = torch.nn.Linear(6, 3, bias=False).double()
    head.weight.data.copy_(torch.tensor(W))
    h = torch.tensor(H)[y] + 0.01 * noise.double() * (y < 2)[:, None]
    found = gathered(metric_class(head, PROBLEM), h, y).compute()
    parts = ufm.attribute_gap(PROBLEM, ufm.Candidate(weights=head.weight, features=h, labels=y))
    for name, part in parts.totals.items():
        assert found[f"ufm/part/{name}"] == pytest.approx(part, rel=1e-9, abs=1e-12 * parts.candidate_value)
    assert parts.totals["variability"] > 0 < parts.totals["logit_spread"]
    assert [(dead.index, dead.cost) for dead in parts.dead_classes] == [(2, pytest.approx(found["ufm/dead/2"]))]
    assert found["ufm/dead"] == 1.0


@pytest.mark.parametrize("bias", [None, "free"])
def test_the_problem_is_solved_once_however_many_epochs_are_measured(metric_class, bias, monkeypatch):
    module, number = sys.modules[metric_class.__module__], []
    solve = module.solve
    monkeypatch.setattr(module, "solve", lambda problem: number.append(problem) or solve(problem))
    monkeypatch.setattr("ufm_convex.attribution.parts.solve", lambda problem: number.append(problem))
    _, h, y = samples()
    metric = metric_class(torch.nn.Linear(5, 3, bias=bias is not None), ufm.Problem(COUNTS, 5e-3, 5e-3, bias=bias))
    for _ in range(3):
        metric.reset()
        assert gathered(metric, h, y).compute()["ufm/part/calibration"] > 0.0
    assert number == [metric.problem]


def test_states_merge_in_any_order(metric_class):
    head, h, y = samples(dtype=torch.float64)
    whole = gathered(metric_class(head, PROBLEM), h, y).compute()
    for cut in (0, 1, 40, len(y)):
        first, second = metric_class(head, PROBLEM), metric_class(head, PROBLEM)
        gathered(first, h[:cut], y[:cut])
        gathered(second, h[cut:], y[cut:])
        second.merge_state(first)
        assert second.compute()["ufm/gap"] == pytest.approx(whole["ufm/gap"], rel=1e-13)
    with pytest.raises(NetworkError, match="two problems"):
        second.merge_state(metric_class(head, ufm.Problem(COUNTS, 5e-3, 6e-3)))


@pytest.mark.parametrize("when", ["between batches", "after the last", "behind autograd's back", "in a merged state"])
def test_a_head_that_changes_leaves_no_gap(metric_class, when):
    head, h, y = samples()
    metric = gathered(metric_class(head, PROBLEM), h[:30], y[:30])
    if when == "in a merged state":
        with torch.no_grad():
            head.weight[0, 0] += 1e-3
        other = gathered(metric_class(head, PROBLEM), h[30:], y[30:])
        with torch.no_grad():
            head.weight[0, 0] -= 1e-3
        metric.merge_state(other)
    else:
        if when != "between batches":
            gathered(metric, h[30:], y[30:])
            assert "ufm/gap" in metric.compute()
        change = head.weight.data if when.startswith("behind") else head.weight.detach()
        change[0, 0] += 1e-3
        if when == "between batches":
            gathered(metric, h[30:], y[30:])
    assert metric.compute() == {"ufm/mixed": 1.0}
    metric.reset()
    assert "ufm/gap" in gathered(metric, h, y).compute()


def test_negative_features_are_infeasible_where_there_are_none(metric_class):
    head, h, y = samples()
    h[3, 2] = -1e-6
    assert gathered(metric_class(head, PROBLEM), h, y).compute() == {"ufm/mixed": 0.0, "ufm/infeasible": 1.0}
    h[3, 2] = -0.0
    assert "ufm/gap" in gathered(metric_class(head, PROBLEM), h, y).compute()


def test_the_state_takes_k_d_numbers(metric_class):
    """No array of samples or of pairs is kept: 200 classes, 64 dimensions, 10,000 samples."""
    torch.manual_seed(0)
    head, y = torch.nn.Linear(64, 200, bias=False), torch.arange(10_000) % 200
    metric = metric_class(head, ufm.Problem([50] * 200, 1e-3, 1e-3))
    gathered(metric, torch.rand(10_000, 64), y, size=500)
    kept = sum(one.numel() for one in vars(metric).values() if isinstance(one, torch.Tensor))
    assert kept <= 200 * 64 + 3 * 200 + 2


def test_bad_batches_are_refused_by_name(metric_class):
    head, h, y = samples()
    metric = metric_class(head, PROBLEM)
    for error, match, features, labels in (
        (ShapeError, "features has shape", h[:, :4], y),
        (ShapeError, "features has shape", h[None], y),
        (ShapeError, "argmax", h, torch.eye(3)[y]),
        (ShapeError, "labels has shape", h, y[:-1]),
        (ShapeError, "labels has shape", h, y.float()),
        (LabelsError, "from 0 to 3", h, torch.where(y == 2, 3, y)),
        (LabelsError, "from -1", h, y - 1),
        (NetworkError, "sample 5", torch.where(torch.arange(78)[:, None] == 5, torch.nan, h), y),
    ):
        with pytest.raises(error, match=match):
            metric.update(features, labels)
    assert float(metric.counts.sum()) == 0.0  # nothing was gathered of a batch that was refused
    gathered(metric, h[:50], y[:50])
    with pytest.raises(CountsError):
        metric.compute()


def test_problems_that_are_not_the_heads_are_refused(metric_class):
    head, _, _ = samples()
    with pytest.raises(ShapeError, match="3 rows"):
        metric_class(head, ufm.Problem([5, 4], 1e-3, 1e-3))
    with pytest.raises(ShapeError, match="dimension 5"):
        metric_class(head, ufm.Problem(COUNTS, 1e-3, 1e-3, feature_dim=4))
    with pytest.raises(HypothesisError, match="hinge"):
        metric_class(head, ufm.Problem(COUNTS, 1e-3, 1e-3, loss=ufm.MulticlassHinge("weston-watkins")))
    adjusted = ufm.LogitAdjustedCrossEntropy(shift=(0.0, 0.5, 1.0))  # lse of other logits than the head's
    with pytest.raises(HypothesisError, match="logit-adjusted"):
        metric_class(head, ufm.Problem(COUNTS, 1e-3, 1e-3, loss=adjusted))
    with pytest.raises(CandidateError, match="bias"):
        metric_class(torch.nn.Linear(5, 3), PROBLEM)


def test_the_statistics_are_a_candidate(metric_class):
    head, h, y = samples(dtype=torch.float64)
    metric = gathered(metric_class(head, PROBLEM), h, y)
    candidate, statistics = metric.candidate(), metric.statistics
    assert candidate.class_counts.tolist() == COUNTS
    means = np.stack([h[y == k].numpy().mean(axis=0) for k in range(3)])
    assert candidate.features == pytest.approx(means, rel=1e-14)
    away = [float((h[y == k] - torch.tensor(means[k])).square().sum()) for k in range(3)]
    assert statistics.square_deviations == pytest.approx(away, rel=1e-12)
    assert ufm.certify(PROBLEM, candidate).candidate_objective[1] <= metric.compute()["ufm/objective"]
    assert pickle.loads(pickle.dumps(metric)).compute() == metric.compute()


@pytest.mark.parametrize(
    ("counts", "sums", "squares", "match"),
    [
        ([1, 1], [[3.0], [1.0]], [8.0, 1.0], "class 0"),
        ([1, 0], [[1.0], [1.0]], [1.0, 1.0], "class 1"),
        ([1, -1], [[1.0], [1.0]], [1.0, 1.0], "-1"),
        ([1, 0.5], [[1.0], [1.0]], [1.0, 1.0], "0.5"),
        ([1, 1], [[1.0], [np.nan]], [1.0, 1.0], "nan"),
    ],
)
def test_statistics_that_no_samples_have_are_refused(counts, sums, squares, match):
    with pytest.raises(CandidateError, match=match):
        ClassStatistics(counts, sums, squares)


# -- the callback -------------------------------------------------------------------------------------------------


class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.ReLU())
        self.fc = torch.nn.Linear(7, 3, bias=False)

    def forward(self, x):
        return self.fc(self.body(x))


def test_the_callback_in_a_plain_loop_leaves_the_network_as_it_was():
    from ufm_convex.networks import GapCallback

    _, x, y = samples()
    torch.manual_seed(1)
    network = Two()
    loader = [(x[rows], y[rows]) for rows in torch.arange(78).split(20)]
    callback = GapCallback(loader, PROBLEM)
    before = {name: one.clone() for name, one in network.state_dict().items()}
    state = torch.get_rng_state()
    found = callback(network)
    assert network.training
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        features = network.eval().body(x)
    certificate = ufm.certify(PROBLEM, ufm.Candidate(weights=network.fc.weight, features=features, labels=y))
    assert found["ufm/gap"] == pytest.approx(certificate.candidate_gap[1], rel=1e-6)  # binary32: batches round
    network.fc.weight.data.mul_(2)
    assert callback(network)["ufm/gap"] != found["ufm/gap"]
    assert [one["ufm/mixed"] for one in callback.history] == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore")  # Lightning warns of its own defaults
def test_the_callback_logs_in_lightning(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch", reason="pip install lightning")
    from ufm_convex.networks import GapCallback

    _, x, y = samples()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=20)

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = Two()

        def forward(self, x):
            return self.network(x)

        def training_step(self, batch, at):
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    callback = GapCallback(loader, PROBLEM, every=2)
    trainer = lightning.Trainer(
        max_epochs=4,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
        accelerator="cpu",
    )
    trainer.fit(Module(), loader)
    assert len(callback.history) == 2
    assert float(trainer.callback_metrics["ufm/gap"]) == pytest.approx(callback.history[-1]["ufm/gap"], rel=1e-6)
