"""Tasks on particles: promises, gradients in contact, rewards by hand, starts, what is seen, and refusals."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

import diffsim_core
from diffsim_core import TaskEnv, _check_gradients
from diffsim_core.check import check_env, check_gradients
from diffsim_core.viewer import html_page, record
from diffsim_mpm.tasks import fluid_move, hand_flip, rolling_pin

SMALL = {
    "hand_flip_small": hand_flip.make_small,
    "rolling_pin_small": rolling_pin.make_small,
    "fluid_move_small": fluid_move.make_small,
}
FULL = {"hand_flip": hand_flip.make_task, "rolling_pin": rolling_pin.make_task, "fluid_move": fluid_move.make_task}


def make(name: str, num_envs: int = 2, arrays: str = "torch", dtype: str = "float32", **options: Any) -> TaskEnv:
    """An environment without the registry, which knows only installed packages."""
    task = (SMALL | FULL)[name](num_envs=num_envs, device="cpu", dtype=dtype, threads=1, **options)
    return TaskEnv(task, num_envs, arrays=arrays, dtype=dtype)


@functools.cache
def at_work(name: str, dtype: str = "float64") -> tuple[TaskEnv, Any, Any]:
    """A state in which the shapes touch the body and plastic flow is under way, and an action that goes on with it."""
    kind = name.removesuffix("_small")
    options = {"noise": 0.0} if kind != "fluid_move" else {}
    env = make(name, 1, dtype=dtype, **options)
    # no round numbers: gradients have steps where a joint is at its limit or a node on a face
    action = torch.full((1, env.spec.num_actions), 0.0731, dtype=getattr(torch, dtype))
    if kind == "hand_flip":
        action[0, -1] *= -1
        fingers = [f"{finger}{joint}" for finger in ("FF", "MF", "RF", "LF") for joint in ("J2", "J1")]
        action[0, [env.spec.action_names.index(joint) for joint in fingers]] = 0.8
    else:
        moves = {"rolling_pin": [0.313, -0.517, 0.213], "fluid_move": [0.2971, -0.2131, 0.9173]}
        action[0, :] = torch.tensor(moves[kind])
    state, _ = env.reset(0)
    # water that rests is at the edge between pushing and not; that which is still being lifted is not
    for _ in range({"fluid_move": 3, "hand_flip_small": 15}.get(name if kind == "hand_flip" else kind, 30)):
        state, _ = env.step(state, action)
    return env, state, action


def test_the_registry_knows_them() -> None:
    assert set(SMALL) | set(FULL) <= set(diffsim_core.list_tasks())


@pytest.mark.parametrize("name", SMALL)
def test_promises(name: str) -> None:
    check_env(make(name, 3, episode_length=4), fewer=make(name, 2, episode_length=4))


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_promises_with_points(arrays: str) -> None:
    env = make("hand_flip_small", 3, arrays, obs="points", episode_length=4)
    assert env.spec.obs_shapes == {"points": (50, 3), "state": (27,)}
    check_env(env)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_at_work(name: str) -> None:
    """Two steps; the reward and the last state, along random directions in every input, by central differences."""
    env, state, action = at_work(name)
    generator = torch.Generator().manual_seed(1)

    def normal(like: Any) -> Any:
        return torch.randn(like.shape, generator=generator, dtype=torch.float64)

    names = [*env.task.dynamics.state_type._fields, "action"]
    inputs = [*state.physics, action]
    weights = [normal(a) * 0.1 for a in state.physics]

    def loss(values: list[Any]) -> Any:
        physics = env.task.dynamics.state_type(*values[:-1])
        now, total = state._replace(physics=physics), 0.0
        for _ in range(2):
            now, transition = env.step(now, values[-1])
            total = total + 10 * transition.reward.sum()
        # a stress says little about C, whose size is that of a rate
        scale = {"v": 1.0, "C": 1e-2}
        parts = zip(names[:-1], weights, now.physics, strict=True)
        return total + sum((w * a).sum() * scale.get(key, 1.0) for key, w, a in parts)

    given = [a.clone().requires_grad_() for a in inputs]
    gradients = torch.autograd.grad(loss(given), given)
    for k, key in enumerate(names):
        for _ in range(3):
            direction = normal(inputs[k])
            exact = float((gradients[k] * direction).sum())
            errors = []
            for h in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8):
                ends = [float(loss([*inputs[:k], inputs[k] + s * h * direction, *inputs[k + 1 :]])) for s in (1, -1)]
                errors.append(abs((ends[0] - ends[1]) / (2 * h) - exact) / max(abs(exact), 1e-3))
            assert min(errors) < 1e-6, f"{key}: {errors}"


@pytest.mark.parametrize("name", SMALL)
def test_gradients_at_the_start(name: str, monkeypatch: Any) -> None:
    """Undeformed, with round numbers, and shapes that touch or move: those of one step, of every input."""
    monkeypatch.setattr(_check_gradients, "_MOST", 4)  # directions
    # In 4 ms grid nodes enter or leave the hand in every world, where the gradient jumps.
    options = {"dt": 0.001} if name == "hand_flip_small" else {}
    report = check_gradients(make(name, 4, dtype="float64", **options), warmup=0)
    assert report.max_rel_error < 1e-6 and report.worlds >= 1, report


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in FULL)])
def test_single_precision_has_the_same_gradient(name: str) -> None:
    """Eight control steps at work."""
    found = []
    for dtype in ("float64", "float32"):
        env, state, action = at_work(name, dtype)
        actions = [action.clone().requires_grad_() for _ in range(8)]
        total = 0.0
        for each in actions:
            state, transition = env.step(state, each)
            total = total + transition.reward.sum()
        found.append(torch.cat([g.double() for g in torch.autograd.grad(total, actions)]).ravel())
    assert torch.nn.functional.cosine_similarity(*found, dim=0) > 0.999


def test_hand_flips_reward_by_hand() -> None:
    """A dough that lies folded earns 1; one that is pulled apart loses 1 at most."""
    env = make("hand_flip_small", 2, noise=0.0)
    task = env.task
    state, _ = env.reset(0)
    rest = state.physics
    earned = functools.partial(task.reward, env.xp, rest, None)
    assert torch.allclose(earned(rest, None, state.task), torch.zeros(2), atol=1e-6)
    half = rest.x.shape[1] // 2
    mirrored = torch.cat([rest.x[:, :half]] * 2, dim=1)
    assert torch.allclose(earned(rest._replace(x=mirrored), None, state.task), torch.ones(2), atol=1e-3)
    centre = rest.x.mean(dim=1, keepdim=True)
    assert torch.allclose(earned(rest._replace(x=centre + 5 * (rest.x - centre)), None, state.task), -torch.ones(2))
    pairs = (rest.x[:, :half] - rest.x[:, half:]).abs()
    assert pairs[:, :, [0, 2]].max() < 1e-6 and pairs[:, :, 1].mean() == pytest.approx(8 / 3 / np.pi * 0.1, rel=0.02)


@pytest.mark.parametrize("name", ["hand_flip", "hand_flip_small"])
def test_the_dough_stays_on_an_open_hand(name: str) -> None:
    """Nothing leaks through between the fingers, which takes cells smaller than they are thick."""
    env = make(name, 2, noise=0.3)
    state, _ = env.reset(0)
    rest = torch.tensor(hand_flip.CENTRE)[2] - hand_flip.HALF_HEIGHT
    for _ in range(round(0.2 / env.task.dynamics.dt)):
        state, transition = env.step(state, torch.zeros(2, 24))
        assert not (transition.terminated | transition.diverged).any()
    assert (state.physics.x[..., 2] > rest - 0.01).all()
    assert transition.reward.abs().max() < 0.01


def test_a_dough_that_falls_off_ends_the_small_tasks_episode() -> None:
    """The released task goes on; there is nothing left to learn from."""
    for options, ends in (({}, True), ({"drop_ends": False}, False)):
        env = make("hand_flip_small", 2, **options)
        state, _ = env.reset(0)
        x = state.physics.x.clone()
        x[1, :, 2] -= 0.25
        state = state._replace(physics=state.physics._replace(x=x))
        state, transition = env.step(state, torch.zeros(2, 24))
        assert transition.terminated.tolist() == [False, ends] and state.t.tolist() == [1, 0 if ends else 1]
    assert not make("hand_flip", 1).task.drop_ends


def test_a_hand_is_as_fast_in_both_sizes() -> None:
    turned = []
    for name in ("hand_flip", "hand_flip_small"):
        env = make(name, 1, noise=0.0)
        state, _ = env.reset(0)
        for _ in range(round(0.008 / env.task.dynamics.dt)):
            state, _ = env.step(state, torch.ones(1, 24))
        turned.append(state.physics.q)
        assert env.spec.horizon * env.task.dynamics.dt == pytest.approx(0.6)
    wrist = [name.startswith("WRJ") for name in env.spec.action_names]
    slow = torch.where(torch.tensor(wrist), 0.1, 1.0)
    assert sum(wrist) == 2
    torch.testing.assert_close(turned[1], turned[0] * slow)
    # the released code's 0.33 * 0.002 * 40 a step, of a joint that is far from its limits
    assert float(turned[0][0, env.spec.action_names.index("MFJ2")]) == pytest.approx(4 * 0.0264)


def test_a_scripted_hand_folds_the_dough() -> None:
    """Fingers that bend by 90 degrees twice bring the halves together."""
    env = make("hand_flip_small", 1, noise=0.0)
    joints = env.spec.action_names
    state, _ = env.reset(0)
    best = -1.0
    for k in range(70):
        action = torch.zeros(1, 24)
        for j, joint in enumerate(joints):
            if joint[:2] in ("FF", "MF", "RF", "LF") and k > 5:
                action[0, j] = {"J2": 1.0 if k < 38 else 0.0, "J1": 0.7, "J0": 0.3}.get(joint[2:], 0.0)
        state, transition = env.step(state, action)
        assert not transition.diverged.any()
        best = max(best, float(transition.reward))
    assert best > 0.25


def test_rolling_pins_reward_by_hand() -> None:
    env = make("rolling_pin_small", 1, noise=0.0)
    state, _ = env.reset(0)
    model, x = env.task.dynamics.model, state.physics.x.clone()
    for height, wanted in ((0.125, 0.25), (0.0625, 1 / 2.25), (0.03, 2 / 1.24**2)):
        x[..., 2] = model.wall * model.dx + height
        reward = env.task.reward(env.xp, None, None, state.physics._replace(x=x), None, ())
        assert float(reward) == pytest.approx(wanted, rel=1e-5)
    x[:, ::2, 2] += 0.02
    spread = float(env.task.reward(env.xp, None, None, state.physics._replace(x=x), None, ()))
    assert spread == pytest.approx(2 / 1.32**2 - 1e-4, rel=1e-5)


def test_the_vessel_holds_water_and_the_target_counts() -> None:
    env = make("fluid_move_small", 2)
    state, obs = env.reset(3)
    towards = obs[:, 6:9]
    assert (towards.abs() <= torch.tensor([0.2, 0.2, 0.3])).all() and (towards[:, 2] > 0).all()
    assert not torch.allclose(towards[0], towards[1])
    for _ in range(40):
        state, transition = env.step(state, torch.clip(100 * (state.task[0] - state.physics.q), -0.3, 0.3))
        assert (transition.metrics["inside"] > 0.95).all()
    held = state.physics._replace(q=state.task[0], x=state.physics.x + (state.task[0] - state.physics.q)[:, None])
    assert (env.task.reward(env.xp, None, None, held, None, state.task) > 0.95).all()
    spilt = held._replace(x=held.x + 0.3)
    assert torch.allclose(env.task.reward(env.xp, None, None, spilt, None, state.task), torch.zeros(2), atol=1e-3)


def test_starts_differ_within_their_bounds_and_are_the_same_again() -> None:
    env = make("hand_flip_small", 16, noise=1.0)
    first, again = (env.reset(5)[0].physics.x for _ in range(2))
    assert torch.equal(first, again)
    moved = first.mean(dim=1) - torch.tensor(hand_flip.CENTRE)
    assert (moved.abs() < 0.1001).all() and (moved[:, 2] > -1e-5).all() and (moved.std(dim=0) > 0.01).all()
    assert torch.equal(first[0], make("hand_flip_small", 1, noise=1.0).reset(5)[0].physics.x[0])


def test_episodes_may_end_at_different_times() -> None:
    """A world whose hand has run away is reset alone; the others keep their bits."""
    env, alone = make("hand_flip_small", 3), make("hand_flip_small", 3)
    (state, _), (other, _) = env.reset(0), alone.reset(0)
    bad = state.physics.v.clone()
    bad[1] = 1e4
    state = state._replace(physics=state.physics._replace(v=bad))
    action = torch.full((3, 24), 0.1)
    state, transition = env.step(state, action)
    other, expected = alone.step(other, action)
    assert transition.diverged.tolist() == [False, True, False] and state.t.tolist() == [1, 0, 1]
    for k in (0, 2):
        assert torch.equal(state.physics.x[k], other.physics.x[k])
        assert transition.reward[k] == expected.reward[k]


@pytest.mark.parametrize("name", FULL)
def test_the_papers_sizes(name: str) -> None:
    env = make(name, 1)
    model = env.task.dynamics.model
    assert abs(model.n - 2500) < 150 and model.cells == (48, 48, 48) and env.spec.horizon == 300
    assert env.spec.obs_shapes["points"][0] == -(-model.n // 10)
    state, obs = env.reset(0)
    assert torch.equal(obs["points"], state.physics.x[:, ::10])
    np.testing.assert_allclose(obs["state"][0, :3], state.physics.x[0].mean(dim=0), rtol=1e-5)
    assert env.spec.num_actions == {"hand_flip": 24}.get(name, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"obs": "point"}, "did you mean 'points'"),
        ({"observe_every": 0}, "observe_every=0"),
        ({"episode_length": 0}, "at least 1 step"),
        ({"noise": 6.0}, "outside of the grid"),
        ({"pair_every": 251}, "pair_every=251 must be from 1 to 250"),
        ({"dt": 0.0}, "dt"),
        ({"nu": 0.5}, "nu"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("hand_flip_small", **options)


def test_a_rollout_is_drawn() -> None:
    """Particles, shapes and both shades, through the recorder of the core's viewers."""
    env = make("hand_flip_small", 1, noise=0.0)
    motion = record(env, lambda obs: torch.full((1, 24), 0.5), steps=6)
    (dough,) = motion.deformables
    assert dough.position.shape == (6, 1, 500, 3) and set(dough.shades) == {"strain", "flow"}
    assert len(motion.bodies) == 19 and "dough" in html_page(motion)
    from diffsim_mpm import twin_coupling as twin

    chain = env.task.dynamics.model.shapes
    state, _ = env.reset(0)
    for k in range(6):
        pose = twin.poses(chain, state.physics.q[0].double().numpy())
        np.testing.assert_allclose(motion.position[k, 0], pose[:, 9:], atol=1e-6)
        q = motion.quaternion[k, 0].astype(float)
        from diffsim_core.rigid._quat import rotation

        turns = np.array([rotation(each) for each in q])
        np.testing.assert_allclose(turns.transpose(0, 2, 1).reshape(-1, 9), pose[:, :9], atol=1e-5)
        state, _ = env.step(state, torch.full((1, 24), 0.5))
