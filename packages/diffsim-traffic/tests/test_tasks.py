"""The tasks: the environment's promises, rewards and endings by hand, and the published code's figures."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch

import diffsim_core
from diffsim_core import TaskEnv
from diffsim_core._interop import to_numpy, value_and_grad
from diffsim_core.check import check_env, check_gradients
from diffsim_traffic import TrafficConstants, tasks
from diffsim_traffic.tasks import pace_car, ring

FACTORIES = {
    **{f"pace_car_{n}": functools.partial(pace_car.make_pace_car, n) for n in pace_car.DRIVERS_PER_LANE},
    "ring": ring.make_task,
}


def make(name, num_envs=8, arrays="torch", dtype="float32", **options):
    """An environment without the registry, which knows only installed packages."""
    task = FACTORIES[name](num_envs=num_envs, device="cpu", dtype=dtype, **options)
    return TaskEnv(task, num_envs, arrays=arrays, dtype=dtype)


def test_the_registry_knows_them():
    assert set(FACTORIES) <= set(diffsim_core.list_tasks())
    env = diffsim_core.make("pace_car_4", num_envs=3, preset="paper", target_speed=8.0)
    assert isinstance(env.task, tasks.PaceCar)
    assert (env.spec.num_obs, env.spec.num_actions, env.spec.dt, env.spec.horizon) == (4 * 17, 2, 0.03, 1000)
    with pytest.raises(ValueError, match="did you mean 'target_speed'"):
        diffsim_core.make("pace_car_1", target_sped=3.0)


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in FACTORIES), ("pace_car_2", {"preset": "paper"}), ("ring", {"spread": 0.1})],
)
def test_promises_and_gradients(name, options):
    check_env(make(name, **options), fewer=make(name, 3, **options))
    report = check_gradients(make(name, 24, dtype="float64", **options))
    assert report.max_rel_error < 1e-6
    assert report.worlds >= 10


def test_gradients_with_smoothed_lanes():
    env = make("pace_car_2", 24, dtype="float64", lane_smoothing=2.0)
    assert check_gradients(env).max_rel_error < 1e-6


def test_jax_and_torch_agree():
    import jax

    seen = []
    with jax.enable_x64(True):
        for arrays in ("torch", "jax"):
            env = make("pace_car_2", 6, arrays, "float64")
            state, _ = env.reset(3)
            step = jax.jit(env.step) if arrays == "jax" else env.step
            for k in range(30):
                action = env.xp.asarray(np.sin(np.arange(12.0).reshape(6, 2) + k))
                state, transition = step(state, action)
            ends = (transition.reward, transition.final_obs, state.physics.x, state.episode)
            seen.append([np.asarray(a) for a in ends])
    for a, b in zip(*seen, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_no_gradient_passes_a_reset():
    """In the published simulator that of an observation after a reset by an action before it was 0.22."""
    env = make("pace_car_10", 4, preset="paper", episode_length=3)
    state, _ = env.reset(0)
    actions = torch.zeros(5, 4, 2, requires_grad=True)
    for action in actions:
        state, transition = env.step(state, action)
    assert (state.episode == 1).all() and (state.t == 2).all()
    (gradient,) = torch.autograd.grad(transition.obs.square().sum(), actions)
    assert (gradient[:3] == 0).all()
    assert (gradient[3:] != 0).any()


def returns(env, policy):
    state, _ = env.reset(0)
    total, length = torch.zeros(env.num_envs), torch.zeros(env.num_envs)
    alive = torch.ones(env.num_envs, dtype=torch.bool)
    while alive.any():
        state, transition = env.step(state, policy(env, state))
        total += transition.reward * alive
        length += alive
        alive &= ~(transition.terminated | transition.truncated)
    return total.mean().item(), length.mean().item()


def coast(env, state):
    return torch.zeros(env.num_envs, 2)


def hold(env, state):
    """Straight on at 10 m/s."""
    acceleration = (10 - state.physics.v[:, 0]) / (env.spec.dt * env.task.max_acceleration)
    return torch.stack([torch.zeros(env.num_envs), acceleration.clamp(-1, 1)], dim=1)


@pytest.mark.parametrize(
    ("lanes", "policy", "published"),
    [
        (1, coast, (47.6, 1000)),
        (2, coast, (33.2, 95)),
        (4, coast, (44.2, 95)),
        (10, coast, (13.4, 95)),
        (1, hold, (880.6, 1000)),
        (2, hold, (43.0, 168)),
        (4, hold, (60.4, 168)),
        (10, hold, (14.6, 168)),
    ],
)
def test_simple_policies_earn_what_they_do_in_the_published_simulator(lanes, policy, published):
    """Measured there over 16 worlds."""
    env = make(f"pace_car_{lanes}", 16, preset="paper")
    with torch.no_grad():
        found = returns(env, policy)
    assert found == pytest.approx(published, abs=0.051)


def put(env, x, v, y, psi=0.0):
    """Every world in the same state."""
    state, _ = env.reset(0)
    n, model = env.num_envs, env.task.dynamics.model
    numbers = [torch.as_tensor(np.broadcast_to(a, (n, k)).copy(), dtype=torch.float32) for a, k in
               ((x, model.num_vehicles), (v, model.num_vehicles), (y, 1), (psi, 1))]  # fmt: skip
    return state._replace(physics=state.physics._replace(**dict(zip(("x", "v", "y", "psi"), numbers, strict=True))))


@pytest.mark.parametrize(
    ("collision", "x", "y", "ended"),
    [
        ("rectangles", 20.0, 0.0, False),
        ("rectangles", 14.9, 1.9, True),  # rectangles overlap, centres are 5.25 m apart
        ("rectangles", 14.9, 2.1, False),
        ("distance", 14.9, 1.9, False),
        ("distance", 11.0, 2.0, True),
        ("distance", 11.0, 2.4, False),
        ("rectangles", 109.9, 0.0, False),
        ("rectangles", 110.1, 0.0, True),  # too far
        ("rectangles", 50.0, 4.0, False),
        ("rectangles", 50.0, 6.1, True),  # off the road
        ("rectangles", 50.0, -2.1, True),
        ("rectangles", 9.9, 4.0, True),  # behind a driver of another lane
    ],
)
def test_what_ends_an_episode(collision, x, y, ended):
    env = make("pace_car_2", 2, collision=collision)
    state = put(env, [x, 10.0, 0.0, -8.0, -20.0], 0.0, y)
    standing = state.constants.drivers * torch.tensor([1e-9, 1, 1, 1, 1])
    _, transition = env.step(state._replace(constants=TrafficConstants(standing)), torch.zeros(2, 2))
    assert transition.terminated.tolist() == [ended] * 2
    assert bool((transition.reward == -1).all()) == ended


def test_rewards_by_hand():
    v = [0.0, 5.0, 10.0, 12.0, 40.0]
    errors = np.array([5, 0, 2, 30]) / 10
    for kind, wanted in (
        ("mean_of_clipped", 1 - np.minimum(errors, 1).mean()),
        ("clipped_mean", 1 - min(errors.mean(), 1)),
    ):
        env = make("pace_car_2", 2, reward=kind)
        state = put(env, [50.0, 10.0, 0.0, 10.0, 0.0], v, 0.0)
        found = env.task.reward(env.xp, None, None, state.physics, None, ())
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_observation_by_hand():
    env = make("pace_car_2", 1)
    state = put(env, [50.0, 10.0, 0.0, 12.0, 1.0], [8.0, 1, 2, 3, 4], 3.0, 0.5)
    obs = env.task.observe(env.xp, state.physics, ())[0].numpy()
    expected = [0, -40, -50, -38, -49, 0, -3, -3, 1, 1, 8 * math.cos(0.5), 1, 2, 3, 4, 8 * math.sin(0.5), 0, 0, 0, 0]
    np.testing.assert_allclose(obs, expected, rtol=1e-6)
    assert len(env.spec.obs_names) == 20 and env.spec.obs_names[5] == "ego y - y_ego [m]"


def test_lane_changes_are_counted():
    env = make("pace_car_4", 1, preset="paper")
    state = put(env, [60.0, *([20.0, 10.0, 0.0, -10.0] * 4)], 12.0, 1.9, 0.3)
    lanes, changes = [], 0
    for _ in range(100):
        state, transition = env.step(state, torch.zeros(1, 2))
        assert not transition.terminated.any()
        changes += transition.metrics["lane_changes"].item()
        lanes.append(math.floor(state.physics.y.item() / 4 + 0.5))
        if lanes[-1] == 3:
            break
    assert changes == 3 and sorted(set(lanes)) == [1, 2, 3]


def test_drivers_differ_from_world_to_world_and_episode_to_episode():
    env = make("pace_car_2", 4, episode_length=1)
    state, _ = env.reset(0)
    again, _ = env.step(state, torch.zeros(4, 2))
    drawn = torch.cat([state.constants.drivers, again.constants.drivers]).reshape(-1, 5)
    middle = torch.tensor(env.task.drivers[0])
    assert len(torch.unique(drawn[:, 0])) == 32
    assert ((drawn / middle - 1).abs() <= 0.2 + 1e-6).all() and ((drawn / middle - 1).abs() > 0.15).any()


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_gradients_with_respect_to_drivers_pass_a_rollout_in_torch_and_in_jax(spread):
    """Through resets where every episode has the same drivers; up to the first where they are drawn anew."""
    pytest.importorskip("jax")
    gradients = []
    for arrays in ("torch", "jax"):
        env = make("pace_car_2", 3, arrays=arrays, dtype="float32", spread=spread, episode_length=4)
        assert env.constants_vary == (spread > 0)
        state, obs = env.reset(0)
        xp = env.xp

        def loss(constants, env=env, state=state, obs=obs, xp=xp):
            window = diffsim_core.rollout(
                env, lambda obs: xp.zeros((3, 2)), state._replace(constants=constants), obs, num_steps=10
            )
            if env.arrays == "torch" and not env.constants_vary:
                assert window[1].constants is constants
            return window[0].final_obs.sum()

        _, found = value_and_grad(loss, state.constants)
        gradients.append(to_numpy(found.drivers))
        assert np.abs(gradients[-1]).max() > 1e-3
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_all_lanes_are_drawn():
    env = make("pace_car_10", 400)
    state, _ = env.reset(1)
    lanes, counts = torch.unique(state.physics.y / 4, return_counts=True)
    assert lanes.tolist() == list(range(10)) and counts.min() > 20


def test_waves_grow_on_the_ring_unless_somebody_calms_them():
    env = make("ring", 4)
    state, _ = env.reset(0)

    def drive(state, action_of):
        """Figures after 20 s, when the noise of the start has settled, and after 150 s."""
        figures = []
        for k in range(1500):
            state, transition = env.step(state, action_of(state.physics))
            if k in (200, 1499):
                figures.append(transition.metrics)
        assert not (state.episode > 0).any()
        return figures

    def as_the_others(physics):  # the vehicle under control drives as its drivers do
        gap = env.task._gaps(env.xp, physics.x)[:, :1]
        v, lead = physics.v[:, :1], physics.v[:, -1:]
        wish = 2 + torch.clamp(v + v * (v - lead) / (2 * math.sqrt(1.5)), min=0)
        return (1 - (v / 30) ** 4 - (wish / gap) ** 2).clamp(-1, 1)

    def calm(physics):  # at the speed of uniform traffic, and slower where that comes too close
        gap = env.task._gaps(env.xp, physics.x)[:, :1]
        v = physics.v[:, :1]
        wish = torch.minimum(torch.full_like(v, env.task.uniform_speed * 0.95), (gap - 2).clamp(min=0))
        return (wish - v).clamp(-1, 1)

    wild, calmed = drive(state, as_the_others), drive(state, calm)
    assert (wild[1]["speed_deviation"] > 4 * wild[0]["speed_deviation"]).all()
    assert (wild[1]["speed_deviation"] > 1.0).all()
    assert (calmed[1]["speed_deviation"] < calmed[0]["speed_deviation"]).all()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("pace_car_1", {"preset": "published"}, "preset='published' must be one of realistic, paper"),
        ("pace_car_1", {"reward": "mean"}, "reward='mean'"),
        ("pace_car_1", {"collision": "none"}, "collision='none'"),
        ("pace_car_1", {"target_speed": 0.0}, "target_speed=0.0 must be positive"),
        ("pace_car_1", {"episode_length": 0}, "episode_length=0"),
        ("pace_car_1", {"spread": 1.0}, "spread=1.0"),
        ("pace_car_1", {"drivers": {"T": 0.0}}, "T = 0 s must be finite and positive"),
        ("pace_car_1", {"drivers": {"tau": 1.0}}, "needs the parameters a, b, T, s0, v0; got T, a, b, s0, tau, v0"),
        ("pace_car_1", {"preset": "paper", "dt": 0.2}, "dt = 0.2 s is too long for these drivers"),
        ("pace_car_1", {"dt": 1.1}, "steps of at most 0.96 s"),  # the drawn driver with the shortest headway
        ("ring", {"circumference": 150.0}, "not more than s0=2 m: nobody would move"),
        ("ring", {"circumference": 90.0}, "drivers of lane 0 alone are 105 m long"),
        ("ring", {"num_vehicles": 1}, "num_vehicles=1 must be at least 2"),
        ("ring", {"position_noise": 5.0}, "position_noise=5.0 must be from 0 to below 2.7"),
        ("ring", {"speed_noise": 50.0}, "speed_noise=50.0"),
        ("ring", {"effort": -1.0}, "effort=-1.0"),
    ],
)
def test_bad_options_are_refused_by_name(name, options, words):
    with pytest.raises(ValueError, match=words):
        make(name, **options)
