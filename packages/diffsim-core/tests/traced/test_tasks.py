"""Every rigid-body task: compiled steps against the task's own code in PyTorch, at ordinary and hostile states."""

from __future__ import annotations

import warnings

import pytest
import torch

import diffsim_core
from diffsim_core import rollout, stop_gradient
from diffsim_core.check import check_env
from diffsim_core.traced import differentiated

TASKS = [
    ("cartpole", {}),
    ("hopper", {}),
    ("hopper", {"reward": "gymnasium"}),
    ("half_cheetah", {}),
    ("half_cheetah", {"action_penalty": 0.0}),
    ("walker2d", {"early_termination": False}),
    ("ant", {}),
    ("ant", {"reward": "gymnasium", "random_start": False}),
    ("humanoid", {"substeps": 8}),
    ("humanoid_mtu", {"substeps": 8, "height_reward": True}),
    ("dejong", {}),
    ("ackley", {"dim": 3}),
]
N = 13
"""Not a multiple of any number of lanes."""


@pytest.fixture(params=TASKS, ids=lambda task: "-".join(map(str, (task[0], *task[1].values()))))
def env(request):
    name, options = request.param
    with warnings.catch_warnings(action="error"):
        env = diffsim_core.make(name, num_envs=N, dtype="float64", fused=True, **options)
        env.step(env.reset(0)[0], torch.zeros(N, env.spec.num_actions, dtype=torch.float64))
    assert env.fused
    return env


def states(env):
    """States by name, from which both ways of taking a step must agree."""
    generator = torch.Generator().manual_seed(0)
    start, _ = env.reset(3)
    action = 1.3 * (2 * torch.rand(N, env.spec.num_actions, dtype=torch.float64, generator=generator) - 1)
    yield "at the start", start, action
    state = start
    for _ in range(12):
        state, _ = env._step(state, action.flip(0))
    yield "on the way", state, action
    late = torch.where(torch.arange(N) % 2 == 0, env.spec.horizon - 1, state.t)
    yield "at the time limit", state._replace(t=late.to(torch.int32)), action

    def changed(function):
        return state._replace(physics=type(state.physics)(*map(function, state.physics)))

    still = [x if k == 0 else torch.zeros_like(x) for k, x in enumerate(start.physics)]
    yield "at rest", start._replace(physics=type(start.physics)(*still)), torch.zeros_like(action)
    yield "at zero", changed(torch.zeros_like), torch.ones_like(action)
    yield "fallen", changed(lambda x: x - 0.4), action
    yield "fast", changed(lambda x: 5 * x), action
    bad = torch.arange(N) % 5 == 2

    def spoilt(value):
        return changed(lambda x: torch.where(bad[:, None], value, x))

    yield "with an infinite world", spoilt(torch.inf), action
    yield "with a world that is no number", spoilt(torch.nan), action
    yield "with an action that is no number", state, torch.where(bad[:, None], torch.nan, action)


def test_steps_and_gradients_agree(env):
    """To 1e-10 of a world's largest number; a world that left the finite range may have any gradient of its own."""
    for name, state, action in states(env):
        one, two = differentiated(env._step, state, action), differentiated(env._fused._node.step, state, action)
        assert one.values.keys() == two.values.keys() and one.gradients.keys() == two.gradients.keys()
        for part, a in one.values.items():
            assert_close(a, two.values[part], f"{part} {name}")
        kept = ~one.values["diverged"]
        for part, a in one.gradients.items():
            b = two.gradients[part]
            assert_close(a[kept], b[kept], f"the gradient of {part} {name}")
        assert two.gradients["action"].isfinite().all()


def assert_close(a, b, name):
    assert a.shape == b.shape and a.dtype == b.dtype, name
    if a.is_floating_point() and a.numel():
        scale = a.abs().nan_to_num(0, 0, 0).reshape(len(a), -1).amax(1) if a.ndim else a.abs()
        allowed = 1e-10 * scale.clamp(min=1e-3).reshape((-1,) + (1,) * (a.ndim - 1))
        same = (a - b).abs() <= allowed
        same |= (a == b) | (a.isnan() & b.isnan())
        assert same.all(), f"{name}: {a[~same][:3].tolist()} and {b[~same][:3].tolist()}"
    else:
        assert torch.equal(a, b), name


def test_without_gradients_the_bits_are_the_same(env):
    for name, state, action in states(env):
        taken = env.step(state, action)
        leaf = action.clone().requires_grad_()
        again = env.step(state, leaf)
        for (part, a), (_, b) in zip(*map(leaves, (taken, again)), strict=True):
            assert torch.equal(a.nan_to_num(7.0), b.detach().nan_to_num(7.0)), f"{part} {name}"


def leaves(taken):
    from diffsim_core._tree import tree_leaves

    return list(tree_leaves(tuple(taken)))


@pytest.mark.parametrize("name", ["cartpole", "hopper", "ant"])
def test_keeps_every_promise(name):
    """Independence of worlds, of their number, containment, resets, clipping, the same bits again; in float32."""
    make = lambda n: diffsim_core.make(name, num_envs=n, fused=True, threads=2)  # noqa: E731
    env = make(16)
    check_env(env, fewer=make(5))
    assert env.fused


def test_a_window_of_steps_with_resets_has_the_gradient_of_separate_steps():
    found = []
    for fused in (False, True):
        env = diffsim_core.make("hopper", num_envs=16, dtype="float64", fused=fused, episode_length=9)
        weights = torch.linspace(-0.4, 0.4, 33, dtype=torch.float64).reshape(11, 3).requires_grad_()

        def policy(obs, weights=weights):
            return torch.tanh(obs @ weights)

        window, state, _ = rollout(env, policy, *env.reset(1), 24)
        (window.reward.mean() + 0.1 * window.final_obs.mean() + 0.1 * window.obs.mean()).backward()
        found.append((window.reward.detach(), window.done, stop_gradient(state.physics.q), weights.grad))
    assert found[0][1].any() and env.fused
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
