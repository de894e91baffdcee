"""A network on one page: what is judged is the network's own, it is left as it was, and the rest is refused by name.

Networks and samples are made from seed 0 of torch; trained ones for some seconds at most.
"""

import numpy as np
import pytest

import ufm_convex as ufm
from ufm_convex.errors import (
    CandidateError,
    LabelsError,
    NetworkError,
    ProblemError,
    ShapeError,
    UFMError,
    UnknownNameError,
)

torch = pytest.importorskip("torch", reason="pip install torch")
from torch import nn  # noqa: E402

from ufm_convex.networks import find_head, judge  # noqa: E402

COUNTS, WD = [40, 20, 12], 5e-3
N = sum(COUNTS)
Y = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def samples():
    torch.manual_seed(0)
    x = torch.randn(N, 5) + 3 * torch.eye(3, 5)[Y]
    order = torch.randperm(N)
    return x[order], Y[order]


def loader(size=24, x=None, y=None):
    given, labels = samples()
    x, y = given if x is None else x, labels if y is None else y
    return [(x[rows], y[rows]) for rows in torch.arange(N).split(size)]


class Net(nn.Module):
    """Linear, batch norm, ReLU, perhaps more, and a head."""

    def __init__(self, *more, norm=True, bias=True, name="fc"):
        super().__init__()
        layers = [nn.Linear(5, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU()]
        self.body = nn.Sequential(*layers, *more)
        setattr(self, name, nn.Linear(16, 3, bias=bias))
        self._name = name

    def forward(self, x):
        return getattr(self, self._name)(self.body(x))


def trained(*more, epochs=60, **options):
    torch.manual_seed(0)
    network = Net(*more, **options)
    return network, fit(network, epochs)


def fit(network, epochs):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9, weight_decay=WD)
    for _ in range(epochs):
        for x, y in loader():
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    return optimizer


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_batch_norm_is_judged_by_its_own_decays(mode, bias):
    network, optimizer = trained(bias=bias)
    report = judge(network, loader(), weight_decay=optimizer, mode=mode)
    problem = report.problem
    assert (problem.lambda_w, problem.bias, problem.features) == (WD, WD if bias else None, "nonnegative")
    assert problem.lambda_h == pytest.approx(WD / N, rel=1e-15)
    network.train(mode == "train")
    features = torch.cat([network.body(x) for x, _ in loader()]).detach()
    given = {"bias": network.fc.bias} if bias else {}
    y = torch.cat([y for _, y in loader()])
    candidate = ufm.Candidate(weights=network.fc.weight, features=features, labels=y, **given)
    assert report.gap == pytest.approx(ufm.certify(problem, candidate).candidate_gap, rel=1e-6)
    assert report.training_bound <= report.training_objective
    assert report.training_bound == report.certificate.lower
    assert "training objective" in str(report)


def test_objective_less_bound_is_the_gap_and_what_else_decays():
    """With κ = 1: objective − f* = gap + wd/2 (‖γ‖² + ‖β‖² − ‖H‖²/N) + wd/2 of all other parameters (train mode)."""
    network, optimizer = trained()
    report = judge(network, loader(), weight_decay=optimizer, mode="train")
    H = report.candidate.features.astype(float)
    squares = {name: float(one.detach().double().square().sum()) for name, one in network.named_parameters()}
    of_norm = squares["body.1.weight"] + squares["body.1.bias"]
    others = squares["body.0.weight"] + squares["body.0.bias"]
    excess = 0.5 * WD * (of_norm - (H**2).sum() / N + others)
    assert report.training_objective - report.training_bound == pytest.approx(report.gap[1] + excess, rel=1e-5)


def test_the_objective_is_that_of_the_training_loop():
    network, optimizer = trained(nn.Dropout(0.3))
    report = judge(network, loader(), weight_decay=optimizer)
    network.train()
    network.body[3].eval()  # the mean of the masks
    loss = sum(len(y) / N * nn.functional.cross_entropy(network(x), y) for x, y in loader())
    penalty = sum(0.5 * WD * one.square().sum() for one in network.parameters())
    assert report.training_objective == pytest.approx(float((loss + penalty).detach()), rel=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_a_network_is_left_as_it_was(training):
    x, y = samples()
    shuffled = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=24, shuffle=True)
    network = Net(nn.Dropout(0.3)).train(training)
    network.body[0].eval()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    modes, state = [one.training for one in network.modules()], torch.get_rng_state()
    judge(network, shuffled, weight_decay=WD)
    assert [one.training for one in network.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(one.grad is None for one in network.parameters())
    assert not network.fc._forward_hooks
    assert not network.fc._forward_pre_hooks
    with pytest.raises(NetworkError):  # also when it ends early
        judge(network, [(torch.full((4, 5), torch.nan), torch.tensor([0, 1, 2, 0]))], weight_decay=WD)
    assert [one.training for one in network.modules()] == modes
    assert all(torch.equal(before[name], network.state_dict()[name]) for name in before)


def test_penalties_on_features_are_the_problem():
    torch.manual_seed(0)
    network = Net(norm=False)
    report = judge(network, loader(), weight_decay=1e-2, feature_decay=1e-3)
    assert (report.problem.lambda_w, report.problem.lambda_h, report.problem.bias) == (1e-2, 1e-3, "free")
    features = network.body(torch.cat([x for x, _ in loader()]))
    losses = [len(y) / N * nn.functional.cross_entropy(network(x), y) for x, y in loader()]
    value = sum(losses) + 5e-3 * network.fc.weight.square().sum() + 5e-4 * features.square().sum()
    assert report.training_objective == pytest.approx(float(value.detach()), rel=1e-6)
    assert report.training_bound == pytest.approx(ufm.solve(report.problem).value, rel=1e-5)


def test_features_are_free_where_the_network_allows_it():
    torch.manual_seed(0)
    network = Net(nn.GELU(), norm=False)
    network.body[2] = nn.Identity()
    network.body[0].bias.data.fill_(50.0)  # no feature is negative, yet
    report = judge(network, loader(), weight_decay=1e-2, feature_decay=1e-3)
    assert report.candidate.features.min() > 0
    assert report.problem.features == "free"


def test_without_penalty_and_batch_norm_the_decays_are_effective_and_there_is_no_bound():
    network, _ = trained(norm=False, epochs=5)
    report = judge(network, loader(), weight_decay=WD)
    assert report.training_bound is None
    assert "linear layer" in report.why_no_bound
    assert report.training_objective > 0
    assert report.problem.lambda_w == report.decays.lambda_w != WD
    adam = torch.optim.AdamW(network.parameters(), weight_decay=0.01)
    report = judge(network, loader(), weight_decay=adam)
    assert (report.training_objective, report.training_bound) == (None, None)
    assert "decoupled" in report.why_no_bound
    assert "decoupled" in str(report)


def test_a_layer_norm_has_a_bound_and_effective_decays():
    torch.manual_seed(0)
    network = Net(norm=False)
    network.body[1] = nn.LayerNorm(16)
    fit(network, 5)
    report = judge(network, loader(), weight_decay=WD)
    assert 0 < report.training_bound < report.training_objective
    assert report.problem.lambda_h == report.decays.lambda_h


@pytest.mark.parametrize(("reduction", "factor", "share"), [("mean", 0.5, 0.5), ("sum", 1.0, 24), ("sum", 0.5, 12)])
def test_sums_and_factors_of_the_loss_rescale_the_decays(reduction, factor, share):
    """λ = wd / (a B): every batch has 24 samples."""
    network, _ = trained(epochs=5)
    report = judge(network, loader(), weight_decay=WD * share, reduction=reduction, ce_factor=factor)
    same = judge(network, loader(), weight_decay=WD)
    assert report.problem.lambda_w == pytest.approx(same.problem.lambda_w, rel=1e-12)
    assert report.problem.lambda_h == pytest.approx(same.problem.lambda_h, rel=1e-12)
    assert report.training_objective == pytest.approx(same.training_objective, rel=1e-12)
    penalised = judge(network, loader(), 1e-2, feature_decay=1e-3, reduction=reduction, ce_factor=factor).problem
    assert penalised.lambda_h == pytest.approx(1e-3 / factor / (N if reduction == "sum" else 1), rel=1e-12)


def test_a_criterion_of_torch_is_the_loss():
    """Smoothing, a sum, and ignored labels: what is ignored leaves the samples, and the bound, as statistics see it."""
    network, _ = trained(epochs=5)
    smoothed = judge(network, loader(), WD, criterion=nn.CrossEntropyLoss(label_smoothing=0.1))
    assert smoothed.problem.loss == ufm.CrossEntropy(smoothing=0.1)
    assert smoothed.gap == judge(network, loader(), WD, criterion=ufm.CrossEntropy(smoothing=0.1)).gap
    plain = judge(network, loader(), WD)
    assert judge(network, loader(), WD, criterion=nn.CrossEntropyLoss()).gap == plain.gap
    summed = judge(network, loader(), 24 * WD, criterion=nn.CrossEntropyLoss(reduction="sum"), reduction="sum")
    assert summed.gap == pytest.approx(plain.gap, rel=1e-9)
    y = samples()[1].clone()
    y[:7] = -100
    ignoring = judge(network, loader(y=y), WD, criterion=nn.CrossEntropyLoss())
    assert ignoring.candidate.num_samples == N - 7
    assert "ignores" in ignoring.why_no_bound


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_batches_count_by_their_weights(smoothing):
    """The objective that is bounded: Σ_b (S_b/S) mean_b, S_b the weights of the samples of batch b."""
    network, _ = trained(epochs=5)
    weights = torch.tensor([0.5, 1.0, 4.0])
    criterion = nn.CrossEntropyLoss(weight=weights, label_smoothing=smoothing)
    report = judge(network, loader(), WD, criterion=criterion)
    network.train()
    shares = [float(weights[y].sum() / weights[Y].sum()) for _, y in loader()]
    loss = sum(share * criterion(network(x), y) for share, (x, y) in zip(shares, loader(), strict=True))
    penalty = sum(0.5 * WD * one.square().sum() for one in network.parameters())
    assert report.training_objective == pytest.approx(float((loss + penalty).detach()), rel=1e-6)
    assert report.training_bound < report.training_objective
    plain = sum(criterion(network(x), y) for x, y in loader()) / 3  # as if batches counted by their sizes
    assert abs(float((plain - loss).detach())) > 1e-4 * report.training_objective


def test_batches_of_different_sizes_are_refused_for_a_sum():
    torch.manual_seed(0)
    with pytest.raises(NetworkError, match="between 12 and 20"):
        judge(Net(), loader(20), weight_decay=WD, reduction="sum")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_other_precisions_are_taken(dtype):
    torch.manual_seed(0)
    network = Net().to(dtype)
    report = judge(network, [(x.to(dtype), y) for x, y in loader()], weight_decay=WD)
    assert report.candidate.features.dtype == (np.float64 if dtype is torch.float64 else np.float32)
    assert report.training_bound <= report.training_objective


def test_any_loader_will_do():
    torch.manual_seed(0)
    network = Net()
    expected = judge(network, loader(), weight_decay=WD).gap
    assert judge(network, iter(loader()), weight_decay=WD).gap == expected  # it can be read once
    named = [{"image": x, "label": y} for x, y in loader()]
    assert judge(network, named, WD, batch_to_xy=lambda one: (one["image"], one["label"])).gap == expected
    assert judge(network, [list(batch) for batch in loader()], weight_decay=WD).gap == expected


def test_a_frozen_batch_norm_has_no_bound_and_stays_frozen():
    network, _ = trained(epochs=5)
    network.body[1].eval()
    report = judge(network, loader(), weight_decay=WD)
    assert "running statistics" in report.why_no_bound
    assert not network.body[1].training


def test_a_batch_of_one_sample_has_no_bound():
    network, _ = trained(epochs=5)
    report = judge(network, loader(71), weight_decay=WD)
    assert (report.training_objective, report.training_bound) == (None, None)
    assert "one sample" in report.why_no_bound
    with pytest.raises(NetworkError, match="two or more"):
        judge(network, loader(71), weight_decay=WD, mode="train")


def test_a_network_that_returns_something_else_has_no_bound():
    class Logarithms(Net):
        def forward(self, x):
            return super().forward(x).log_softmax(1)

    torch.manual_seed(0)
    network = Logarithms()
    fit(network, 5)
    report = judge(network, loader(), weight_decay=WD)
    assert "something else" in report.why_no_bound
    assert report.training_objective is None


# -- heads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fc", "classifier", "head", "heads", "score", "anything"])
def test_heads_are_found_by_convention(name):
    torch.manual_seed(0)
    network = Net(name=name)
    assert find_head(network, 3) is getattr(network, name)
    assert judge(network, loader(), weight_decay=WD).candidate.weights.shape == (3, 16)


def test_the_last_layer_of_a_sequence_is_the_head():
    network = Net(name="other")
    network.classifier = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    assert find_head(network) is network.classifier[2]
    network.get_classifier = lambda: network.other
    assert find_head(network) is network.other


class Hidden(nn.Module):
    """A hidden layer with the name of a head."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.out = nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Linear(16, 3)

    def forward(self, x):
        return self.out(torch.relu(self.norm(self.fc(x))))


def test_a_layer_with_the_name_of_a_head_has_a_row_a_class():
    torch.manual_seed(0)
    network = Hidden()
    assert find_head(network, 3) is network.out
    report = judge(network, loader(), WD)
    assert report.head is network.out
    assert report.candidate.num_classes == 3
    with pytest.raises(NetworkError, match="no linear layer of 4 rows"):
        find_head(Net(), 4)


def refused_heads():
    two = Net()
    two.head = nn.Linear(16, 3)
    many = nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 3))
    rows = nn.Sequential(nn.Linear(5, 4), nn.ReLU())
    lists = Net(name="other")
    lists.heads = nn.ModuleList([nn.Linear(16, 3), nn.Linear(16, 3)])
    return {
        "two heads": (two, {}, "several heads: fc, head"),
        "a list of heads": (lists, {}, "several heads: heads.0, heads.1"),
        "two of K rows": (many, {}, "2 linear layers of 3 rows: 0, 2"),
        "none of K rows": (rows, {}, "no linear layer of 3 rows; its linear layers: 0"),
        "no linear layer": (nn.Sequential(nn.ReLU()), {}, "no linear layer"),
        "a name that is none": (Net(), {"head": "fv"}, "'fv'.*no linear layer of the network"),
        "somebody else's": (Net(), {"head": nn.Linear(16, 3)}, "no linear layer of the network"),
        "no network": (print, {}, "model is a builtin"),
    }


@pytest.mark.parametrize("name", refused_heads())
def test_heads_that_are_not_clear_are_refused(name):
    network, given, match = refused_heads()[name]
    with pytest.raises(NetworkError, match=match):
        find_head(network, 3, **given)


def test_a_head_that_is_named_is_judged():
    torch.manual_seed(0)
    many = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 3))
    assert judge(many, loader(), WD, head="3").gap == judge(many, loader(), WD, head=many[3]).gap


# -- bad input ----------------------------------------------------------------------------------------------------


class Unreached(Net):
    def forward(self, x):
        return self.body(x)[:, :3]


class Twice(Net):
    def forward(self, x):
        return super().forward(x) + super().forward(x)


class Growing(Net):
    def forward(self, x):
        return self.fc(torch.cat([self.body(x)] * (1 if len(x) == 24 else 2), 1))


def changed(at, value):
    x, _ = samples()
    x[at] = value
    return loader(x=x)


BAD = {
    "an empty loader": (Net, [], {}, NetworkError, "no batch"),
    "a head that is not reached": (Unreached, loader(), {}, NetworkError, "0 times"),
    "a head that is reached twice": (Twice, loader(), {}, NetworkError, "2 times"),
    "no loader": (Net, 5, {}, NetworkError, "loader is a int"),
    "NaN": (Net, changed(30, torch.nan), {}, NetworkError, "NaN"),
    "one-hot labels": (Net, loader(y=nn.functional.one_hot(samples()[1])), {}, LabelsError, "argmax"),
    "labels of another type": (Net, loader(y=samples()[1].float()), {}, LabelsError, "integers"),
    "a class too many": (Net, loader(y=samples()[1] + 1), {}, LabelsError, "3 rows"),
    "negative labels": (Net, loader(y=samples()[1] - 1), {}, LabelsError, "from -1"),
    "dictionaries": (Net, [{"image": 1, "label": 2}], {}, NetworkError, "batch_to_xy"),
    "three parts": (Net, [(1, 2, 3)], {}, NetworkError, "batch_to_xy"),
    "labels of another length": (Net, [(samples()[0], samples()[1][:5])], {}, ShapeError, "5 labels"),
    "a width that changes": (Growing, loader(20), {}, NetworkError, "dimension 32"),
    "random features": (lambda: Net(nn.Dropout(0.1)), loader(), {"mode": "train"}, NetworkError, "dropout"),
    "a mode": (Net, loader(), {"mode": "test"}, UnknownNameError, "mode"),
    "a reduction": (Net, loader(), {"reduction": "none"}, UnknownNameError, "reduction"),
    "a factor": (Net, loader(), {"ce_factor": 0}, ProblemError, "ce_factor"),
    "a feature decay": (Net, loader(), {"feature_decay": -1}, ProblemError, "feature_decay"),
    "a criterion": (Net, loader(), {"criterion": nn.MSELoss()}, NetworkError, "criterion"),
    "two reductions": (Net, loader(), {"criterion": nn.CrossEntropyLoss(reduction="sum")}, ProblemError, "reduction"),
    "weights in a sum": (
        Net,
        loader(),
        {"criterion": nn.CrossEntropyLoss(torch.ones(3), reduction="sum"), "reduction": "sum"},
        ProblemError,
        "weighs classes",
    ),
    "a weight decay": (Net, loader(), {"weight_decay": -1}, ProblemError, "weight_decay"),
    "a normalised head": (
        lambda: _weight_normed(),
        loader(),
        {},
        NetworkError,
        "W h",
    ),
}


def _weight_normed():
    network = Net()
    nn.utils.parametrizations.weight_norm(network.fc)
    return network


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_judged_is_refused_by_name(name):
    make, batches, given, error, match = BAD[name]
    torch.manual_seed(0)
    with pytest.raises(error, match=match) as caught:
        judge(make(), batches, **({"weight_decay": WD} | given))
    assert isinstance(caught.value, UFMError)
    assert caught.value.fix


def test_a_bias_needs_a_problem_with_one():
    from ufm_convex.networks import GapMetric

    with pytest.raises(CandidateError, match="bias"):
        GapMetric(nn.Linear(16, 3), ufm.Problem(COUNTS, WD, WD))
