"""A world that breaks off is not ordinary data: neither for learning nor for what is reported."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from diffrl_algos import Evaluation, evaluate, get_algorithm, list_algorithms
from diffrl_algos._ends import charged, ends_of
from diffrl_algos.torch import Window
from diffrl_algos.torch._off_policy import Batch, QFunctions
from diffsim_core import TaskEnv, Trajectory, rollout

from . import toy

NAMES = [entry.name for entry in list_algorithms() if entry.arrays == "torch"]
LARGEST = 0.9
"""Actions above this break a fragile world."""


class FragileDynamics(toy.PointDynamics):
    """A point mass that leaves the finite range where it is pushed too hard."""

    def step(self, state, control, out, ok, saved):
        super().step(state, control, out, ok, saved)
        broken = toy.view(control[0])[:, 0] > LARGEST
        toy.view(ok)[broken] = 0
        for before, after in zip(state, out, strict=True):
            toy.view(after)[broken] = toy.view(before)[broken]


class FragileTask(toy.PointTask):
    """Every step costs something, so that an episode that breaks off is cheap; the best actions are small."""

    name = "fragile"

    def __init__(self, horizon=50):
        super().__init__("float32", 1e9, horizon, 1e6)
        self.dynamics = FragileDynamics("float32", 1e6)

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        whole = super().reward(xp, physics, action, next_physics, next_obs, task)
        return whole - 2.0 - action[:, 0] * action[:, 0]


def fragile(num_envs=16, horizon=50):
    return TaskEnv(FragileTask(horizon), num_envs, arrays="torch")


def build(name, **options):
    entry = get_algorithm(name)
    fields = {field.name for field in dataclasses.fields(entry.config_class())}
    return entry.build(entry.config_class()(**{key: value for key, value in options.items() if key in fields}))


# One window -----------------------------------------------------------------------------------------------------------


def window(steps=8, worlds=5, seed=0):
    """Actions that break some of the worlds in some of the steps."""
    env = fragile(worlds)
    state, obs = env.reset(seed)
    actions = iter(torch.rand(steps, worlds, 1, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.3)
    found, *_ = rollout(env, lambda _: next(actions), state, obs, steps)
    assert found.diverged.any() and not found.diverged.all()
    return found


def whole(steps: Trajectory) -> Window:
    return Window(steps, None, None, None, None, None, None, None, ends_of(steps))


def test_an_episode_ends_before_the_step_that_breaks_it():
    steps = window()
    assert torch.equal(steps.valid, ~steps.diverged)
    _, done = ends_of(steps)
    before = torch.zeros_like(done)
    before[:-1] = steps.diverged[1:]
    assert torch.equal(done, steps.done | before)


def test_a_broken_step_gets_the_worst_target_and_an_untaken_one_its_own():
    steps = window()
    untaken = torch.zeros_like(steps.done)
    untaken[3, 0] = True
    steps = steps._replace(valid=steps.valid & ~untaken, diverged=steps.diverged & ~untaken)
    target, value = torch.randn(2, *steps.done.shape)
    found = whole(steps).targets(target, value)
    lowest = target[steps.valid].min()
    assert torch.equal(found[steps.valid], target[steps.valid])
    assert torch.equal(found[steps.diverged], torch.minimum(lowest, value)[steps.diverged])
    assert torch.equal(found[untaken], value[untaken])


def test_where_every_step_broke_nothing_is_known():
    steps = window()
    all_ = torch.ones_like(steps.done)
    value = torch.randn(steps.done.shape)
    found = whole(steps._replace(diverged=all_, valid=~all_)).targets(torch.randn_like(value), value)
    assert torch.equal(found, value)


@pytest.mark.parametrize("broken", [0, 3, 16])
def test_q_functions_value_a_broken_step_less_than_to_go_on(broken):
    """By one deviation of the other targets, whatever its own numbers say; by nothing where there are no others."""
    algorithm = build("sac", critic_hidden=(16,))
    q = QFunctions(algorithm, algorithm.init(fragile(), 0))
    rng = torch.Generator().manual_seed(0)
    x, x_next, action = (torch.randn(16, width, generator=rng) for width in (2, 2, 1))
    reward, bonus = torch.randn(2, 16, generator=rng)
    diverged = torch.arange(16) < broken
    batch = Batch(x, action, reward, torch.full((16,), 0.9), torch.where(diverged[:, None], x, x_next), diverged)
    value = q._critic(q.target, torch.cat([batch.x_next, action], dim=-1)).amin(0) + bonus
    whole = (reward + 0.9 * value)[broken:]
    spread = whole.std(correction=0) if len(whole) else torch.tensor(0.0)
    for own in (1.0, 1e30):
        found = q.target_value(batch._replace(reward=torch.where(diverged, own, reward)), action, bonus)
        torch.testing.assert_close(found, torch.cat([value[:broken] - spread, whole]))


@pytest.mark.parametrize("price", [0.0, 3.0])
def test_with_a_price_it_is_a_failure_that_costs_it(price):
    steps = window()
    found = charged(steps, price)
    assert (found.reward[steps.diverged] == -price).all() and found.valid.all()
    assert found.terminated[steps.diverged].all() and not (found.terminated & found.truncated).any()
    assert torch.equal(found.reward[steps.valid], steps.reward[steps.valid])
    assert charged(steps, None) is steps


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("trajopt", "pods", "sac", "td3")])
def test_the_reward_of_a_broken_step_reaches_no_parameter(name):
    """The same update, whatever the environment says that such a step earned."""

    class Paid(TaskEnv):
        def step(self, state, action):
            after, step = super().step(state, action)
            return after, step._replace(reward=torch.where(step.diverged, paid, step.reward))

    states = []
    for paid in (0.0, 1e4):  # noqa: B007
        options = {"horizon": 8, "iterations": 4, "logstd_init": 0.0, "critic_iterations": 2, "target_entropy": 0.5}
        algorithm = build(name, **options, actor_hidden=(16,), critic_hidden=(16,))
        state = algorithm.init(Paid(FragileTask(), 16, arrays="torch"), 0)
        for _ in range(2):
            state, _ = algorithm.update(state)
        assert state.run.diverged > 0 and state.run.refused == 0
        states.append(state)
    for field in ("actor", "critic"):
        if hasattr(states[0], field):
            assert torch.equal(getattr(states[0], field), getattr(states[1], field)), field


# What is reported, and what is best -----------------------------------------------------------------------------------


def test_means_are_of_whole_episodes_and_broken_ones_rank_last():
    returns, broken = np.array([-100.0, -120.0, -1.0, 0.0]), np.array([False, False, True, True])
    found = Evaluation(returns, np.array([50, 50, 1, 1]), broken, 102)
    assert (found.return_mean, found.return_std, found.diverged) == (-110.0, 10.0, 2)
    assert found.score == (-100 - 3 * 120) / 4 < found.return_mean
    none = Evaluation(returns, np.array([50, 50, 1, 1]), np.ones(4, bool), 102)
    assert math.isnan(none.return_mean) and none.score == -math.inf
    assert none.to_json()["return_mean"] is None and none.to_json()["score"] is None


def test_breaking_off_is_no_good_policy():
    fine = evaluate(fragile(8), lambda obs: -obs[:, :1].clamp(-0.5, 0.5), episodes=16, seed=1)
    bad = evaluate(fragile(8), lambda obs: torch.ones_like(obs[:, :1]), episodes=16, seed=1)
    assert bad.diverged == 16 and bad.returns.max() == 0.0 > fine.return_mean
    assert not bad.return_mean > fine.return_mean and bad.score < fine.score


def test_a_training_that_only_breaks_worlds_has_no_return():
    algorithm = build("ppo", horizon=8, iterations=4)
    env = fragile(8)
    state = algorithm.init(env, 0)
    env.task.dynamics.breaks = -1e9  # every step
    state, metrics = algorithm.update(state)
    assert metrics["return_mean"] is None and metrics["diverged"] == 64 and metrics["episodes"] == 0


def test_a_rollout_that_breaks_off_is_no_improvement():
    """PODS's line search: the cheaper return of a broken rollout is not taken for a better one."""
    algorithm = build("pods", horizon=20, iterations=4, step_size=2.0)
    state = algorithm.init(fragile(16, 20), 0)
    run = state.run
    actions = 0.8 * torch.ones(20, 16, 1)
    rows = iter(actions)
    base, *_ = rollout(run.env, lambda _: next(rows), run.env_state, run.obs, 20)
    # Along this gradient every step is a break, until the step is halved five times.
    better, gain, trials = algorithm._improve(run, base, torch.ones(20, 16, 1), base.reward.sum(0) - 100.0)
    assert trials == 6 and (gain > 0).all() and (better <= LARGEST).all() and (better > actions).all()


# Learning -------------------------------------------------------------------------------------------------------------

# Networks small, rates high: the task is a point on a line.
LEARNERS = {
    "ppo": {"iterations": 150, "actor_lr": 3e-3, "critic_lr": 3e-3},
    "gippo": {"iterations": 60, "actor_lr": 1e-3, "critic_lr": 3e-3, "alpha_lr": 1e-3},
    "lrrp": {"iterations": 300, "actor_lr": 1e-3, "critic_lr": 3e-3, "max_grad_norm": 1.0},
    "sac": {"iterations": 100, "updates": 64, "batch_size": 128, "actor_lr": 3e-3, "critic_lr": 3e-3, "gamma": 0.95},
}


# The rule is tested, not what computes it. Which seed ends with a few broken episodes hangs on the last bits: of PPO's
# seeds 0 to 16 number 7 does with torch's operations, of 0 to 5 number 0 with compiled code.
TORCH = {"critic_fit": "torch", "policy_step": "torch", "policy_fit": "torch"}


def learned(name, seed, breaks):
    sizes = {"actor_hidden": (32,), "critic_hidden": (32,)}
    algorithm = build(name, horizon=25, logstd_init=0.0, **sizes, **TORCH, **LEARNERS[name])
    env = fragile() if breaks else TaskEnv(Sturdy(), 16, arrays="torch")
    state = algorithm.init(env, seed)
    for _ in range(LEARNERS[name]["iterations"]):
        state, _ = algorithm.update(state)
    return evaluate(env, algorithm.policy(state), episodes=64, seed=99)


class Sturdy(FragileTask):
    """The same, where nothing breaks."""

    def __init__(self):
        super().__init__()
        self.dynamics = toy.PointDynamics("float32", 1e6)


seeds = pytest.mark.parametrize("seed", [0, 1, 2])


@pytest.mark.slow
@seeds
@pytest.mark.parametrize("name", LEARNERS)
def test_learning_ends_where_it_does_without_a_way_to_break(name, seed):
    found, sturdy = learned(name, seed, True), learned(name, seed, False)
    assert found.diverged == 0
    assert found.return_mean > sturdy.return_mean - 0.1 * abs(sturdy.return_mean)


def test_ppo_does_not_learn_to_break_its_worlds():
    found = learned("ppo", 0, True)
    assert found.diverged == 0 and found.return_mean > -60.0
