"""Steps of a policy by compiled code, against torch's operations."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import diffsim_core
from diffrl_algos.torch._critic import Critic
from diffrl_algos.torch._gate import gate
from diffrl_algos.torch._mlp import MLP
from diffrl_algos.torch._policy import GaussianActor, native_steps

from .test_family import NAMES, build, learns_the_same, run, same_bits

ACTING = [name for name in NAMES if hasattr(build(name).config, "policy_step")]
"""Algorithms with a Gaussian actor."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A policy, and where it acts."""

    inputs: int = 5
    hidden: tuple[int, ...] = (17, 9)
    actions: int = 3
    activation: str = "elu"
    layer_norm: bool = True
    spread: bool = True
    push: bool = True
    rows: int = 20
    seed: int = 0

    @property
    def actor(self):
        outputs = self.actions * (2 if self.spread else 1)
        mlp = MLP((self.inputs, *self.hidden, outputs), self.activation, self.layer_norm)
        return GaussianActor(mlp, self.spread, (-0.5, 0.4))

    def data(self, dtype=torch.float64):
        """Parameters, observations, noise, push and ``lost``, and weights of the four outputs."""
        g = torch.Generator().manual_seed(self.seed)

        def normal(*shape):
            return torch.randn(shape, generator=g, dtype=torch.float64)

        flat = self.actor.init(g, logstd=0.0, gain=1.0).double()
        flat = flat + 0.3 * normal(len(flat))
        wide = (self.rows, self.actions)
        parts = [flat, normal(self.rows, self.inputs), normal(*wide), 0.1 * normal(*wide), torch.zeros(self.rows)]
        return [part.to(dtype) for part in parts], [normal(*wide).to(dtype) for _ in range(4)]


def steps(how, case, parts, weights):
    """Outputs of a step, and the gradient of their weighted sum with respect to all that has one."""
    flat, x, eps, push, lost = (part.clone().requires_grad_() for part in parts)
    actor = case.actor
    if how == "native":
        noise = eps.detach() if case.spread else eps * actor.split(flat)[1].exp()
        mean, logstd, u, action = native_steps(actor, flat)(x, noise, push if case.push else None, lost)
    else:
        params = actor.split(flat)
        mean, logstd = actor(params, x)
        u = mean + (eps.detach() if case.spread else eps) * logstd.exp() + (push if case.push else 0.0)
        action = gate(torch.tanh(u), lost)
        logstd = logstd if case.spread else None
    outputs = [part for part in (mean, logstd, u, action) if part is not None]
    total = sum((w * part).sum() for w, part in zip(weights, outputs, strict=False) if w is not None)
    wanted = [flat, x, lost, *([push] if case.push else []), *([] if case.spread else [eps])]
    grads = torch.autograd.grad(total, wanted, allow_unused=True)
    return outputs, [torch.zeros_like(w) if g is None else g for g, w in zip(grads, wanted, strict=True)]


cases = st.builds(
    Case,
    inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(2, 70), max_size=3).map(tuple),
    actions=st.integers(1, 21),
    activation=st.sampled_from(["elu", "silu", "relu", "tanh"]),
    layer_norm=st.booleans(),
    spread=st.booleans(),
    push=st.booleans(),
    rows=st.integers(1, 150),
    seed=st.integers(0, 2**31),
)


@given(cases, st.lists(st.booleans(), min_size=4, max_size=4), st.sampled_from([0.0, 1e12, torch.nan]))
@settings(max_examples=60, deadline=None)
@example(Case(hidden=(), actions=1, spread=False, rows=1), [True] * 4, 0.0)
@example(Case(hidden=(128, 64, 32), inputs=37, actions=8, rows=64), [True] * 4, torch.nan)
def test_in_double_precision_it_is_torchs_step(case, weighs, blocked):
    """Every output, and every gradient, to 1e-10; where some outputs have none, and where the gate blocks a row."""
    parts, weights = case.data()
    weights[-1 if case.spread else 2][0] += blocked  # of the action
    weights = [w if weigh else None for w, weigh in zip(weights, weighs, strict=True)]
    if not any(w is not None for w in weights[: 4 if case.spread else 3]):
        weights[0] = torch.ones(case.rows, case.actions, dtype=torch.float64)
    expected, found = (steps(how, case, parts, weights) for how in ("torch", "native"))
    for a, b in zip([*expected[0], *expected[1]], [*found[0], *found[1]], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-10 * max(1.0, float(a.detach().abs().max())))


@given(cases)
@settings(max_examples=15, deadline=None)
def test_a_rows_bits_do_not_depend_on_the_others(case):
    parts, weights = case.data(torch.float32)
    outputs, (_, by_x, *_) = steps("native", case, parts, weights)
    again, (grad, *_) = steps("native", case, parts, weights)
    assert all(map(torch.equal, outputs, again))
    assert torch.equal(grad, steps("native", case, parts, weights)[1][0])
    for row in {0, case.rows // 2, case.rows - 1}:
        flat, *rest = parts
        alone = [flat, *(part[row : row + 1] for part in rest)]
        one, (_, by_x_alone, *_) = steps("native", case, alone, [w[row : row + 1] for w in weights])
        assert all(torch.equal(a[row : row + 1], b) for a, b in zip(outputs, one, strict=True))
        assert torch.equal(by_x[row : row + 1], by_x_alone)


@given(cases, st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=40, deadline=None)
@example(Case(hidden=(), rows=1), torch.float32)
@example(Case(activation="silu", layer_norm=False, rows=140), torch.float32)
def test_activations_that_are_kept_have_the_bits_of_a_network_that_goes_forward_again(case, dtype):
    """Also where the steps of other rows come between forward and back, and where the way back is gone twice."""
    (flat, x, eps, push, _), weights = case.data(dtype)
    push = push if case.push else None
    code = native_steps(case.actor, flat).code
    kept = code.borrow(2, case.rows)
    first, second = kept.tensor.fill_(torch.nan).view(2, -1)
    outputs, *others = (code.outputs(case.rows) for _ in range(3))
    code.forward(x, eps, push, outputs, first)
    code.forward(-x, eps, push, others[0], second)
    code.forward(x, eps, push, others[1])
    assert all(map(torch.equal, outputs, others[1]))
    found = []
    for activations in (None, first, first):
        results = [torch.full_like(like, torch.nan) for like in (code.ours, x, eps, x[:, 0])]
        names = ("by_parameters", "by_x", "by_u", "lost")
        code.back(x, eps, push, weights[-len(outputs) :], activations, **dict(zip(names, results, strict=True)))
        found.append(results)
    for results in found[1:]:
        assert all(map(torch.equal, found[0], results))


@pytest.mark.parametrize("spread", [True, False])
def test_single_precision_is_no_less_accurate_than_torchs(spread):
    """The median error of outputs and gradients over many policies, against double precision."""
    errors = {"torch": [], "native": []}
    for seed in range(30):
        case = Case(37, (128, 64, 32), 8, ("elu", "silu", "tanh")[seed % 3], True, spread, rows=64, seed=seed)
        exact = steps("torch", case, *([part.double() for part in parts] for parts in case.data(torch.float32)))
        for how, found in errors.items():
            result = steps(how, case, *case.data(torch.float32))
            pairs = zip([*result[0], *result[1][:2]], [*exact[0], *exact[1][:2]], strict=True)
            found.append([float((a.double() - b).detach().norm() / b.detach().norm()) for a, b in pairs])
    torch_, native = (torch.tensor(errors[how]).median(0).values for how in ("torch", "native"))
    assert (native <= torch_).all() and (native < 1e-5).all(), (torch_, native)


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("activation", ["elu", "silu", "relu", "tanh"])
def test_values_and_their_gradients_are_torchs(activation, layer_norm):
    """Of several critics, for observations of any shape; more rows than a block has. Parameters have no gradient."""
    critic, g = Critic(MLP((7, 33, 18, 1), activation, layer_norm), count=2), torch.Generator().manual_seed(0)
    flat = critic.init(g, gain=1.0).double().requires_grad_()
    x = torch.randn(3, 50, 7, generator=g, dtype=torch.float64)
    weights = torch.randn(2, 3, 50, generator=g, dtype=torch.float64)
    found = []
    for native in (False, True):
        leaf = x.clone().requires_grad_()
        values = critic.values(flat, leaf, native=native)
        found.append((values, *torch.autograd.grad((weights * values).sum(), leaf)))
    assert found[1][0].shape == (2, 3, 50)
    torch.testing.assert_close(found[1], found[0], rtol=1e-11, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(critic.values(flat, x, native=True), found[1][0])


def test_what_is_no_number_has_no_value():
    critic = Critic(MLP((3, 8, 1)))
    flat, x = critic.init(torch.Generator().manual_seed(0), gain=1.0), torch.zeros(4, 3)
    x[1, 2] = torch.nan
    for native in (False, True):
        assert critic.values(flat, x, native=native)[0].isnan().tolist() == [False, True, False, False]


def test_a_second_derivative_is_refused():
    case = Case()
    (flat, x, eps, *_), _ = case.data()
    action = native_steps(case.actor, flat.requires_grad_())(x.requires_grad_(), eps)[3]
    (grad,) = torch.autograd.grad(action.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_arrays_that_do_not_fit_are_refused():
    case = Case()
    (flat, x, eps, *_), _ = case.data()
    act = native_steps(case.actor, flat)
    with pytest.raises(ValueError, match=r"x is torch\.float64\[20, 4\]; expected torch\.float64\[20, 5\]"):
        act(x[:, :4], eps)
    with pytest.raises(ValueError, match=r"eps is torch\.float32"):
        act(x, eps.float())


@pytest.mark.parametrize("name", ACTING)
def test_every_algorithm_learns_as_with_torch(worlds, name):
    learns_the_same(worlds, name, "policy_step", 1e-7)


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("name", ACTING)
def test_every_algorithm_has_the_same_bits_again_and_resumed(worlds, name, spread):
    algorithm = build(name, policy_step="native", critic_fit="native", state_dependent_std=spread)
    whole, _ = run(algorithm, algorithm.init(worlds(), 5), 4)
    half, _ = run(algorithm, algorithm.init(worlds(), 5), 2)
    restored = algorithm.from_arrays(algorithm.init(worlds(), 6), algorithm.to_arrays(half))
    assert same_bits(whole, run(algorithm, restored, 2)[0])


def test_it_is_used_where_it_is_asked_for(worlds, monkeypatch):
    from diffrl_algos.torch import _native_policy

    used = []
    call = _native_policy.NativeSteps.__call__
    monkeypatch.setattr(_native_policy.NativeSteps, "__call__", lambda *a, **k: used.append(1) or call(*a, **k))
    for name in ACTING:
        times = {}
        for how in ("torch", "native", "auto"):
            # Fits, and the values of critics, have a use for the steps, too.
            algorithm = build(name, policy_step=how, policy_fit="torch", critic_fit="torch")
            run(algorithm, algorithm.init(worlds(), 1), 2)
            times[how] = len(used)
            used.clear()
        # SAC begins with random actions, and DDCG rolls each window out a second time, without noise.
        steps = {"sac": 8, "ddcg": 32}.get(name, 16)
        assert times["torch"] == 0 and times["native"] == times["auto"] == steps, (name, times)
    assert build("shac").config.policy_step == "auto"


def test_an_encoder_is_refused_or_left_to_torch():
    states = {}
    for how in ("torch", "auto", "native"):
        algorithm = build("sapo", policy_step=how, encoder_points=(8,), encoder_latent=4)
        env = diffsim_core.make("beacon", num_envs=6)
        if how == "native":
            with pytest.raises(ValueError, match="policy_step is native, but the network has an encoder; use policy_"):
                algorithm.init(env, 0)
            continue
        states[how], _ = run(algorithm, algorithm.init(env, 0), 2)
    assert same_bits(states["torch"], states["auto"])
