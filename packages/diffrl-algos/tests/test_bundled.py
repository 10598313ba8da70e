"""Bundled worlds: exact without perturbation, free of cost without contact, and their gradient that of the mean."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch

import diffsim_core
from diffrl_algos import Bundle, UsageError
from diffrl_algos._spec import RunSpec
from diffrl_algos._train import Budget
from diffrl_algos.check import check_algorithm
from diffrl_algos.cli import main
from diffrl_algos.torch import SHAC, BundledEnv, _bundled
from diffrl_algos.torch._perturb import Coordinates, joint_displacements
from diffsim_core import rollout, stop_gradient
from diffsim_core.rigid import JOINTS

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
N, T = 4, 20


@pytest.fixture(scope="module")
def hopper():
    """Worlds that fall, and whose episodes end after 12 steps."""
    return diffsim_core.make("hopper", num_envs=N, dtype="float64", episode_length=12)


@pytest.fixture(scope="module")
def landed(hopper):
    """A bundled environment, and its state when some worlds are in heavy contact and others are not."""
    env = BundledEnv(hopper, Bundle(branches=3))
    state, _ = env.reset(0)
    for _ in range(12):
        force, _ = env._contact(state._replace(task=state.task.task))
        if 0 < (force > env.threshold).sum() < N and not state.task.left.any():
            return env, state
        state, _ = env.step(state, torch.zeros(N, hopper.spec.num_actions, dtype=torch.float64))
    raise AssertionError("no world has landed")


def play(env, steps=T):
    """A window of fixed actions: the trajectory, the state behind it, and the gradient of all rewards.

    The first world begins on its back, and falls below the height that ends an episode.
    """
    state, obs = env.reset(0)
    q, qd = (x.clone() for x in state.physics)
    q[0, 1:3], qd[0, 1] = torch.tensor([-0.35, 1.4]), -2.0
    state = state._replace(physics=type(state.physics)(q, qd))
    generator = torch.Generator().manual_seed(1)
    actions = 2 * torch.rand(steps, env.num_envs, env.spec.num_actions, generator=generator, dtype=torch.float64) - 1
    rows = iter(actions.requires_grad_().unbind(0))
    steps, after, _ = rollout(env, lambda _: next(rows), state, obs, steps)
    (grad,) = torch.autograd.grad(steps.reward.sum() + steps.final_obs[-1].sum(), actions)
    return stop_gradient(steps), stop_gradient(after), grad


@pytest.fixture(scope="module")
def plain(hopper):
    return play(hopper)


@pytest.mark.parametrize(("branches", "steps"), [(1, 1), (3, 2), (2, 5)])
def test_exact_without_perturbation(hopper, plain, branches, steps):
    """Also over terminations, time limits and gradients; five steps outlast an episode's end."""
    bundled = play(BundledEnv(hopper, Bundle(branches=branches, steps=steps, position=0.0, velocity=0.0)))
    (want, _, grad), (got, _, bundled_grad) = plain, bundled
    assert 0.1 < got.metrics["bundled"].mean() < 0.9
    assert want.terminated.any() and want.truncated.any()
    for name in ("obs", "final_obs", "reward"):
        torch.testing.assert_close(getattr(got, name), getattr(want, name), **CLOSE)
    for name in ("terminated", "truncated", "diverged"):
        assert torch.equal(getattr(got, name), getattr(want, name))
    torch.testing.assert_close(bundled_grad, grad, rtol=1e-7, atol=1e-7)


def test_nothing_is_forked_where_contact_is_not_heavy(hopper, plain, monkeypatch):
    env = BundledEnv(hopper, Bundle(force=1e9))
    calls = []
    taken = hopper.dynamics_step
    monkeypatch.setattr(hopper, "dynamics_step", lambda *given: calls.append(len(given[0].q)) or taken(*given))
    (got, after, grad), (want, other, plain_grad) = play(env), plain
    assert calls == [N] * T
    assert torch.equal(got.obs, want.obs) and torch.equal(got.reward, want.reward) and torch.equal(grad, plain_grad)
    assert torch.equal(after.physics.q, other.physics.q)
    assert not got.metrics["bundled"].any()


def test_only_the_worlds_in_heavy_contact_are_forked(landed, monkeypatch):
    env, state = landed
    calls, taken = [], env.env.dynamics_step
    monkeypatch.setattr(env.env, "dynamics_step", lambda *given: calls.append(len(given[0].q)) or taken(*given))
    action = torch.full((N, env.spec.num_actions), 0.3, dtype=torch.float64)
    after, step = env.step(state, action)
    plain, _ = env.env.step(state._replace(task=state.task.task), action)
    heavy = step.metrics["bundled"] > 0
    assert calls == [int((~heavy).sum() + 3 * heavy.sum()), N]
    torch.testing.assert_close(after.physics.q[~heavy], plain.physics.q[~heavy], **CLOSE)
    assert (after.physics.q[heavy] - plain.physics.q[heavy]).abs().amax() > 1e-4


def test_a_bundle_is_the_mean_of_its_branches(landed):
    """By hand: every branch in a world of its own, for two steps."""
    env, state = landed
    inner = state._replace(task=state.task.task)
    force, point = env._contact(inner)
    fresh = force > env.threshold
    world = int(np.flatnonzero(fresh)[0])
    branches, _ = env._forked(inner, state.task, fresh, point)
    action = torch.full((N, env.spec.num_actions), -0.2, dtype=torch.float64)
    one = diffsim_core.make("hopper", num_envs=1, dtype="float64", episode_length=12)
    begin, _ = one.reset(0)
    singles = [begin._replace(physics=type(begin.physics)(*(x[world, i][None] for x in branches))) for i in range(3)]
    for _ in range(2):
        state, step = env.step(state, action)
        taken = [one.step(single, action[:1]) for single in singles]
        singles = [after for after, _ in taken]
        for k, x in enumerate(state.physics):
            torch.testing.assert_close(x[world], torch.stack([s.physics[k][0] for s in singles]).mean(0), **CLOSE)
        torch.testing.assert_close(step.reward[world], torch.stack([t.reward[0] for _, t in taken]).mean(), **CLOSE)
        torch.testing.assert_close(step.final_obs[world], env.env.observe(state.physics, ())[world], **CLOSE)
    assert not state.task.left[world] and not state.task.branches.q.any()


def test_the_gradient_is_that_of_the_mean(landed, monkeypatch):
    """Central differences of the rewards of three steps, which a fork and a mean lie in."""
    env, state = landed
    # Displacements are constants to the gradient, so here they do not depend on the state either.
    monkeypatch.setattr(_bundled, "joint_displacements", lambda contacts, physics, point, by: by.repeat(1, 1, 2))

    def total(actions):
        s, rewards = state, []
        for action in actions:
            s, step = env.step(s, action)
            rewards.append(step.reward)
        return torch.stack(rewards).sum() + s.physics.q[:, 1:].sum()

    generator = torch.Generator().manual_seed(0)
    shape = (3, N, env.spec.num_actions)
    actions, way = (torch.randn(shape, generator=generator, dtype=torch.float64) * 0.2 for _ in range(2))
    actions.requires_grad_()
    (grad,) = torch.autograd.grad(total(actions), actions)
    h = 1e-6
    with torch.no_grad():
        want = (total(actions + h * way) - total(actions - h * way)) / (2 * h)
    torch.testing.assert_close((grad * way).sum(), want, rtol=1e-5, atol=1e-5)


def test_branches_that_diverge_are_left_out(landed):
    env, state = landed
    action = torch.zeros(N, env.spec.num_actions, dtype=torch.float64)
    state, _ = env.step(state, action)
    world = int(state.task.left.nonzero()[0])
    memory = state.task

    def with_spoilt(which):
        q = memory.branches.q.clone()
        q[world, which] = torch.nan
        return state._replace(task=memory._replace(branches=memory.branches._replace(q=q)))

    sound = state._replace(
        task=memory._replace(keep=memory.keep.index_put((torch.tensor(world), torch.tensor(1)), torch.tensor(False)))
    )
    (after, step), (want, wanted) = env.step(with_spoilt([1]), action), env.step(sound, action)
    assert torch.equal(after.physics.q, want.physics.q) and torch.equal(step.reward, wanted.reward)
    assert not step.diverged.any() and torch.isfinite(after.physics.q).all()
    after, step = env.step(with_spoilt([0, 1, 2]), action)
    assert step.diverged.tolist() == [n == world for n in range(N)]
    assert step.reward[world] == 0 and after.episode[world] == state.episode[world] + 1 and not after.task.left[world]
    assert torch.isfinite(after.physics.q).all() and torch.isfinite(step.final_obs).all()


def test_perturbations_follow_from_seed_world_episode_and_step(hopper, landed):
    env, state = landed
    halves = [
        BundledEnv(
            diffsim_core.make("hopper", num_envs=2, dtype="float64", episode_length=12, world_offset=k), env.bundle
        )
        for k in (0, 2)
    ]
    action = torch.zeros(N, env.spec.num_actions, dtype=torch.float64)
    whole, _ = env.step(state, action)

    def part(x, k):
        return x[k : k + 2] if x.ndim else x

    for half, k in zip(halves, (0, 2), strict=True):
        own, _ = half.step(diffsim_core.tree_map(lambda x, k=k: part(x, k), state), action[k : k + 2])
        torch.testing.assert_close(own.physics.q, whole.physics.q[k : k + 2], **CLOSE)
    other, _ = env.step(state._replace(seed=state.seed + 1), action)
    later, _ = env.step(state._replace(t=state.t + 1), action)
    assert not torch.equal(other.physics.q, whole.physics.q) and not torch.equal(later.physics.q, whole.physics.q)


def test_a_point_is_displaced_as_far_as_its_joints_allow(landed):
    """To first order, and less by the damping: ``d^2`` against the squared singular values of the Jacobian."""
    env, state = landed
    physics, rng = state.physics, np.random.default_rng(0)
    point = torch.from_numpy(rng.integers(0, len(env.contacts.links), N))
    by = torch.from_numpy(rng.normal(size=(N, 5, 3)) * 1e-6)
    turn = joint_displacements(env.contacts, physics, point, by)
    rows = torch.arange(N)
    before = env.contacts.motion(physics)[0][rows, point]
    moved = torch.stack([env.contacts.motion(physics._replace(q=physics.q + turn[:, i]))[0] for i in range(5)], 1)
    got = moved[rows, :, point] - before[:, None]
    plane = by * torch.tensor([1.0, 0.0, 1.0])  # a planar robot has no way sideways
    error = (got - plane).norm(dim=-1)
    assert (error < 0.1 * plane.norm(dim=-1) + 1e-9).all()
    assert (got[..., 1].abs() < 1e-12).all()


def test_coordinates_move_as_the_engine_integrates_them():
    model = diffsim_core.make("ant", num_envs=1).task.dynamics.model
    rng = np.random.default_rng(0)
    q, by = rng.normal(size=(6, model.nq)), 0.1 * rng.normal(size=(6, model.nv))
    q[:, 3:7] /= np.linalg.norm(q[:, 3:7], axis=1, keepdims=True)
    coordinates = Coordinates(model, torch.zeros((), dtype=torch.float64))
    got = coordinates.moved(torch.from_numpy(q), torch.from_numpy(by)).numpy()
    for row in range(6):
        for i, kind in enumerate(model.joint_type.tolist()):
            joint, k, v = JOINTS.at(kind), int(model.joint_q[i]), int(model.joint_dof[i])
            want = joint.integrate(q[row, k : k + joint.nq], by[row, v : v + joint.nv], 1.0)
            np.testing.assert_allclose(got[row, k : k + joint.nq], want, rtol=1e-12, atol=1e-12)
    # there and back again, their mean is where they came from
    both = np.stack([by, -by], axis=1)
    ends = coordinates.moved(torch.from_numpy(q)[:, None].expand(-1, 2, -1), torch.from_numpy(both))
    keep = torch.ones(6, 2, dtype=torch.bool)
    np.testing.assert_allclose(coordinates.mean(ends, keep), q, rtol=1e-12, atol=1e-12)


def test_an_algorithm_keeps_its_promises_in_bundled_worlds(small):
    """Resuming with the same bits and no graph that outlives an update are among them."""

    def make():
        return BundledEnv(diffsim_core.make("hopper", num_envs=3, episode_length=9), Bundle(branches=2))

    check_algorithm(SHAC(small), make, updates=1)  # raises an error that lists what is broken


def test_a_run_from_the_command_line(tmp_path, capsys):
    folder = tmp_path / "run"
    options = ["--num-envs", "4", "--horizon", "8", "--iterations", "3", "--bundle", "2", "--bundle-force", "0.3"]
    options += [
        "--actor-hidden",
        "8",
        "--critic-hidden",
        "8",
        "--eval-episodes",
        "2",
        "--task-option",
        "episode_length=9",
    ]
    assert main(["train", "shac", "hopper", *options, "--out", str(folder), "--stop-after", "2"]) == 0
    assert main(["train", "--resume", str(folder)]) == 0
    described = json.loads((folder / "run.json").read_text())
    assert (described["bundle"], described["bundle_force"]) == (2, 0.3) and "bundle_steps" not in described
    shares = [json.loads(line)["task_bundled"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(shares) == 3 and max(shares) > 0.1
    assert (folder / "summary.json").exists()
    capsys.readouterr()


def spec(**changes):
    given = {"algorithm": "shac", "task": "hopper", "num_envs": 4, "budget": Budget(iterations=1), **changes}
    return RunSpec(**{"config": SHAC().config, **given})


def test_only_the_worlds_to_learn_in_have_bundles():
    made = spec(bundle=3, bundle_steps=1)
    assert made.make_env().bundle == Bundle(branches=3, steps=1)
    assert isinstance(made.make_env(2), diffsim_core.TaskEnv)
    assert RunSpec.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert "bundle" not in spec().to_json()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bundle": 0}, "bundle"),
        ({"bundle": 3, "bundle_steps": 0}, "bundle_steps"),
        ({"bundle": 3, "bundle_position": -0.01}, "bundle_position"),
        ({"bundle": 3, "bundle_velocity": -1.0}, "bundle_velocity"),
        ({"bundle": 3, "bundle_force": -1.0}, "bundle_force"),
        ({"bundle_force": 1.0}, "bundle_force is of bundles, and there are none; give bundle"),
        ({"bundle": 3, "task": "cartpole"}, "task 'cartpole' has no contacts to bundle"),
        ({"bundle": 3, "task": "toy"}, "task 'toy' has no contacts to bundle"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_first_step(changes, message):
    with pytest.raises(UsageError, match=message):
        spec(**changes).make_env()


def test_other_frameworks_worlds_and_actions_are_refused(hopper):
    of_jax = copy.copy(hopper)
    of_jax.arrays = "jax"
    with pytest.raises(ValueError, match="bundles need torch"):
        BundledEnv(of_jax)
    with pytest.raises(ValueError, match="task 'hopper' has no contacts to bundle"):
        BundledEnv(BundledEnv(hopper))
    with pytest.raises(UsageError, match="branches"):
        Bundle(branches=0)
    with pytest.raises(ValueError, match="cuda_graph is true, but a bundle forks"):
        SHAC(dataclasses.replace(SHAC().config, cuda_graph=True)).check(BundledEnv(hopper))
    env = BundledEnv(hopper, Bundle(force=0.0))
    state, _ = env.reset(0)
    with pytest.raises(ValueError, match=r"action has shape \(1, 3\), expected \(4, 3\)"):
        for _ in range(T):
            state, _ = env.step(state, torch.zeros(N, 3, dtype=torch.float64))
            env.step(state, torch.zeros(1, 3, dtype=torch.float64))
