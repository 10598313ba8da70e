"""What holds for every task: masses, named variants, options and their errors, promises, gradients."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import list_tasks, make, task_options  # noqa: E402
from diffsim_core.check import check_env, check_gradients  # noqa: E402

from .played import PLANAR, RUNNERS, TASKS, rollout  # noqa: E402

GYMNASIUM = {
    "hopper": (1.0, 1.0, 1e-3),
    "half_cheetah": (0.0, 1.0, 0.1),
    "walker2d": (1.0, 1.0, 1e-3),
    "ant": (1.0, 1.0, 0.5),
    "humanoid": (5.0, 1.25, 0.1),
}
FALLEN = {"hopper": -0.45, "half_cheetah": -np.inf, "walker2d": -0.45, "ant": 0.27, "humanoid": 0.74}


def capsule(length, radius):
    """Mass of a capsule of water [kg]."""
    return 1000 * np.pi * radius**2 * (length + 4 / 3 * radius)


def test_every_task_is_tested_here():
    assert set(TASKS) <= set(list_tasks())


@pytest.mark.parametrize(
    ("task", "mass"),
    [
        ("cartpole", 52.5),
        ("hopper", 15.82),
        ("half_cheetah", 21.18),
        ("ant", 182.2),
        ("humanoid", 40.8),
        ("walker2d", capsule(0.4, 0.05) + 2 * (capsule(0.45, 0.05) + capsule(0.5, 0.04) + capsule(0.2, 0.06))),
    ],
)
def test_total_mass(task, mass):
    """Of the released models; of walker2d by the volumes of its capsules."""
    found = make(task, num_envs=1).task.dynamics.model.link_mass.sum()
    assert found == pytest.approx(mass, abs=0.05 if mass > 30 else 0.005)


@pytest.mark.parametrize("task", TASKS)
def test_named_variants_change_the_physics(task):
    options = ["limit_law"]
    options += ["contact_law"] if task != "cartpole" else []
    options += ["inertia_law"] if task in RUNNERS else []
    base = rollout(make(task, num_envs=4, dtype="float64"), 30)[-1][2].physics.q
    for option in options:
        other = rollout(make(task, num_envs=4, dtype="float64", **{option: "paper"}), 30)[-1][2].physics.q
        assert (base - other).abs().max() > 1e-6, option


@pytest.mark.parametrize("task", TASKS)
def test_episode_length_is_an_option(task):
    env = make(task, num_envs=2, episode_length=3)
    truncated = [row[3].truncated.tolist() for row in rollout(env, 4, scale=0.0)]
    assert truncated == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]
    with pytest.raises(ValueError, match=rf"episode_length of task '{task}' is 0; it takes an integer from 1"):
        make(task, episode_length=0)


def test_options_are_those_of_the_robot_and_of_the_simulator():
    laws = ("contact_law", "limit_law", "inertia_law")
    physics = (*laws, "substeps", "threads", "memory", "contact_smoothing", "backward_smoothing")
    assert tuple(task_options("cartpole").known) == ("episode_length", "random_start", *physics, "randomize", "fused")
    running = ("episode_length", "random_start", "early_termination", "action_penalty", "reward")
    for task in (*PLANAR, *RUNNERS):
        assert tuple(task_options(task).known) == (*running, *physics, "randomize", "fused")
    env = make("hopper", num_envs=1, substeps=8, memory="low", threads=1)
    dynamics = env.task.dynamics
    assert (dynamics.substeps, dynamics.threads) == (8, 1)
    assert dynamics.saved_size(16) == 16 * 8 * (6 + 2 * 6)  # memory="low": q, qd and qdd of each sub-step


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("hopper", {"contact_lw": "paper"}, "option of task 'hopper': 'contact_lw'; did you mean 'contact_law'"),
        ("humanoid", {"action_cost": 0.1}, "did you mean 'action_penalty'"),
        ("cartpole", {"reward": "gymnasium"}, "unknown option of task 'cartpole': 'reward'"),
        (
            "walker2d",
            {"reward": "gymnasim"},
            "is 'gymnasim'; it takes paper or gymnasium; did you mean gymnasium",
        ),
        (
            "ant",
            {"action_penalty": -0.1},
            "action_penalty of task 'ant' is -0.1; it takes a finite number of at least 0",
        ),
        ("half_cheetah", {"action_penalty": float("nan")}, "action_penalty of task 'half_cheetah' is nan"),
        ("hopper", {"contact_law": "papper"}, "contact_law"),
        ("humanoid", {"limit_law": "none"}, "limit_law"),
        ("humanoid", {"inertia_law": "own"}, "inertia_law"),
        ("ant", {"memory": "medium"}, "memory"),
        ("ant", {"substeps": 0}, "substeps"),
    ],
)
def test_wrong_options_are_named(task, options, words):
    with pytest.raises(ValueError, match=words):
        make(task, num_envs=1, **options)


@pytest.mark.parametrize("task", GYMNASIUM)
def test_gymnasium_reward_is_the_documented_formula(task):
    healthy, forward, control = GYMNASIUM[task]
    option = {"num_envs": 16, "dtype": "float64", "reward": "gymnasium"}
    env, ending = make(task, early_termination=False, **option), make(task, **option)
    falls = 0
    for before, action, after, tr in rollout(env, 120):
        fallen = tr.final_obs[:, 0] < FALLEN[task]
        speed = 60 * (after.physics.q[:, 0] - before.physics.q[:, 0])
        expected = healthy * ~fallen + forward * speed - control * (action**2).sum(dim=1)
        torch.testing.assert_close(tr.reward, expected, atol=1e-10, rtol=0)
        _, other = ending.step(before, action)
        assert torch.equal(other.reward, tr.reward)
        assert torch.equal(other.terminated, fallen)
        falls += int(fallen.sum())
    assert (falls > 0) == (task != "half_cheetah")


def test_action_penalty_takes_the_place_of_either_convention_s():
    for reward in ("paper", "gymnasium"):
        action = torch.ones(1, 3)
        paid = []
        for price in (0.0, 0.25):
            env = make("hopper", num_envs=1, reward=reward, action_penalty=price)
            paid.append(env.step(env.reset(0)[0], action)[1].reward.item())
        assert paid[0] - paid[1] == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_promises_of_the_protocol(task):
    tested = check_env(make(task, num_envs=4), fewer=make(task, num_envs=2))
    assert "A world that leaves the finite range affects no other world." in tested
    assert len(tested) == 8


@pytest.mark.parametrize("task", TASKS)
def test_gradients(task):
    """Against central differences, feet on the ground; ``diffrl check`` does the same in 64 worlds."""
    report = check_gradients(make(task, num_envs=12, dtype="float64"))
    assert report.max_rel_error <= 1e-6
    assert report.worlds > report.switching
    assert report.active_contacts or task == "cartpole"


def test_low_memory_gives_the_same_gradients():
    found = []
    for memory in ("fast", "low"):
        env = make("humanoid", num_envs=4, dtype="float64", memory=memory)
        state, action = env.reset(0)[0], torch.full((4, 21), 0.1, dtype=torch.float64, requires_grad=True)
        total = torch.zeros((), dtype=torch.float64)
        for _ in range(4):
            state, tr = env.step(state, action)
            total = total + tr.reward.sum()
        found.append(torch.autograd.grad(total, action)[0])
    assert torch.equal(*found)
    kept = 4 * make("humanoid", num_envs=64, dtype="float32").task.dynamics.saved_size(64) * 32
    assert kept <= 100e6  # of a window of 64 worlds and 32 steps: a tenth of what the released simulator's tape takes


def test_standard_output_stays_clean():
    code = "from diffsim_core import make; env = make('cartpole', num_envs=2); env.reset(0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
