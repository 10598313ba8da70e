"""A diverged world costs that world: contained, counted, reset, written to a file and seen again."""

from __future__ import annotations

import dataclasses
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from diffsim_core import TaskEnv, collect_divergences, load_divergences, replay, rollout, save_divergences
from diffsim_core._interop import from_numpy, to_numpy

from .pendulum import Pendulum, make_pendulum

pytestmark = pytest.mark.usefixtures("both_ways")

WEIGHTS = 0.5 * np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
BAD, STEPS = 3, 6


def start(env, qd: float | None):
    """Initial state and observation, with one world given an angular velocity."""
    state, obs = env.reset(0)
    if qd is not None:
        rates = to_numpy(state.physics.qd)
        rates[BAD, 1] = qd
        state = state._replace(physics=state.physics._replace(qd=from_numpy(rates, obs)))
    return state, obs


def run(arrays: str, qd: float | None):
    """Trajectory and gradient of the mean reward and final observation for a shared linear policy."""
    env = make_pendulum(8, arrays)
    state, obs = start(env, qd)
    if arrays == "torch":
        w = torch.tensor(WEIGHTS, requires_grad=True)
        seen, *_ = rollout(env, lambda obs: torch.tanh(obs @ w), state, obs, STEPS)
        (seen.reward.mean() + seen.final_obs.square().mean()).backward()
        return env, seen, w.grad.numpy()

    def objective(w):
        seen, *_ = rollout(env, lambda obs: jnp.tanh(obs @ w), state, obs, STEPS)
        return seen.reward.mean() + (seen.final_obs**2).mean(), seen

    grad, seen = jax.jit(jax.grad(objective, has_aux=True))(jnp.asarray(WEIGHTS))
    return env, seen, np.asarray(grad)


@pytest.mark.parametrize("arrays", ["torch", "jax"])
@pytest.mark.parametrize("qd", [np.inf, np.nan, -5e3])
def test_contained_and_counted(arrays, qd):
    _, clean, _ = run(arrays, None)
    _, seen, grad = run(arrays, qd)
    others = np.arange(8) != BAD
    for name in ("reward", "obs", "final_obs", "action", "truncated"):
        here, there = to_numpy(getattr(seen, name)), to_numpy(getattr(clean, name))
        assert here[:, others].tobytes() == there[:, others].tobytes()
    diverged = to_numpy(seen.diverged)
    assert diverged.sum() == 1 and diverged[0, BAD]
    assert to_numpy(seen.truncated)[0, BAD] and not to_numpy(seen.terminated)[0, BAD]
    assert to_numpy(seen.reward)[0, BAD] == 0
    for name in ("reward", "obs", "final_obs"):
        assert np.isfinite(to_numpy(getattr(seen, name))).all()
    assert np.isfinite(grad).all() and grad.any()


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_saved_loaded_and_seen_again(arrays, tmp_path):
    env, seen, _ = run(arrays, -5e3)
    (record,) = collect_divergences(env, seen)
    assert (record.task, record.seed, record.world, record.episode, record.t) == ("pendulum", 0, BAD, 0, 0)
    assert record.state["physics.qd"][1] == -5e3 and record.action.shape == (2,)
    path = save_divergences(tmp_path / "diverged.npz", [record, record])
    assert [file.name for file in tmp_path.iterdir()] == ["diverged.npz"]
    loaded = load_divergences(path)
    for one in loaded:
        for field in ("task", "seed", "world", "episode", "t"):
            assert getattr(one, field) == getattr(record, field)
        assert one.action.tobytes() == record.action.tobytes()
        assert {k: v.tobytes() for k, v in one.state.items()} == {k: v.tobytes() for k, v in record.state.items()}
    calm = dataclasses.replace(record, state=record.state | {"physics.qd": np.zeros(2, np.float32)})
    # one world at a time, all together, and in an environment of the other library
    for other in (
        make_pendulum(1, arrays),
        make_pendulum(8, arrays),
        make_pendulum(2, "torch"),
        make_pendulum(2, "jax"),
    ):
        assert replay(other, [*loaded, calm]).tolist() == [True, True, False]


class Unseen(Pendulum):
    """One entry of an observation is not a number in some worlds, whose physics is finite."""

    obs_names = tuple(f"number {k}" for k in range(8))

    def observe(self, xp, physics, task):
        obs = super().observe(xp, physics, task)
        return xp.where((physics[0][:, :1] > 0.0) & (xp.arange(obs.shape[1]) == 1), xp.nan * obs, obs)


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_a_record_says_what_was_not_finite(arrays, tmp_path):
    """An observation by its entry, an action, a state by its array; nothing where the simulator itself diverged."""
    env = make_pendulum(8, arrays)
    unseen = TaskEnv(Unseen(), 8, arrays=arrays)
    state, obs = unseen.reset(0)
    seen, *_ = rollout(unseen, lambda obs: obs[:, :2], state, obs, 2)
    records = collect_divergences(unseen, seen)
    assert {one.cause for one in records} == {"the observation is not finite: entry 1 (number 1)"}
    loaded = load_divergences(save_divergences(tmp_path / "diverged.npz", records))
    assert [one.cause for one in loaded] == [one.cause for one in records]
    seen, *_ = rollout(env, lambda obs: env.xp.nan * obs[:, :2], *env.reset(0), 1)
    assert {one.cause for one in collect_divergences(env, seen)} == {"the action is not finite"}
    for qd, cause in ((np.nan, "the state is not finite: physics.qd"), (-5e3, "")):
        assert [one.cause for one in collect_divergences(*run(arrays, qd)[:2])] == [cause]


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_the_first_divergence_of_a_window_is_kept(arrays):
    """World 2 diverges at steps 1 and 3 through its actions, world 4 at step 3."""
    env = make_pendulum(6, arrays, world_offset=100)
    xp = env.xp
    when = from_numpy(np.array([9, 9, 0.1, 9, 0.3, 9], dtype=np.float32), env.reset(0)[1])

    def policy(obs):
        clock = obs[:, 7]  # the last action's second entry, which grows by 0.1 a step
        first = xp.where(xp.abs(clock - when) < 0.05, np.nan, 0.1)
        return xp.stack([first, clock + 0.1], axis=1)

    seen, *_ = rollout(env, policy, *env.reset(0), 5)
    assert to_numpy(seen.diverged).sum() == 3
    assert to_numpy(seen.divergences.step).tolist() == [-1, -1, 1, -1, 3, -1]
    first, second = collect_divergences(env, seen)
    assert (first.world, first.episode, first.t) == (102, 0, 1)
    assert (second.world, second.episode, second.t) == (104, 0, 3)
    assert np.isnan(first.action[0]) and np.isnan(second.action[0])
    assert replay(env, [first, second]).all()


def test_no_divergence_no_file(tmp_path):
    env, seen, _ = run("torch", None)
    assert collect_divergences(env, seen) == []
    with pytest.raises(ValueError, match="no divergence to save"):
        save_divergences(tmp_path / "x.npz", [])


def test_records_of_other_tasks_are_refused():
    env, seen, _ = run("torch", np.inf)
    (record,) = collect_divergences(env, seen)
    with pytest.raises(ValueError, match="record is of task 'ant', the environment is 'pendulum'"):
        replay(env, [dataclasses.replace(record, task="ant")])
    with pytest.raises(ValueError, match="record of world 3 has state arrays"):
        replay(env, [dataclasses.replace(record, state={"physics.q": np.zeros(2)})])


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("something in the file was executed",))


def test_damaged_and_foreign_files_are_refused(tmp_path):
    env, seen, _ = run("torch", np.inf)
    good = save_divergences(tmp_path / "good.npz", collect_divergences(env, seen)).read_bytes()
    path = tmp_path / "bad.npz"
    for content in (b"", b"hello", good[:100], good[: len(good) // 2], good[:-30]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a file of divergences, or is damaged"):
            load_divergences(path)
    np.savez(path, meta=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="not a file of divergences"):
        load_divergences(path)
    for meta in ("null", "[]", '{"format": "other"}', json.dumps({"format": "diffsim-divergence-1", "records": [{}]})):
        np.savez(path, meta=np.asarray(meta))
        with pytest.raises(ValueError, match="not a file of divergences"):
            load_divergences(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("meta.npy", b"not an array")
    with pytest.raises(ValueError, match="not a file of divergences"):
        load_divergences(path)
    with pytest.raises(OSError):
        load_divergences(tmp_path / "missing.npz")
