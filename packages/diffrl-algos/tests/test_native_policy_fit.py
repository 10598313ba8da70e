"""Epochs of a policy by compiled code, against torch's operations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import diffsim_core
import gradest
from diffrl_algos import GIPPOConfig, PPOConfig
from diffrl_algos.torch import _choice, _native_policy_fit
from diffrl_algos.torch._adam import Adam, Optimizer
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._native_policy_fit import fit_policy_natively_
from diffrl_algos.torch._policy import GaussianActor
from diffrl_algos.torch._policy_fit import distribution, fit_policy_, fits_policy_natively
from diffrl_algos.torch._policy_losses import ReusedGradients, SquaredError, Surrogate

from .exact import WIDTHS, compiled_is_no_less_accurate, errors, extended, gradient, needs_extended
from .test_family import build, learns_the_same, run, same_bits
from .test_native_fit import in_threads, is_well_posed, moved_by

FITTED = ("ppo", "gippo", "rpo")
"""Algorithms that take epochs of their policy."""
ACTIVATIONS = ("elu", "silu", "relu", "tanh")


@dataclasses.dataclass(frozen=True)
class Case:
    """A policy, data and settings of a fit."""

    inputs: int = 5
    hidden: tuple[int, ...] = (17, 9)
    actions: int = 3
    activation: str = "elu"
    layer_norm: bool = True
    spread: bool = True
    surrogate: bool = True
    entropy: float = 0.0
    clip: float = 0.2
    distance: float = 0.3
    """Between the policy and the one that acted."""
    bounds: tuple[float, float] | None = (-0.4, 0.5)
    rows: int = 50
    passes: int = 2
    minibatches: int = 3
    decay: float = 0.01
    max_norm: float = 1.0
    steps: int = 0
    """Taken before."""
    seed: int = 0

    @property
    def actor(self):
        outputs = self.actions * (2 if self.spread else 1)
        mlp = MLP((self.inputs, *self.hidden, outputs), self.activation, self.layer_norm)
        return GaussianActor(mlp, self.spread, self.bounds)

    @property
    def minibatch(self):
        return -(-self.rows // self.minibatches)

    def data(self, dtype=torch.float64):
        """Parameters, moments, inputs, order and loss; in float32 they are the rounded ones of float64."""
        g = torch.Generator().manual_seed(self.seed)

        def normal(*shape):
            return torch.randn(shape, generator=g)

        flat = self.actor.init(g, logstd=0.0, gain=1.0)
        flat = flat + 0.1 * normal(len(flat))
        m, v = 0.1 * normal(len(flat)), 0.1 * torch.rand(len(flat), generator=g)
        x, eps = normal(self.rows, self.inputs), normal(self.rows, self.actions)
        order = torch.stack([torch.randperm(self.rows, generator=g) for _ in range(self.passes)])
        acted = distribution(self.actor, flat + self.distance * 0.1 * normal(len(flat)), x, native=False)
        u = acted.mean + eps * acted.logstd.exp()
        wide = [part.to(dtype) for part in (flat, m, v, x)]
        if self.surrogate:
            reference = acted.log_prob(u)[order].flatten().to(dtype)
            loss = Surrogate(u.to(dtype), normal(self.rows).to(dtype), reference, self.clip, self.entropy)
        else:
            loss = SquaredError(eps.to(dtype), (u + 0.3 * normal(self.rows, self.actions)).to(dtype))
        flat, m, v, x = wide
        adam = Adam(m, v, self.steps) if self.steps else Adam.init(flat)
        return flat, adam, x, order, loss

    @property
    def options(self):
        return {"minibatch": self.minibatch, "optimizer": Optimizer((0.7, 0.95), self.max_norm, self.decay), "lr": 0.01}

    def fit(self, data):
        """By compiled code: what it changes, by name, with the figures of the steps; and the number of steps."""
        flat, adam, *rest = data
        flat, adam = flat.clone(), adam.clone()
        adam, steps = fit_policy_natively_(self.actor, flat, adam, *rest, **self.options)
        return {"parameters": flat, "m": adam.m, "v": adam.v, **steps._asdict()}, adam.step

    def by_autograd(self, data):
        """The same in the plainest way: autograd through the whole network, with the functions of ``gradest``."""
        flat, adam, x, order, loss = data
        flat, adam, place = flat.clone(), adam.clone(), 0
        figures = {"loss": [], "norm": [], "outside": []}
        for rows in (rows for each in order for rows in each.split(self.minibatch)):
            params = flat.clone().requires_grad_()
            policy = self.actor(self.actor.split(params), x[rows])
            outside = torch.zeros((), dtype=x.dtype)
            if isinstance(loss, Surrogate):
                reference, log_prob = loss.reference[place : place + len(rows)], policy.log_prob(loss.u[rows])
                value = -gradest.clipped_surrogate(log_prob, reference, loss.advantage[rows], clip=self.clip)
                whole = value - self.entropy * policy.entropy().mean()
                outside = gradest.out_of_range_ratio(log_prob.detach(), reference, clip=self.clip)
            else:
                action = policy.mean + policy.logstd.exp() * loss.eps[rows]
                whole = value = gradest.alpha_policy_loss(action, loss.target[rows])
            (grad,) = torch.autograd.grad(whole, params)
            adam, norm = self.options["optimizer"].step_(flat, adam, grad, 0.01)
            place += len(rows)
            for name, figure in (("loss", value.detach()), ("norm", norm), ("outside", outside)):
                figures[name].append(figure)
        shape = len(order), -1
        steps = {name: torch.stack(each).view(shape) for name, each in figures.items()}
        return {"parameters": flat, "m": adam.m, "v": adam.v, **steps}, adam.step


cases = st.builds(
    Case,
    inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(2, 70), max_size=3).map(tuple),
    actions=st.integers(1, 21),
    activation=st.sampled_from(ACTIVATIONS),
    layer_norm=st.booleans(),
    spread=st.booleans(),
    surrogate=st.booleans(),
    entropy=st.sampled_from([0.0, 0.1]),
    clip=st.sampled_from([0.05, 0.2, 1.5]),
    distance=st.sampled_from([0.1, 1.0]),
    bounds=st.sampled_from([None, (-0.4, 0.5), (0.2, 0.4)]),
    rows=st.integers(1, 200),
    passes=st.integers(1, 3),
    minibatches=st.integers(1, 6),
    decay=st.sampled_from([0.0, 0.1]),
    max_norm=st.sampled_from([0.1, 1e3]),
    steps=st.sampled_from([0, 7]),
    seed=st.integers(0, 2**31),
)


@given(cases)
@settings(max_examples=150, deadline=None)
@example(Case(hidden=(), actions=1, rows=1))
@example(Case(hidden=(), actions=1, rows=1, spread=False, surrogate=False, steps=7))
@example(Case(inputs=37, hidden=(128, 64, 32), actions=8, rows=512, entropy=0.01))
@example(Case(inputs=37, hidden=(128, 64, 32), actions=8, rows=512, minibatches=1, spread=False, surrogate=False))
def test_in_double_precision_it_is_torchs_fit(case):
    """Parameters, moments, losses, norms and shares of clipped rows to 1e-10, with the same number of steps."""
    assume(is_well_posed(case.hidden, case.activation, case.layer_norm, case.steps))
    data = case.data()
    before = [part.clone() for part in (data[0], data[1].m, data[1].v, *data[2:4])]
    expected, steps = case.by_autograd(data)
    # Adam's first steps bring gradients that are zero but for rounding to size.
    assume(case.steps or not _vanishes(case, expected))
    found, ours = case.fit(data)
    assert ours == steps and found.keys() == expected.keys()
    for name, part in expected.items():
        torch.testing.assert_close(found[name], part, rtol=1e-10, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}")
    assert all(map(torch.equal, before, (data[0], data[1].m, data[1].v, *data[2:4]))), "arguments stay as they are"


def _vanishes(case, expected):
    """Whether some gradient was small beside rounding: its second moment says so."""
    v = expected["v"]
    return bool(((v > 0) & (v < 1e-20)).any())


@given(cases)
@settings(max_examples=30, deadline=None)
def test_torchs_operations_do_the_same(case):
    """The gradients by hand and by parts that ``fit_policy_`` takes without compiled code."""
    assume(is_well_posed(case.hidden, case.activation, case.layer_norm, case.steps))
    flat, adam, *rest = data = case.data()
    expected, steps = case.by_autograd(data)
    assume(case.steps or not _vanishes(case, expected))
    flat, adam = flat.clone(), adam.clone()
    adam, losses = fit_policy_(case.actor, flat, adam, *rest, native=False, **case.options)
    assert adam.step == steps
    for name, part in {"parameters": flat, "m": adam.m, "v": adam.v, "loss": losses}.items():
        torch.testing.assert_close(part, expected[name], rtol=1e-10, atol=1e-10)


@needs_extended
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_as_accurate_as_torchs(activation):
    """In double precision, relative to the terms whose sums they are, where little or nothing of these is left."""
    found = {"torch": [], "native": []}
    for seed in range(12 * len(WIDTHS)):
        # One step from moments of zero without clipping: the first moment is 0.3 of the gradient.
        case = Case(1 + seed % 7, WIDTHS[seed % len(WIDTHS)], 3, activation, spread=False, surrogate=False, bounds=None)
        case = dataclasses.replace(case, rows=1 + seed % 80, passes=1, minibatches=1, max_norm=1e9, seed=seed)
        data = flat, _, x, _, loss = case.data()
        mlp = case.actor.mlp
        network, logstd = flat.split([mlp.num_params, case.actions])
        target = extended(loss.target) - np.exp(extended(logstd)) * extended(loss.eps)
        exact = gradient(mlp, network, x, lambda out, target=target: (out - target) * 2 / len(out))
        for how, each in found.items():
            result, _ = case.fit(data) if how == "native" else case.by_autograd(data)
            each.extend(errors(mlp, result["m"][: mlp.num_params] / 0.3, exact))
    compiled_is_no_less_accurate(found)


@pytest.mark.parametrize("surrogate", [True, False])
@pytest.mark.parametrize("spread", [True, False])
def test_single_precision_is_no_less_accurate_than_torchs(spread, surrogate):
    """The median error of one step over many policies and data, against double precision; the gradients are m."""
    errors = {"torch": [], "native": []}
    for seed in range(96):
        inputs, hidden = ((37, (128, 64, 32)), (20, (48,)), (60, (100, 50, 25)))[seed % 3]
        case = Case(inputs, hidden, 8, ACTIVATIONS[seed % 4], seed % 8 < 4, spread, surrogate, entropy=0.01)
        case = dataclasses.replace(case, rows=512, minibatches=1, passes=1, bounds=(-5.0, 2.0), seed=seed)
        # From the numbers as rounded: log-densities have differences of large numbers.
        data = case.data(torch.float32)
        exact, _ = case.by_autograd(_double(data))
        for how, found in errors.items():
            result, _ = case.fit(data) if how == "native" else case.by_autograd(data)
            found.append([_distance(result[name], exact[name]) for name in ("m", "v", "loss", "norm")])
    torch_, native = (np.median(errors[how], axis=0) for how in ("torch", "native"))
    assert (native[:2] <= torch_[:2]).all() and (native < 2e-6).all(), (torch_, native)


def _double(data):
    flat, adam, x, order, loss = data
    loss = type(loss)(*(part.double() if isinstance(part, torch.Tensor) else part for part in loss))
    return flat.double(), Adam(adam.m.double(), adam.v.double(), adam.step), x.double(), order, loss


def _distance(a, b):
    return float((a.double() - b).norm() / b.norm())


@given(cases, st.integers(0, 15))
@settings(max_examples=15, deadline=None)
def test_bits_depend_on_nothing_around(case, offset):
    """Not on where arrays lie, on what was computed before, or on what other threads do."""
    data = case.data(torch.float32)
    expected, _ = case.fit(data)
    flat, adam, x, order, loss = data
    moved = (
        moved_by(flat, offset),
        Adam(moved_by(adam.m, offset), moved_by(adam.v, offset), adam.step),
        moved_by(x, offset),
    )
    elsewhere = type(loss)(*(moved_by(part, offset) if isinstance(part, torch.Tensor) else part for part in loss))
    found = [case.fit((*moved, order, elsewhere))[0]]
    assert not torch.isfinite(case.fit((flat, adam, x * torch.nan, order, loss))[0]["parameters"]).all()
    found.append(case.fit(data)[0])
    found += in_threads(lambda: case.fit(data)[0])
    assert len(found) == 5
    assert all(torch.equal(part, other[name]) for other in found for name, part in expected.items())


@given(
    cases,
    st.sampled_from(["x", "parameters", "m", "v", "u", "advantage", "reference", "eps", "target"]),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_what_is_not_finite_does_not_pass_for_a_number(case, where, value, place):
    """One such number: parameters that torch's operations leave without a finite value have none here either."""
    data = case.data()
    flat, adam, x, _, loss = data
    arrays = {"x": x, "parameters": flat, "m": adam.m, "v": adam.v, **loss._asdict()}
    assume(where in arrays)
    arrays[where].view(-1)[place % arrays[where].numel()] = value
    with gradest.allow_nan():
        expected, _ = case.by_autograd(data)
    found, _ = case.fit(data)
    for name in ("parameters", "m", "v", "loss", "norm"):
        assert torch.isfinite(expected[name]).all() or not torch.isfinite(found[name]).all(), name


def test_arrays_that_do_not_fit_are_refused():
    case = Case()
    flat, adam, x, order, loss = case.data()

    def fit(flat=flat, adam=adam, x=x, loss=loss):
        fit_policy_natively_(case.actor, flat, adam, x, order, loss, **case.options)

    with pytest.raises(ValueError, match=r"x is torch\.float64\[50, 4\]; expected torch\.float64\[50, 5\]"):
        fit(x=x[:, :4])
    with pytest.raises(ValueError, match=r"u is torch\.float32\[50, 3\]; expected torch\.float64"):
        fit(loss=loss._replace(u=loss.u.float()))
    with pytest.raises(ValueError, match=r"reference is .*\[99\]; expected .*\[100\]"):
        fit(loss=loss._replace(reference=loss.reference[1:]))
    with pytest.raises(ValueError, match=r"target is .*expected .*\[50, 3\]"):
        fit(loss=SquaredError(loss.u, loss.u[:, :1]))
    with pytest.raises(ValueError, match="parameters is"):
        fit(flat=flat[:-1])
    with pytest.raises(ValueError, match=r"m is .*contiguous"):
        fit(adam=adam._replace(m=adam.m.repeat_interleave(2)[::2]))


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("spread", [False, True])
def test_distributions_of_observations_of_any_shape(spread, native):
    case = Case(spread=spread)
    flat, _, x, *_ = case.data()
    wide = x.view(10, 5, 5)
    expected = case.actor(case.actor.split(flat), wide)
    found = distribution(case.actor, flat.requires_grad_(), wide, native=native)
    for part, other in zip(found, expected, strict=True):
        assert not part.requires_grad
        torch.testing.assert_close(part, other.detach(), rtol=1e-12, atol=1e-12)


WAYS = (
    {},
    {"state_dependent_std": True, "entropy_coef": 0.1, "near": "guarded", "actor_minibatches": 3, "attempts": 1},
    {"adaptive_lr": False, "attempts": 4, "judged_by": "last_pass", "alpha_lr": 0.1, "actor_lr": 0.1, "clip": 0.02},
    {"state_dependent_std": False, "near": "alpha", "actor_minibatches": 2, "weight_decay": 0.1, "logstd_max": 0.0},
    {"judged_by": "result", "alpha_rate": "remembered", "alpha_lr": 0.1, "attempts": 3, "adaptive_lr": False},
)
"""Settings of both algorithms; each takes those that it has."""


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("name", FITTED)
def test_every_algorithm_learns_as_with_torch(worlds, name, ways):
    learns_the_same(worlds, name, "policy_fit", 1e-8, **ways)


@pytest.mark.parametrize("ways", WAYS[:2])
@pytest.mark.parametrize("name", FITTED)
def test_every_algorithm_is_the_same_on_more_cores_and_resumed(worlds, name, ways, monkeypatch):
    """With everything compiled; four updates, and two and two."""
    algorithm = build(name, policy_fit="native", policy_step="native", critic_fit="native", **ways)

    def on_cores(cores, state, updates):
        monkeypatch.setenv("DIFFSIM_NUM_THREADS", str(cores))
        return run(algorithm, state, updates)[0]

    alone = on_cores(1, algorithm.init(worlds(), 5), 4)
    assert same_bits(alone, on_cores(2, algorithm.init(worlds(), 5), 4))
    half = on_cores(2, algorithm.init(worlds(), 5), 2)
    restored = algorithm.from_arrays(algorithm.init(worlds(), 6), algorithm.to_arrays(half))
    assert same_bits(alone, on_cores(1, restored, 2))


@pytest.mark.parametrize("name", FITTED)
def test_native_is_used_where_it_is_asked_for(worlds, name, monkeypatch):
    """``auto`` is native here; ``torch``, the default, is not."""
    calls = []
    original = _native_policy_fit.fit_policy_natively_
    counted = lambda *a, **k: calls.append(type(a[5])) or original(*a, **k)  # noqa: E731
    monkeypatch.setattr(_native_policy_fit, "fit_policy_natively_", counted)
    used = {}
    for how in ("torch", "native", "auto"):
        algorithm = build(name, policy_fit=how, attempts=1)
        run(algorithm, algorithm.init(worlds(), 1), 2)
        used[how] = list(calls)
        calls.clear()
    # PPO adapts its rate after each of two epochs; GI-PPO has a call for each phase.
    expected = {"ppo": [Surrogate] * 4, "gippo": [SquaredError, Surrogate] * 2, "rpo": [ReusedGradients] * 2}[name]
    assert not used["torch"] and used["native"] == used["auto"] == expected
    assert build(name).config.policy_fit == "auto"


def test_what_compiled_code_cannot_fit_is_refused_or_left_to_torch(monkeypatch):
    """``native`` says why, ``auto`` takes torch's operations."""
    actor, cpu, cuda = Case().actor, torch.device("cpu"), torch.device("cuda:1")
    sapo = build("sapo", encoder_points=(8,), encoder_latent=4, encoder_vector=4)
    encoded = sapo.actor(sapo.init(diffsim_core.make("beacon", num_envs=2), 0).env)
    for config in (PPOConfig, GIPPOConfig):
        native, auto = (config(policy_fit=how) for how in ("native", "auto"))
        assert fits_policy_natively(native, actor, cpu) and fits_policy_natively(auto, actor, cpu)
        with pytest.raises(ValueError, match="policy_fit is native, but the network has an encoder; use policy_fit=au"):
            fits_policy_natively(native, encoded, cpu)
        with pytest.raises(ValueError, match="the device is cuda:1"):
            fits_policy_natively(native, actor, cuda)
        assert not fits_policy_natively(auto, encoded, cpu) and not fits_policy_natively(auto, actor, cuda)
    monkeypatch.setattr(_choice, "size", lambda: 2)
    with pytest.raises(ValueError, match="this run has 2 processes"):
        fits_policy_natively(native, actor, cpu)
    assert not fits_policy_natively(auto, actor, cpu)


@pytest.mark.parametrize("name", FITTED)
def test_training_does_not_begin_with_what_is_refused(worlds, name, monkeypatch):
    env = worlds()
    algorithm = build(name, policy_fit="native")
    monkeypatch.setattr(_choice, "size", lambda: 2)
    with pytest.raises(ValueError, match="policy_fit is native, but this run has 2 processes"):
        algorithm.init(env, 0)
