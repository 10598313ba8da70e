"""SoftJumper: the environment's promises, reward and observation by hand, and gradients over a window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffsim_core import TaskEnv, to_numpy
from diffsim_core.check import check_env, check_gradients
from diffsim_mpm.tasks import soft_jumper

FACTORIES = {"soft_jumper": soft_jumper.make_task, "soft_jumper_small": soft_jumper.make_small}


def make(name="soft_jumper_small", num_envs=4, arrays="torch", dtype="float32", **options):
    """An environment without the registry, which knows only installed packages."""
    task = FACTORIES[name](num_envs=num_envs, device="cpu", dtype=dtype, threads=1, **options)
    return TaskEnv(task, num_envs, arrays=arrays, dtype=dtype)


def test_sizes_are_the_papers():
    env = make("soft_jumper")
    model = env.task.dynamics.model
    assert (model.num_nodes, model.mesh.num_tets, env.spec.num_actions) == (204, 444, 222)
    assert env.spec.obs_shapes == {"features": (228,), "points": (204, 3)}
    assert (env.spec.horizon, env.task.dynamics.substeps) == (300, 80) and env.spec.dt == pytest.approx(1 / 60)
    assert make("soft_jumper", obs="features").spec.num_obs == 228
    flat = make("soft_jumper", obs="flat").spec
    assert flat.num_obs == 228 + 6 * 204 == len(flat.obs_names)


@pytest.mark.parametrize("obs", soft_jumper.OBSERVATIONS)
def test_promises(obs):
    check_env(make(num_envs=9, obs=obs), fewer=make(num_envs=3, obs=obs))


@pytest.mark.parametrize("warmup", [0, 20])
def test_gradients_in_flight_and_on_the_ground(warmup):
    """The start is strained and unactivated; after a third of a second the legs stand on the ground and slide."""
    env = make(dtype="float64", obs="features", substeps=16, num_envs=4)
    report = check_gradients(env, warmup=warmup)
    assert report.max_rel_error < 1e-6 and report.worlds >= 3
    assert report.active_contacts == 0 if warmup == 0 else report.active_contacts > 5


@pytest.mark.parametrize("name", ["soft_jumper_small", pytest.param("soft_jumper", marks=pytest.mark.slow)])
def test_float32_gradients_point_the_same_way_after_eight_steps(name):
    found = []
    for dtype in ("float64", "float32"):
        env = make(name, dtype=dtype, obs="features", num_envs=8)
        state, _ = env.reset(0)
        kind = getattr(torch, dtype)
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(28, 8, env.spec.num_actions, generator=generator, dtype=torch.float64) * 2 - 1
        actions = noise.to(kind).requires_grad_()
        total = torch.zeros((), dtype=kind)
        for k in range(28):
            state, transition = env.step(state, actions[k].detach() if k < 20 else actions[k])
            total = total + transition.reward.sum() * (k >= 20)
        found.append(torch.autograd.grad(total, actions)[0].double())
    a, b = found
    assert float((a * b).sum() / (a.norm() * b.norm())) > 0.999


def test_reward_and_observation_by_hand():
    env = make(obs="points", dtype="float64")
    state, obs = env.reset(1)
    start = to_numpy(state.physics.x).mean(axis=1)
    np.testing.assert_allclose(to_numpy(obs["points"]), 0.1 * to_numpy(state.physics.x))
    assert (to_numpy(obs["features"])[:, 3:] == 0).all()
    action = torch.linspace(-1, 1, 4 * 63, dtype=torch.float64).reshape(4, 63)
    for _ in range(3):
        state, step = env.step(state, action)
    x, v, a = to_numpy(state.physics.x).mean(axis=1), to_numpy(state.physics.v).mean(axis=1), to_numpy(action)
    expected = v[:, 0] + 3 * (x[:, 2] - start[:, 2]) - 0.001 * (a**2).sum(axis=1)
    np.testing.assert_allclose(to_numpy(step.reward), expected, rtol=1e-12)
    features = np.concatenate([0.1 * x, 0.1 * v, a], axis=1)
    np.testing.assert_allclose(to_numpy(step.obs["features"]), features, rtol=1e-12)
    np.testing.assert_allclose(to_numpy(step.metrics["speed"]), v[:, 0], rtol=1e-12)
    assert not bool(step.terminated.any())


def test_starts_are_within_their_bounds():
    env = make("soft_jumper", num_envs=200, obs="features")
    x = to_numpy(env.reset(2)[0].physics.x)
    rest = env.task.dynamics.model.mesh.x
    stretch = np.ptp(x[:, :, 0], axis=1) / np.ptp(rest[:, 0])
    assert 0.9 <= stretch.min() < 0.92 and 1.08 < stretch.max() <= 1.1
    for axis, low, high in ((0, -0.8, 0.8), (1, -0.8, 0.8)):
        middle = (x[:, :, axis].max(axis=1) + x[:, :, axis].min(axis=1)) / 2 / stretch
        assert low <= middle.min() < 0.9 * low and 0.9 * high < middle.max() <= high
    lowest = x[:, :, 2].min(axis=1) / stretch
    assert lowest.min() + 1e-6 >= 0.2 and lowest.max() <= 0.6 + 1e-6
    calm = make("soft_jumper", obs="features", random_start=False)
    x = to_numpy(calm.reset(0)[0].physics.x)
    np.testing.assert_allclose(np.ptp(x, axis=1), np.broadcast_to(np.ptp(rest, axis=0), (4, 3)), rtol=1e-6)


def test_the_table_stands_and_resets_may_be_staggered():
    """Left alone it stands still after five seconds; worlds are reset each at its own time."""
    env = make("soft_jumper", num_envs=2, obs="features", random_start=False, substeps=40)
    state, _ = env.reset(0)
    nothing = torch.zeros(2, 222)
    for _ in range(299):
        state, step = env.step(state, nothing)
    assert abs(to_numpy(step.metrics["speed"])).max() < 0.02
    height = to_numpy(state.physics.x)[0, :, 2]
    assert 0.03 < height.min() < 0.05 and 1.6 < height.max() < 1.85
    state = state._replace(t=torch.tensor([299, 150], dtype=torch.int32))
    state, step = env.step(state, nothing)
    assert step.truncated.tolist() == [True, False] and state.t.tolist() == [0, 151]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs": "pixels"}, "obs='pixels' must be one of points, flat, features"),
        ({"episode_length": 0}, "episode_length=0"),
        ({"substeps": 2}, "take substeps="),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_jax_and_torch_agree():
    import jax

    seen = []
    with jax.enable_x64(True):
        for arrays in ("torch", "jax"):
            env = make(arrays=arrays, dtype="float64", obs="flat")
            state, _ = env.reset(3)
            step = jax.jit(env.step) if arrays == "jax" else env.step
            for k in range(3):
                action = env.xp.asarray(np.sin(np.arange(4.0 * 63).reshape(4, 63) + k))
                state, transition = step(state, action)
            seen.append([np.asarray(a) for a in (transition.reward, transition.final_obs, state.physics.x)])
    for a, b in zip(*seen, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
