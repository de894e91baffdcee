"""The bound of a training objective: nets driven to their bottom stay above it, and wrong constants are refuted.

Nets are those of small_networks.py, n = (9, 6, 4, 3), every decay 0.02; L-BFGS from the seeds of each case. f* of
other constants comes from the same solver, so what is tested is which constant, not its value.
"""

from fractions import Fraction

import numpy as np
import pytest

import ufm_convex as ufm

torch = pytest.importorskip("torch", reason="pip install torch")

from small_networks import (  # noqa: E402
    COUNTS,
    DECAY,
    LABELS,
    Small,
    Sum,
    Then,
    after,
    decays_of,
    descend,
    lowest,
    norm,
    objective,
)
from torch import nn  # noqa: E402

from ufm_convex.errors import HypothesisError, NetworkError, ProblemError  # noqa: E402
from ufm_convex.networks import training_bound  # noqa: E402

N = sum(COUNTS)
ALL = torch.arange(N)
FREE, SIGNED = "free", "nonnegative"


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def optimum(kappa=1, m=1, features=SIGNED, bias=None, loss=None, counts=COUNTS):
    problem = ufm.Problem(counts, DECAY, DECAY / (kappa * m * sum(counts)), features=features, bias=bias, loss=loss)
    return ufm.solve(problem).value


def bound(network, decays, **settings):
    return training_bound(network, ALL, class_counts=COUNTS, weight_decay=decays, **settings)


relu, flat = nn.ReLU(), nn.Flatten()
NAIVE = (1, 1, SIGNED)
SHARP = {
    # name: body, positions, seeds, (kappa, m, features), wrong constants that are refuted
    "relu": (after(relu), (), 3, (1, 1, SIGNED), []),
    "identity": (after(), (), 1, (1, 1, FREE), [NAIVE]),
    "average": (after(relu, nn.AdaptiveAvgPool2d(1), flat, positions=True), (2, 2), 3, (1, 1, SIGNED), []),
    "mean": (after(relu, Then(lambda x: x.mean((-1, -2))), positions=True), (2, 2), 3, (1, 1, SIGNED), []),
    "maximum": (
        after(relu, nn.AdaptiveMaxPool2d(1), flat, positions=True),
        (2, 2),
        2,
        (4, 1, SIGNED),
        [NAIVE],
    ),
    "flatten": (after(relu, flat, positions=True), (2, 2), 2, (4, 1, SIGNED), [NAIVE]),
    "windows": (after(relu, nn.AvgPool2d((2, 1)), flat, positions=True), (2, 2), 2, (2, 1, SIGNED), [NAIVE]),
    "two branches": (lambda d: Sum(d, 2), (2,), 2, (1, 2, SIGNED), [NAIVE]),
    "three branches": (lambda d: Sum(d, 3), (3,), 2, (1, 3, SIGNED), [NAIVE, (1, 2, SIGNED)]),
}


@pytest.mark.parametrize("name", SHARP)
def test_the_bound_is_sharp_and_smaller_constants_are_refuted(name):
    """Seeds 0, 1, …; the lowest of them is within 5e-4 of the bound, which eps > 0 and L-BFGS account for."""
    body, shape, seeds, truth, wrong = SHARP[name]
    network, decays, value = lowest(lambda: Small(body, shape), range(seeds))
    found = bound(network, decays)
    assert found.case == "parameters"
    assert (found.problem.features, found.problem.bias) == (truth[2], None)
    assert found.value == pytest.approx(optimum(*truth), rel=1e-6)  # the certificate's own tolerance
    assert found.value <= value <= found.value * (1 + 5e-4)
    for constants in wrong:
        assert value < 0.999 * optimum(*constants)


def test_the_bias_of_the_head_pays_its_own_decay():
    """With the bias n = (9, 6, 4, 3) gives the numbers that the page shows; without one it is a worse problem."""
    network, decays, value = lowest(lambda: Small(after(relu), bias=True), range(3))
    found = bound(network, decays)
    assert found.problem.bias == DECAY
    assert found.value <= value <= found.value * (1 + 5e-4)
    assert value < optimum()


def test_batches_have_statistics_of_their_own():
    """Seeds 0 and 1; batches of 8, 7, 7, each with all classes but one."""
    rows = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    network, decays, value = lowest(lambda: Small(after(relu)), range(2), batches=[rows[:8], rows[8:15], rows[15:]])
    assert bound(network, decays).value <= value


def test_weighted_batches_count_by_their_weights():
    """Seed 0. Weights that make the classes even, a batch of class 0 alone, decays that leave only the bias.

    By their sizes the batches make an uneven problem of it, whose optimum is an entropy below log 4.
    """
    weights = torch.tensor([1.0, 1.5, 2.25, 3.0], dtype=torch.float64)
    criterion = nn.CrossEntropyLoss(weight=weights)
    batches = [torch.arange(9), torch.arange(9, N)]
    shares = [float(weights[LABELS[rows]].sum() / weights[LABELS].sum()) for rows in batches]
    loss = ufm.CrossEntropy(class_weights=weights * N / weights[LABELS].sum())
    settings = {"batches": batches, "criterion": criterion, "decay": 1.0, "without": ("fc.bias",)}

    def make():
        return Small(after(relu), bias=True)

    network, decays, value = lowest(make, [0], shares=shares, **settings)
    found = bound(network, decays, loss=loss)
    assert found.value == pytest.approx(np.log(4), rel=1e-6)
    assert found.value <= value <= found.value * (1 + 1e-6)
    _, _, naive = lowest(make, [0], **settings)
    assert naive < 0.96 * found.value


# -- signs and activations ----------------------------------------------------------------------------------------

ACTIVATIONS = {
    "ReLU": (nn.ReLU(), 1, SIGNED),
    "ReLU in place": (nn.ReLU(inplace=True), 1, SIGNED),
    "ReLU6": (nn.ReLU6(), 1, SIGNED),
    "clamp": (Then(lambda x: x.clamp(min=0)), 1, SIGNED),
    "abs": (Then(torch.abs), 1, SIGNED),
    "GELU": (nn.GELU(), 1, FREE),
    "GELU tanh": (nn.GELU("tanh"), 1, FREE),
    "SiLU": (nn.SiLU(), 1, FREE),
    "Mish": (nn.Mish(), 1, FREE),
    "Hardswish": (nn.Hardswish(), 1, FREE),
    "Tanh": (nn.Tanh(), 1, FREE),
    "ELU": (nn.ELU(), 1, FREE),
    "CELU": (nn.CELU(0.5), 1, FREE),
    "LeakyReLU": (nn.LeakyReLU(0.1), 1, FREE),
    "steep LeakyReLU": (nn.LeakyReLU(2.0), 4, FREE),
    "Hardtanh": (nn.Hardtanh(), 1, FREE),
    "SELU": (nn.SELU(), (1.0507009873554805 * 1.6732632423543772) ** 2, FREE),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_have_their_constant_and_their_sign(name):
    activation, kappa, features = ACTIVATIONS[name]
    torch.manual_seed(0)
    network = Small(after(activation))
    structure = bound(network, decays_of(network)).structure
    (one,) = structure.normalisations
    assert float(one.kappa) == pytest.approx(kappa, rel=1e-12)
    assert structure.nonnegative is (features == SIGNED)
    # the constants, by values and slopes on a grid: |σ(t)| ≤ l |t|, and l' for slopes
    t = torch.linspace(-9, 9, 200_001, dtype=torch.float64)
    values = activation(t.clone())
    assert (values.square() <= float(one.kappa) * t.square() * (1 + 1e-12)).all()
    slopes = torch.diff(values) / torch.diff(t)
    assert float(slopes.square().max()) <= float(one.kappa_change) * (1 + 1e-9)
    assert float(slopes.square().max()) >= 0.95 * float(one.kappa_change)
    assert bool((values >= 0).all()) is (features == SIGNED)


def test_gelu_undercuts_the_bound_with_a_sign():
    """Seeds 0 to 2: features of GELU are not ≥ 0, and the optimum with H ≥ 0 is refuted."""
    network, decays, value = lowest(lambda: Small(after(nn.GELU())), range(3))
    assert bound(network, decays).value <= value < optimum()


# -- decays -------------------------------------------------------------------------------------------------------


def test_a_shift_without_decay_makes_features_and_bias_free():
    """Seeds 0 to 2: sharp at free features and a free bias; the bound with decayed shifts is refuted."""
    network, decays, value = lowest(lambda: Small(after(relu)), range(3), without=("body.0.bias",), steps=800)
    found = bound(network, decays)
    assert (found.case, found.problem.features, found.problem.bias) == ("shift undecayed", FREE, "free")
    assert found.value <= value <= found.value * (1 + 5e-4)
    assert value < 0.9 * optimum()


def test_the_smaller_of_two_decays_counts():
    torch.manual_seed(0)
    network = Small(after(relu))
    decays = decays_of(network) | {"body.0.weight": 0.05, "body.0.bias": 0.01}
    assert bound(network, decays).problem.lambda_h == pytest.approx(0.01 / N, rel=1e-15)
    two = Small(lambda d: Sum(d, 2), (2,))
    decays = decays_of(two) | {"body.branches.0.weight": 0.04, "body.branches.0.bias": 0.04}
    # 1/λ_H = N (κ_1/w_1 + κ_2/w_2)
    assert bound(two, decays).problem.lambda_h == pytest.approx(1 / (N * (1 / 0.04 + 1 / DECAY)), rel=1e-15)


@pytest.mark.parametrize("how", ["affine=False", "undecayed", "frozen"])
def test_a_given_scale_has_a_bound_of_its_own(how):
    """Seed 0: max over l of f*(l) − l ρ/2 stays below; the bound for decayed scales does not hold as they grow."""
    torch.manual_seed(0)
    network = Small(after(relu, affine=how != "affine=False"))
    without = ("body.0.weight", "body.0.bias")
    if how == "frozen":
        for name in without:
            network.get_parameter(name).requires_grad_(False)
    elif how == "undecayed":
        with torch.no_grad():
            network.get_parameter(without[0]).fill_(30.0)
    decays = decays_of(network, without)
    network, decays, value = lowest(lambda: network, [0], without=without)
    found = bound(network, decays)
    assert found.case == "given scale"
    assert 0 < found.value <= value
    if how == "undecayed":
        assert value < 0.9 * optimum()
    # no other l is better: the choice of l is near the best
    rho = 2 * float(found.charge) / found.problem.lambda_h
    for factor in (0.8, 1.25):
        decay = factor * found.problem.lambda_h
        other = ufm.Problem(COUNTS, DECAY, decay)
        assert ufm.solve(other).value - decay * rho / 2 <= found.value * (1 + 1e-5)


def test_rho_of_a_layer_without_scales_is_the_dimension():
    torch.manual_seed(0)
    network = Small(after(relu, affine=False), d=7)
    assert bound(network, decays_of(network)).structure.normalisations[0].given == 7


# -- norms within a sample ----------------------------------------------------------------------------------------

WITHIN = {
    "layer": (lambda d: nn.LayerNorm(d, eps=1e-8), (), 6, FREE),
    "layer without shift": (lambda d: nn.LayerNorm(d, bias=False), (), 5, FREE),
    "rms": (lambda d: nn.RMSNorm(d, eps=1e-8), (), 6, FREE),
    "group": (lambda d: nn.Sequential(nn.GroupNorm(2, d), relu, nn.AdaptiveAvgPool1d(1), flat), (3,), 3, SIGNED),
    "instance": (
        lambda d: nn.Sequential(nn.InstanceNorm1d(d, affine=True), relu, nn.AdaptiveAvgPool1d(1), flat),
        (3,),
        1,
        SIGNED,
    ),
    "tokens, mean": (
        lambda d: nn.Sequential(Then(lambda x: x.transpose(1, 2)), nn.LayerNorm(d), Then(lambda x: x.mean(1))),
        (3,),
        6,
        FREE,
    ),
    "tokens, first": (
        lambda d: nn.Sequential(Then(lambda x: x.transpose(1, 2)), nn.LayerNorm(d), Then(lambda x: x[:, 0])),
        (3,),
        6,
        FREE,
    ),
}


@pytest.mark.parametrize("name", WITHIN)
def test_norms_within_a_sample_bound_every_sample(name):
    """Seeds 0 and 1; also in evaluation. The supremum of ‖h‖² is attained, so no smaller constant will do."""
    body, shape, kappa, features = WITHIN[name]
    network, decays, value = lowest(lambda: Small(body, shape), range(2), steps=200)
    found = bound(network, decays)
    assert (found.structure.normalisations[0].kappa, found.problem.features) == (kappa, features)
    assert found.value <= value
    assert bound(network.eval(), decays).value == found.value


@pytest.mark.parametrize(("name", "at"), [("layer", 5), ("layer without shift", 5), ("rms", 5)])
def test_the_supremum_of_a_feature_norm_is_attained(name, at):
    """A row with one entry that stands out, and a scale and a shift on that entry alone."""
    body, _, kappa, _ = WITHIN[name]
    module = body(6).double()
    row = torch.full((1, 6), -1.0, dtype=torch.float64)
    row[0, at] = 5.0
    if name == "rms":
        row = torch.eye(6, dtype=torch.float64)[[at]] * 6
    with torch.no_grad():
        scale = torch.zeros(6, dtype=torch.float64)
        scale[at] = 1.0
        module.weight.copy_(scale * 5**0.5)
        if getattr(module, "bias", None) is not None:
            module.bias.copy_(scale)
        paid = sum(float(one.square().sum()) for one in module.parameters())
        seen = float(module(row).square().sum())
    assert seen == pytest.approx(kappa * paid, rel=1e-4)  # eps


# -- dropout ------------------------------------------------------------------------------------------------------


def head_of(*modules, positions=False):
    torch.manual_seed(0)
    return Small(after(*modules, positions=positions), (2, 2) if positions else ())


@pytest.mark.parametrize(
    ("modules", "positions", "expectation", "factor"),
    [
        ((relu, nn.Dropout(0.5)), False, True, 1),
        ((nn.Dropout(0.5), relu), False, True, 1),
        ((nn.Dropout(0.5), nn.GELU()), False, False, 4),
        ((relu, nn.Dropout2d(0.5), nn.AdaptiveAvgPool2d(1), flat), True, True, 1),
        ((relu, nn.Dropout(0.5), nn.AdaptiveMaxPool2d(1), flat), True, False, 16),
    ],
)
def test_dropout_is_bounded_in_expectation_where_what_follows_is_linear(modules, positions, expectation, factor):
    network = head_of(*modules, positions=positions)
    found = bound(network, decays_of(network))
    assert found.expectation is expectation
    assert found.problem.lambda_h == pytest.approx(DECAY / (factor * N), rel=1e-15)


def test_the_expectation_over_masks_stays_above():
    """Seed 0: trained on two masks, whose mean is the identity; a single mask undercuts the bound."""
    torch.manual_seed(0)
    masks = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64).T.repeat_interleave(8, dim=1)
    network = Small(after(relu), d=16)

    class Masked(nn.Module):
        def __init__(self, k):
            super().__init__()
            self.k = k

        def forward(self, rows):
            return network.fc(network.body(network.table[rows]) * masks[self.k])

    decays = decays_of(network)

    def value(rows):
        """The mean over these masks."""
        losses = [nn.functional.cross_entropy(Masked(k)(ALL), LABELS) for k in rows]
        return sum(losses) / len(losses) + objective(network, decays, batches=[])

    assert torch.equal(masks.mean(0), torch.ones(16, dtype=torch.float64))
    descend(network, lambda: value([0, 1]), 400)
    found = bound(network, decays)
    assert found.value <= float(value([0, 1]).detach())
    torch.manual_seed(0)
    with torch.no_grad():
        network.load_state_dict(Small(after(relu), d=16).state_dict())
    descend(network, lambda: value([0]), 400)
    assert optimum(kappa=4) <= float(value([0]).detach()) < 0.9 * found.value


# -- what has no bound --------------------------------------------------------------------------------------------


class FrozenInTraining(nn.BatchNorm1d):
    def train(self, mode=True):
        return super().train(False)


def graph_of(function):
    return after(relu, Then(function))


NO_BOUND = {
    "a factor": (graph_of(lambda x: x * 10), r"a product \(\*\)"),
    "a quotient": (graph_of(lambda x: x / 0.1), r"a quotient \(/\)"),
    "a constant": (graph_of(lambda x: x + 1), r"a sum \(\+\).*constant"),
    "a detached skip": (graph_of(lambda x: x + x.detach()), r"a sum \(\+\).*detached"),
    "a difference with a factor": (graph_of(lambda x: torch.sub(x, x, alpha=3)), "with a factor"),
    "the batch's mean": (graph_of(lambda x: x - x.mean(0)), "over the batch"),
    "detached": (graph_of(lambda x: x.detach()), "detached"),
    "sigmoid": (after(nn.Sigmoid()), "sigmoid"),
    "softplus": (after(nn.Softplus()), "softplus"),
    "a learnt slope": (after(nn.PReLU()), "slope is learnt"),
    "a clamp off 0": (graph_of(lambda x: x.clamp(0.1, 2)), "0 where it is"),
    "a power": (graph_of(lambda x: x**2), "Pow"),
    "a second layer": (after(relu, nn.Linear(6, 6)), "a linear layer"),
    "no normalisation": (lambda d: nn.Sequential(nn.Linear(d, d), relu), "a linear layer"),
    "frozen statistics": (lambda d: nn.Sequential(FrozenInTraining(d).train(), relu), "running statistics"),
    "negative eps": (lambda d: nn.Sequential(nn.LayerNorm(d, eps=-1e-3), relu), "eps"),
    "changed behind the graph's back": (graph_of(lambda x: (x.data.mul_(10), x)[1]), "recorded operations alone"),
    "pooling that takes the batch for channels": (
        after(relu, Then(lambda x: nn.functional.max_pool2d(x.flatten(2), (1, 3), 1).flatten(1)), positions=True),
        "without a batch",
    ),
    "alpha dropout": (after(relu, nn.AlphaDropout(0.2)), "Backward0"),
    "random leaks": (after(nn.RReLU()), "Rrelu"),
}


@pytest.mark.parametrize("name", NO_BOUND)
def test_what_is_not_recognised_has_no_bound(name):
    body, reason = NO_BOUND[name]
    torch.manual_seed(0)
    network = Small(body, (2, 2) if name.startswith("pooling") else ())
    with pytest.raises(HypothesisError, match=reason):
        bound(network, decays_of(network))


def test_a_branch_without_normalisation_has_no_bound():
    class Branch(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.norm, self.other = norm(d), nn.Linear(d, d)

        def forward(self, x):
            return torch.relu(self.norm(x) + self.other(x))

    torch.manual_seed(0)
    network = Small(Branch)
    with pytest.raises(HypothesisError, match="a linear layer"):
        bound(network, decays_of(network))


def test_running_statistics_have_no_bound_and_undercut_it():
    """Seed 0: in evaluation the running variance may be anything, and γ and β need not pay."""
    torch.manual_seed(0)
    network = Small(after(relu)).eval()
    decays = decays_of(network)
    with pytest.raises(HypothesisError, match="running statistics"):
        bound(network, decays)
    network.body[0].running_var.fill_(1e-6)
    network, decays, value = lowest(lambda: network, [0])
    assert value < 0.5 * optimum()
    untracked = Small(after(relu, track_running_stats=False)).eval()
    assert bound(untracked, decays_of(untracked)).value == bound(untracked.train(), decays_of(untracked)).value


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: torch.optim.AdamW(p, weight_decay=0.02), "AdamW is decoupled"),
        (lambda p: torch.optim.NAdam(p, weight_decay=0.02, decoupled_weight_decay=True), "NAdam is decoupled"),
        (lambda p: type("Mine", (torch.optim.SGD,), {})(p, lr=0.1, weight_decay=0.02), "Mine is of an unknown kind"),
    ],
)
def test_a_decoupled_decay_has_no_bound(make, reason):
    torch.manual_seed(0)
    network = Small(after(relu))
    with pytest.raises(HypothesisError, match=reason):
        bound(network, make(network.parameters()))


@pytest.mark.parametrize("kind", ["SGD", "Adam", "NAdam", "RAdam", "RMSprop", "Adagrad", "Adamax", "Adadelta", "ASGD"])
def test_groups_of_an_optimiser_are_read(kind):
    torch.manual_seed(0)
    network = Small(after(relu), bias=True)
    groups = [
        {"params": network.fc.parameters(), "weight_decay": 0.03},
        {"params": network.body.parameters()},
        {"params": [network.table], "weight_decay": 0.0},
    ]
    found = bound(network, getattr(torch.optim, kind)(groups, lr=0.1, weight_decay=0.01)).problem
    assert (found.lambda_w, found.bias, found.lambda_h) == (0.03, 0.03, pytest.approx(0.01 / N, rel=1e-15))


@pytest.mark.parametrize(
    ("decay", "reason"),
    [
        (-0.1, "weight_decay is -0.1"),
        (float("nan"), "weight_decay is nan"),
        ("0.1", "weight_decay is '0.1'"),
        ({"fc.weight": 0.1, "fc.wieght": 0.2}, "fc.wieght"),
        ({"fc.weight": -1.0}, r"weight_decay\['fc.weight'\] is -1.0"),
        (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), "no parameter of this network"),
    ],
)
def test_decays_that_are_none_are_refused(decay, reason):
    torch.manual_seed(0)
    with pytest.raises(ProblemError, match=reason):
        bound(Small(after(relu)), decay)


def test_a_maximising_optimiser_is_refused():
    torch.manual_seed(0)
    network = Small(after(relu))
    with pytest.raises(ProblemError, match="maximises"):
        bound(network, torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1, maximize=True))


def test_a_head_without_decay_has_no_bound():
    torch.manual_seed(0)
    network = Small(after(relu))
    with pytest.raises(HypothesisError, match="no weight decay"):
        bound(network, {"body.0.weight": 0.1, "body.0.bias": 0.1})


# -- the same parameters twice, the head, and other shapes --------------------------------------------------------


def test_one_normalisation_in_two_branches_pays_once():
    """Seed 0: ReLU(bn(x)) + ReLU(bn(y)) has κ = 4 for the one γ; as two branches, m = 2, it is refuted."""

    class Twice(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.norm = norm(d)

        def forward(self, x):
            return torch.relu(self.norm(x[..., 0])) + torch.relu(self.norm(x[..., 1]))

    network, decays, value = lowest(lambda: Small(Twice, (2,)), range(2))
    found = bound(network, decays)
    assert [one.kappa for one in found.structure.normalisations] == [4]
    assert found.value <= value <= found.value * (1 + 5e-4)
    assert value < 0.95 * optimum(m=2)


def test_ghost_batches_are_batches():
    """Chunks of a batch with statistics of their own, side by side: κ stays 1."""

    class Ghost(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.norm = norm(d)

        def forward(self, x):
            return torch.relu(torch.cat([self.norm(part) for part in x.chunk(2)]))

    torch.manual_seed(0)
    network = Small(Ghost)
    found = bound(network, decays_of(network))
    assert found.structure.normalisations[0].kappa == 1


def test_a_scale_that_is_shared_or_computed_has_no_bound():
    class Shared(nn.Module):
        def __init__(self, d):
            super().__init__()
            self.norm, self.other = norm(d), norm(d)
            self.other.weight = self.norm.weight

        def forward(self, x):
            return self.norm(x[..., 0]) + self.other(x[..., 1])

    torch.manual_seed(0)
    network = Small(Shared, (2,))
    with pytest.raises(HypothesisError, match="two places"):
        bound(network, decays_of(network))
    network = Small(after(relu))
    nn.utils.parametrizations.weight_norm(network.body[0], dim=None)
    with pytest.raises(HypothesisError, match="computed, not a parameter"):
        bound(network, decays_of(network))


def test_a_head_that_is_more_than_linear_has_no_bound():
    class Scaled(Small):
        def forward(self, rows):
            return super().forward(rows) * 1.0

    torch.manual_seed(0)
    network = Scaled(after(relu))
    with pytest.raises(HypothesisError, match="something else than what its head computes"):
        bound(network, decays_of(network))
    network = Small(after(relu))
    nn.utils.parametrizations.weight_norm(network.fc)
    with pytest.raises(NetworkError, match="something else than W h"):
        bound(network, 0.02)


POOLS = {
    "overlapping averages": (nn.AvgPool2d(3, 1), Fraction(16) * Fraction(5, 9) ** 2),
    "padded averages": (nn.AvgPool2d(2, 2, 1), None),
    "averages without padding": (nn.AvgPool2d(2, 2, 1, count_include_pad=False), None),
    "ragged averages": (nn.AvgPool2d(3, 2, ceil_mode=True), None),
    "adaptive averages": (nn.AdaptiveAvgPool2d(3), None),
    "disjoint maxima": (nn.MaxPool2d(2), 16),
    "overlapping maxima": (nn.MaxPool2d(3, 2, 1), 16 * 4),
    "dilated maxima": (nn.MaxPool2d(2, 1, dilation=2), 16),
    "adaptive maxima": (nn.AdaptiveMaxPool2d(3), None),
}


@pytest.mark.parametrize("name", POOLS)
def test_windows_have_a_constant_that_no_input_exceeds(name):
    """On 4 × 4 positions: exact where it is known, never below the largest ratio that 2000 sparse inputs reach."""
    pool, expected = POOLS[name]
    torch.manual_seed(0)
    network = Small(after(relu, pool, flat, positions=True), (4, 4))
    kappa = bound(network, decays_of(network)).structure.normalisations[0].kappa
    if expected is not None:
        assert kappa == expected
    x = torch.rand(2000, 1, 4, 4, dtype=torch.float64) ** 8
    ratio = pool(x).square().sum((1, 2, 3)) / x.square().sum((1, 2, 3))
    single = torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    ratio = torch.cat([ratio, pool(single).square().sum((1, 2, 3))])
    ones = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    ratio = torch.cat([ratio, pool(ones).square().sum()[None] / 16])
    assert 0.5 <= 16 * float(ratio.max()) / float(kappa) <= 1 + 1e-12


def test_the_certificate_of_a_bound_is_verified_and_the_value_is_its_lower_end():
    torch.manual_seed(0)
    network = Small(after(relu), bias=True)
    found = bound(network, 0.02)
    assert found.value == found.certificate.lower
    assert found.problem.class_counts.tolist() == COUNTS
    assert Fraction(found.problem.lambda_h) <= Fraction(0.02) / N
    assert np.isfinite(found.value)
