"""Every rigid-body task: compiled steps against the task's own code in PyTorch, at ordinary and hostile states."""

from __future__ import annotations

import copy
import warnings
from typing import Any, NamedTuple

import pytest
import torch

import diffsim_core
from diffsim_core import ArraySpec, TaskEnv, rollout, stop_gradient, tree_map
from diffsim_core._traced import differentiated
from diffsim_core.check import check_env

TASKS = [
    ("cartpole", {}),
    ("hopper", {}),
    ("hopper", {"reward": "gymnasium"}),
    ("half_cheetah", {}),
    ("half_cheetah", {"action_penalty": 0.0}),
    ("walker2d", {"early_termination": False}),
    ("ant", {}),
    ("ant", {"reward": "gymnasium", "random_start": False}),
    ("humanoid", {"substeps": 16}),
    ("humanoid_mtu", {"substeps": 16, "height_reward": True}),
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


def test_constants_that_differ_from_world_to_world_get_gradients():
    ranges = {"link_density:torso": (0.8, 1.2), "contact_mu": (0.6, 1.0)}
    envs = [
        diffsim_core.make("hopper", num_envs=N, dtype="float64", fused=fused, randomize=ranges, episode_length=6)
        for fused in (True, False)
    ]
    (state, _), action = envs[0].reset(2), torch.full((N, 3), 0.4, dtype=torch.float64)
    for k in range(8):
        late = state._replace(t=torch.full_like(state.t, 5)) if k == 6 else state
        one, two = (differentiated(env.step, late, action) for env in envs)
        for name, gradient in two.gradients.items():
            assert_close(gradient, one.gradients[name], name)
        for name, value in two.values.items():
            assert_close(value, one.values[name], name)
        state, _ = envs[1].step(late, action)
    assert envs[0].fused and one.gradients["constants.params"].abs().max() > 0
    assert state.episode.min() >= 1


class Weightless(NamedTuple):
    x: Any


class Falling:
    """A simulator in NumPy without controls."""

    device, dtype, dt = "cpu", "float64", 0.1
    state_type, state_spec, control_spec = Weightless, (ArraySpec("x", (2, 3)),), (ArraySpec("u", (0,)),)

    def saved_size(self, num_worlds):
        return 1

    def step(self, state, control, out, ok, saved):
        out[0].array().numpy()[:] = 0.9 * state[0].array().numpy()
        ok.array().numpy()[:] = 1

    def vjp(self, state, control, ok, saved, out_cotangent, in_cotangent):
        in_cotangent[0].array().numpy()[:] = 0.9 * out_cotangent[0].array().numpy()


class Watching:
    """No actions, observations of several arrays, one of them handed on, a memory of two arrays, one of them unused."""

    name, num_actions, horizon, num_obs = "watching", 0, 3, 8
    obs_shapes = {"points": (2, 3), "sums": (2,)}  # noqa: RUF012

    def __init__(self):
        self.dynamics = Falling()

    def initial(self, xp, random):
        return (random.normal(0, (2, 3)),), {"goal": random.uniform(1, (2,)), "unused": random.uniform(2)}

    def control(self, xp, action):
        return (action,)

    def advance(self, xp, action, task):
        return {"goal": 0.5 * task["goal"], "unused": task["unused"] * 1.0 + 1.0}

    def observe(self, xp, physics, task):
        return {"points": physics.x, "sums": xp.sum(physics.x, axis=2) * task["goal"]}

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        return xp.sum(next_obs["sums"] ** 2, axis=1)

    def terminated(self, xp, physics, task):
        return xp.zeros_like(task["unused"], dtype=xp.bool)


def test_any_simulator_any_shapes_and_no_actions():
    one, two = (TaskEnv(Watching(), N, arrays="torch", dtype="float64", fused=fused) for fused in (True, False))
    state, _ = one.reset(0)
    none = torch.zeros(N, 0, dtype=torch.float64)
    for _ in range(5):
        a, b = (differentiated(env.step, state, none) for env in (one, two))
        for name in b.values:
            assert_close(b.values[name], a.values[name], name)
        for name in b.gradients:
            assert_close(b.gradients[name], a.gradients[name], name)
        state, _ = two.step(state, none)
    assert one.fused and state.episode.min() == 1


def test_copies_have_steps_of_their_own():
    env = diffsim_core.make("cartpole", num_envs=3, fused=True)
    state, _ = env.reset(0)
    expected = env.step(state, torch.ones(3, 1))[1]
    twin = copy.deepcopy(env)
    assert torch.equal(twin.step(state, torch.ones(3, 1))[1].obs, expected.obs) and twin.fused


@pytest.mark.parametrize("name", ["cartpole", "hopper", "ant"])
def test_rounding_is_no_larger_than_that_of_separate_steps(name):
    """Errors of float32 against float64 at 2,000 states: in the median at most a twentieth above PyTorch's."""
    exact = diffsim_core.make(name, num_envs=2000, dtype="float64", random_start=True)
    fused, separate = (diffsim_core.make(name, num_envs=2000, fused=fused) for fused in (True, False))
    state, _ = separate.reset(4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(15):
        action = 2 * torch.rand(2000, separate.spec.num_actions, generator=generator) - 1
        state, _ = separate.step(state, action)
    wide = tree_map(lambda x: x.double() if x.is_floating_point() else x, state)
    truth = differentiated(exact.step, wide, action.double())
    errors = {}
    for env in (fused, separate):
        found = differentiated(env.step, state, action)
        parts = [("final_obs", found.values, truth.values), ("reward", found.values, truth.values)]
        parts += [(part, found.gradients, truth.gradients) for part in truth.gradients]
        for part, ours, theirs in parts:
            gap = (ours[part].double() - theirs[part]).abs().reshape(2000, -1).amax(1)
            errors.setdefault(part, []).append(float(gap.median()))
    assert fused.fused
    for part, (ours, theirs) in errors.items():
        assert ours <= 1.05 * theirs, f"{part}: {ours:.3g} against {theirs:.3g}"
