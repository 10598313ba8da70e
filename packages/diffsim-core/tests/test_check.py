"""The conformance kit finds what it says it finds: environments broken on purpose, one promise each."""

from __future__ import annotations

import dataclasses
import functools
import json
from itertools import count

import jax
import numpy as np
import pytest
import torch

from diffsim_core import TaskEnv
from diffsim_core._check_probes import probes
from diffsim_core.check import CHECKS, CheckError, check_env, check_gradients, check_rollout, check_size, check_task

from .pendulum import Pendulum, PendulumDynamics, make_pendulum


class Broken(TaskEnv):
    """A pendulum environment whose step is spoilt by ``spoil(before, action, after, transition)``."""

    def __init__(self, spoil=None, num_envs: int = 8, task: Pendulum | None = None) -> None:
        super().__init__(task or Pendulum(), num_envs, arrays="torch")
        self.spoil = spoil

    def step(self, state, action):
        after, row = super().step(state, action)
        return (after, row) if self.spoil is None else self.spoil(state, action, after, row)


def with_row(**changes):
    def spoil(before, action, after, row):
        return after, row._replace(**{name: change(row) for name, change in changes.items()})

    return spoil


def mixes_worlds(before, action, after, row):
    return after, row._replace(reward=row.reward + 1e-4 * row.reward.mean())


def forgets_to_reset_the_clock(before, action, after, row):
    return after._replace(t=before.t + 1), row


def leaks(before, action, after, row):
    return after, row._replace(obs=row.obs + 1e-6 * (row.final_obs - row.final_obs.detach()))


def counts_wrong(before, action, after, row):
    return after._replace(episode=after.episode + 1), row


def drifts(before, action, after, row, ticks=count()):  # noqa: B008
    return after, row._replace(reward=row.reward + next(ticks))


CASES = {
    "reward has shape": with_row(reward=lambda row: row.reward[:, None]),
    "terminated has shape .* dtype float32": with_row(terminated=lambda row: row.terminated.float()),
    "different bits at step": drifts,
    r"changes other worlds at step \d+ in transition\.reward": mixes_worlds,
    "obs differs from final_obs": with_row(obs=lambda row: row.obs + 1),
    "terminated and truncated both hold": with_row(terminated=lambda row: row.terminated | row.truncated),
    "t must restart at 0": forgets_to_reset_the_clock,
    "episode must grow by one": counts_wrong,
    "passed the time limit of 20 steps": with_row(truncated=lambda row: row.diverged),
    "gradient of .* passes through a reset; it must be exactly 0": leaks,
    "gradient of reward is zero": with_row(reward=lambda row: row.reward.detach()),
    "diverged is False": with_row(diverged=lambda row: torch.zeros_like(row.diverged)),
    "reward is not finite": with_row(reward=lambda row: torch.where(row.diverged, torch.nan, row.reward)),
    "metrics.speed has shape": with_row(metrics=lambda row: {"speed": row.reward[:1]}),
}


@pytest.mark.parametrize(("message", "spoil"), CASES.items(), ids=CASES)
def test_a_broken_step_is_found(message, spoil):
    with pytest.raises(CheckError, match=message) as caught:
        check_env(Broken(spoil))
    assert all(violation in str(caught.value) for violation in caught.value.violations)


class Spoilt(Pendulum):
    """Entry 2 of the observation is not a number in a part of the worlds."""

    obs_names = tuple(f"number {k}" for k in range(Pendulum.num_obs))

    def observe(self, xp, physics, task):
        obs = super().observe(xp, physics, task)
        return xp.where((physics[0][:, :1] > 0.0) & (xp.arange(obs.shape[1]) == 2), xp.nan * obs, obs)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_observation_that_is_not_finite_is_named_by_its_entry():
    """Also without warnings, and without a claim that what it is differs from itself."""

    def make(num_envs, dtype):
        return TaskEnv(Spoilt(dtype=dtype), num_envs, arrays="torch", dtype=dtype)

    report = check_task(make, num_envs=4, horizon=2)
    assert "at step 0: final_obs is not finite: entry 2 (number 2)" in report.violations
    assert not any("obs differs from final_obs" in violation for violation in report.violations)


class Unclipped(Broken):
    def _clip(self, action):
        return action


class NoMask(PendulumDynamics):
    """Contains values but not cotangents: zero times infinity reaches the actions."""

    def vjp(self, state, control, ok, saved, out_cotangent, in_cotangent):
        super().vjp(state, control, ok, saved, out_cotangent, in_cotangent)
        bad = in_cotangent[2].array().numpy()
        bad[ok.array().numpy() == 0] = np.nan


class NoContainment(PendulumDynamics):
    """Says that all is well, whatever happened."""

    def step(self, state, control, out, ok, saved):
        super().step(state, control, out, ok, saved)
        ok.array().fill_(1)


class Sensitive(Pendulum):
    """Its start depends on how many worlds there are."""

    def initial(self, xp, random):
        (q, qd), task = super().initial(xp, random)
        return (q + 1e-3 * random.num_envs, qd), task


def with_dynamics(dynamics) -> Broken:
    task = Pendulum()
    task.dynamics = dynamics
    return Broken(task=task)


def test_missing_clipping_is_found():
    with pytest.raises(CheckError, match="clip actions"):
        check_env(Unclipped())


def test_missing_masks_are_found():
    with pytest.raises(CheckError, match="gradient with respect to the actions is not finite"):
        check_env(with_dynamics(NoMask()))
    with pytest.raises(CheckError, match="after an infinite state: diverged is False"):
        check_env(with_dynamics(NoContainment()))


def test_dependence_on_the_number_of_worlds_is_found():
    env = Broken(task=Sensitive())
    check_env(env)
    with pytest.raises(CheckError, match=r"4 and 8 worlds start with different bits in state\.physics\.q"):
        check_env(env, fewer=Broken(num_envs=4, task=Sensitive()))


def test_one_world_cannot_show_independence():
    with pytest.raises(ValueError, match="make it with at least 2"):
        check_env(make_pendulum(1))
    with pytest.raises(ValueError, match="it must have fewer"):
        check_env(make_pendulum(3), fewer=make_pendulum(3))


@pytest.mark.parametrize("steps", [1, 4])
def test_gradients_equal_central_differences(steps):
    report = check_gradients(make_pendulum(16, dtype="float64"), steps=steps)
    assert report.max_rel_error < 1e-8 and report.worlds == 16 and report.switching == 0
    assert set(report.rel_error) == {"physics.q", "physics.qd", "actions"}
    assert report.max_rel_error == max(report.rel_error.values()) > 0


def test_jax_gradients_equal_central_differences():
    with jax.enable_x64(True):
        report = check_gradients(make_pendulum(4, "jax", dtype="float64"), warmup=5)
    assert report.max_rel_error < 1e-8 and report.worlds == 4


class WrongByOnePart(PendulumDynamics):
    """A relative error of 1e-4 in one cotangent."""

    def vjp(self, state, control, ok, saved, out_cotangent, in_cotangent):
        super().vjp(state, control, ok, saved, out_cotangent, in_cotangent)
        in_cotangent[1].array().numpy()[:] *= 1 + 1e-4


def test_a_slightly_wrong_gradient_is_seen_where_it_is():
    task = Pendulum(dtype="float64")
    task.dynamics = WrongByOnePart("float64")
    report = check_gradients(TaskEnv(task, 8, arrays="torch", dtype="float64"))
    assert report.rel_error["physics.qd"] == pytest.approx(1e-4, rel=1e-2)
    assert report.rel_error["actions"] < 1e-8 and report.max_rel_error == report.rel_error["physics.qd"]


def test_many_numbers_are_perturbed_along_random_directions(monkeypatch):
    """The same verdicts from directions as from coordinates."""
    for module in ("_check_gradients", "_check_rollout"):
        monkeypatch.setattr(f"diffsim_core.{module}.probes", lambda count, most, random: random.normal(size=(5, count)))
    assert check_gradients(make_pendulum(8, dtype="float64")).max_rel_error < 1e-8
    task = Pendulum(dtype="float64")
    task.dynamics = WrongByOnePart("float64")
    report = check_gradients(TaskEnv(task, 8, arrays="torch", dtype="float64"))
    assert report.rel_error["physics.qd"] == pytest.approx(1e-4, rel=1e-2) and report.rel_error["actions"] < 1e-8
    assert min(check_rollout(make_pendulum, num_envs=4, horizon=8).cosine.values()) > 0.99999
    assert check_rollout(make_fading, num_envs=4, horizon=16).horizon_of_trust < 16
    random = np.random.default_rng(0)
    assert np.array_equal(probes(3, 3, random), np.eye(3)) and probes(4, 3, random).shape == (3, 4)


class Kinked(Pendulum):
    """A reward with a kink at zero rate, where some worlds are put."""

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        return xp.sum(xp.abs(physics.qd), axis=1) + super().reward(xp, physics, action, next_physics, next_obs, task)

    def initial(self, xp, random):
        (q, qd), task = super().initial(xp, random)
        rest = random.uniform(3, (1,), -1.0, 1.0) < 0
        return (q, xp.where(rest, xp.zeros_like(qd), qd)), task


def test_worlds_on_a_switch_are_left_out_and_counted():
    task = Kinked(dtype="float64")
    env = TaskEnv(task, 16, arrays="torch", dtype="float64")
    resting = int((env.reset(0)[0].physics.qd == 0).all(dim=1).sum())
    report = check_gradients(env, warmup=0)
    # A kink exactly at the state is symmetric: differences agree (on zero), and so must sign(0).
    assert report.worlds + report.switching == 16 and report.max_rel_error < 1e-6
    for distance in (5e-8, 1e-12):
        moved = check_gradients(_Nudged(env, distance), warmup=0)
        assert moved.switching == resting > 0 and moved.worlds == 16 - resting and moved.max_rel_error < 1e-6


class _Nudged:
    """The same environment, its states moved off the kink by less than the narrowest difference."""

    def __init__(self, env: TaskEnv, distance: float) -> None:
        self.env, self.spec, self.num_envs, self.distance = env, env.spec, env.num_envs, distance

    def reset(self, seed):
        state, obs = self.env.reset(seed)
        return state._replace(physics=state.physics._replace(qd=state.physics.qd + self.distance)), obs

    def step(self, state, action):
        return self.env.step(state, action)


def test_gradients_are_checked_in_float64_only():
    with pytest.raises(ValueError, match="dtype='float64', got float32"):
        check_gradients(make_pendulum(4))


def test_rollout_gradients_point_the_same_way():
    report = check_rollout(make_pendulum, num_envs=4, horizon=24)
    assert list(report.cosine) == [1, 2, 4, 8, 16, 24]
    assert min(report.cosine.values()) > 0.99999 and report.cosine_32 > 0.9999
    assert report.horizon_of_trust == report.horizon_tested == 24
    assert report.switching_32 == report.diverged == 0


class Fading(PendulumDynamics):
    """Cotangents of the rates come back with the wrong sign, which shows from the second step on."""

    def vjp(self, state, control, ok, saved, out_cotangent, in_cotangent):
        super().vjp(state, control, ok, saved, out_cotangent, in_cotangent)
        in_cotangent[1].array().numpy()[:] *= -1


def make_fading(num_envs: int, dtype: str) -> TaskEnv:
    task = Pendulum(dtype=dtype)
    task.dynamics = Fading(dtype)
    return TaskEnv(task, num_envs, arrays="torch", dtype=dtype)


def test_the_horizon_of_trust_ends_where_gradients_turn():
    report = check_rollout(make_fading, num_envs=4, horizon=16)
    assert report.cosine[1] > 0.99999 and report.cosine[16] < 0.9
    assert report.horizon_of_trust < 16 == report.horizon_tested
    longer = min(h for h in report.cosine if h > report.horizon_of_trust)
    assert report.cosine[longer] < 0.9 <= report.cosine[max(report.horizon_of_trust, 1)]


def test_check_task_prints_as_json():
    report = check_task(make_pendulum, num_envs=8, horizon=8, rollout_envs=2)
    assert report.ok and report.deterministic
    found = json.loads(json.dumps(report.to_json()))
    assert found["task"] == "pendulum" and found["violations"] == [] and found["diverged"] == 0
    assert found["max_rel_error"] < 1e-8 and found["cosine_32"] > 0.9999 and found["horizon_of_trust"] == 8

    def make_broken(num_envs, dtype):
        if dtype == "float64":
            return make_pendulum(num_envs, dtype=dtype)
        return Broken(mixes_worlds, num_envs)

    broken = check_task(make_broken, num_envs=8, horizon=2, rollout_envs=2)
    assert not broken.ok and broken.deterministic and "changes other worlds" in broken.violations[0]
    assert not dataclasses.replace(report, violations=["x"]).ok


def test_check_task_tells_how_far_it_is():
    """Every check in its order, each from 0 up and never back."""
    told: list[tuple[str, float]] = []
    check_task(make_pendulum, num_envs=4, horizon=4, progress=lambda check, part: told.append((check, part)))
    assert list(dict.fromkeys(check for check, _ in told)) == list(CHECKS)
    for check in CHECKS:
        parts = [part for name, part in told if name == check]
        assert parts[0] == 0 and parts == sorted(parts) and parts[-1] < 1
    assert len(told) > 8


@pytest.mark.parametrize(("numbers", "expected"), [(2, (64, 64)), (128, (64, 64)), (4096, (32, 8)), (60_000, (4, 8))])
def test_large_worlds_are_checked_in_small_numbers(numbers, expected):
    def make(num_envs, dtype):
        env = make_pendulum(num_envs, dtype=dtype)
        state, obs = env.reset(0)
        physics = (torch.zeros(num_envs, 1), torch.zeros(num_envs, numbers - 1, 1))
        env.reset = lambda seed: (state._replace(physics=physics), obs)
        return env

    assert check_size(make) == expected


def test_partial_of_make_is_enough():
    """As the command line calls it."""
    report = check_rollout(functools.partial(make_pendulum, horizon=5), num_envs=2, horizon=8)
    assert report.horizon_tested == 8
