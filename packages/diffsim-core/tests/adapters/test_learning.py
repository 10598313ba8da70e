"""PPO of each library learns through its adapter, and learns no way to break the simulator."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from diffsim_core import TaskEnv, make  # noqa: E402
from diffsim_core.adapters._driver import Driver  # noqa: E402

from .. import pendulum  # noqa: E402
from .learners import LIBRARIES  # noqa: E402

SOLVED = -1000.0
"""Mean return of an episode; a pole that hangs gets less than -2000, one held up from the start on about -500."""
WORLDS = 64
LARGEST = 0.9
"""Actions above this break a fragile world."""


def score(env, act) -> tuple[float, int]:
    """Mean return of whole episodes under ``act(obs [N, no]) -> [N, na]``, and steps that broke a world."""
    state, obs = env.reset(77)
    total, broken = torch.zeros(env.num_envs), 0
    for _ in range(env.spec.horizon):
        state, transition = env.step(state, act(obs).float().clamp(-1, 1))
        total += transition.reward
        broken += int(transition.diverged.sum())
        obs = transition.obs
    found = float(total.mean())
    print(f"mean return {found:.1f}, {broken} steps broke a world")  # shown by pytest -rP
    return found, broken


class FragileDynamics(pendulum.PendulumDynamics):
    """Pendulums that leave the finite range where they are pushed too hard."""

    def step(self, state, control, out, ok, saved):
        super().step(state, control, out, ok, saved)
        broken = control[0].array().numpy().max(axis=1) > LARGEST * pendulum.Pendulum.strength
        for before, after in zip(state, out, strict=True):
            after.array().numpy()[broken] = before.array().numpy()[broken]
        ok.array().numpy()[broken] = 0


class Fragile(pendulum.Pendulum):
    """Every step costs something, so that an episode that breaks off is cheap; the best actions are small."""

    def __init__(self, breaks, horizon=50):
        super().__init__(horizon=horizon, fall=1e9)
        if breaks:
            self.dynamics = FragileDynamics()

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        swing = xp.sum(next_obs[:, :2] ** 2, axis=1)  # squares of sines
        return -4.0 - swing - 4.0 * xp.sum(action * action, axis=1)


def test_the_threshold_is_a_feat():
    assert score(make("cartpole", num_envs=64), lambda obs: torch.zeros(64, 1))[0] < 2 * SOLVED
    generator = torch.Generator().manual_seed(0)
    act = lambda obs: 2 * torch.rand(64, 1, generator=generator) - 1  # noqa: E731
    assert score(make("cartpole", num_envs=64), act)[0] < 1.5 * SOLVED


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_it_solves_cartpole(library):
    pytest.importorskip(library)
    act = LIBRARIES[library](make("cartpole", num_envs=WORLDS), 300, 1, 1.0)
    assert score(make("cartpole", num_envs=64), act)[0] > SOLVED


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("library", LIBRARIES)
def test_it_does_not_learn_to_break_its_worlds(library, seed):
    """It ends where it does in worlds that cannot break: from within 5 % of their return, with every world whole."""
    pytest.importorskip(library)
    ends = {}
    for breaks in (False, True):
        env = TaskEnv(Fragile(breaks), WORLDS, arrays="torch")
        ends[breaks], broken = score(env, LIBRARIES[library](env, 80, seed, 0.4))
        assert broken == 0
    assert ends[True] > 1.05 * ends[False]  # returns are negative


def test_breaking_off_would_pay_without_its_price():
    env = TaskEnv(Fragile(True), 8, arrays="torch")
    paid, broken = score(env, lambda obs: torch.ones(8, 2))
    kept, whole = score(env, lambda obs: torch.zeros(8, 2))
    assert broken == 8 * 50 and whole == 0 and paid == 0.0 > kept


@pytest.mark.parametrize("arrays", ["torch", "jax"])
@pytest.mark.parametrize("horizon", [50, 130])
def test_a_break_costs_the_worst_reward_for_what_was_left_and_for_100_steps(arrays, horizon):
    pytest.importorskip(arrays)
    driver = Driver(TaskEnv(Fragile(True, horizon), 2, arrays=arrays))
    driver.reset(0)
    worst = 0.0
    for t in range(horizon):
        breaking = {3: 0, horizon - 1: 1}.get(t)
        action = [[1.0 if world == breaking else 0.02 * (t % 9)] * 2 for world in range(2)]
        step = driver.step_numpy(action)
        worst = min(worst, *(step.reward[world] for world in range(2) if world != breaking))
        assert step.diverged.tolist() == step.terminated.tolist() == [breaking == 0, breaking == 1]
        if breaking is not None:
            assert not step.truncated[breaking]
            assert step.reward[breaking] == pytest.approx(worst * max(horizon - t, 100), rel=1e-6)
