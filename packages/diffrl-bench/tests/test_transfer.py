"""Policies in MuJoCo C: the same physics in the limit of small steps, worlds of their own, and what cannot transfer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import diffsim_core
from diffrl_algos.cli import main
from diffrl_bench._mujoco import bundled_mjcf, require_sizes
from diffrl_bench._transfer import MuJoCoStep, transfer, transfer_text
from diffsim_core.rigid.limits import free_damping


def test_small_steps_of_both_engines_go_to_the_same_place() -> None:
    text = bundled_mjcf("cartpole")
    assert text is not None
    apart = []
    for substeps in (20, 80):
        env = diffsim_core.make("cartpole", num_envs=3, dtype="float64", substeps=substeps)
        state, _ = env.reset(0)
        control = (torch.tensor([[0.02], [-0.01], [0.0]], dtype=torch.float64),)
        damping = free_damping(env.task.dynamics.model)
        theirs = MuJoCoStep(text, dt=env.spec.dt, worlds=3, step_ms=1e3 * env.spec.dt / substeps, damping=damping)
        assert theirs.substeps == substeps
        ours, ok = env.dynamics_step(state.physics, control, state.constants)
        after, fine = theirs(state.physics, control)
        assert ok.all() and fine.all()
        moved = float((ours.qd - state.physics.qd).abs().max())
        apart.append(float((ours.qd - after.qd).abs().max()) / moved)
    assert apart[1] < apart[0] / 3 and apart[1] < 1e-3


def test_a_world_that_mujoco_warns_of_keeps_its_state_and_spares_the_others() -> None:
    text = bundled_mjcf("cartpole")
    assert text is not None
    env = diffsim_core.make("cartpole", num_envs=2)
    state, _ = env.reset(0)
    q = state.physics.q.clone()
    q[0, 1] = 1e11
    step = MuJoCoStep(text, dt=env.spec.dt, worlds=2)
    after, ok = step(type(state.physics)(q, state.physics.qd), (torch.zeros(2, 1),))
    assert ok.tolist() == [False, True]
    assert after.q[0].tolist() == q[0].tolist() and after.q[1].tolist() != q[1].tolist()


def test_a_run_on_both_sides(tmp_path: Path) -> None:
    run = _trained(tmp_path / "run", "cartpole")
    report = transfer(run, episodes=3)
    assert report["task"] == "cartpole" and report["here"]["length_mean"] == report["mujoco"]["length_mean"] == 240
    assert report["here"]["diverged"] == report["mujoco"]["diverged"] == 0
    assert report["return_kept"] is None, "a share of a negative return says nothing"
    assert transfer(run, episodes=3)["mujoco"] == report["mujoco"]
    assert "cartpole" not in transfer_text([report]).splitlines()[0]


def test_the_mjcf_of_every_robot_has_the_states_and_motors_of_its_task() -> None:
    for task in ("cartpole", "hopper", "half_cheetah", "walker2d", "ant", "humanoid"):
        env = diffsim_core.make(task, num_envs=1)
        model, text = env.task.dynamics.model, bundled_mjcf(task)
        assert text is not None
        step = MuJoCoStep(text, dt=env.spec.dt, worlds=1, damping=free_damping(model))
        require_sizes(step.model, model.nq, model.nv, model.nu)
        physics = env.reset(0)[0].physics
        after, ok = step(physics, (torch.zeros(1, model.nu),))
        assert ok.all() and (after.q[0, :3] - physics.q[0, :3]).norm() < 0.1, task


def test_what_cannot_transfer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task 'dejong' has no MJCF file"):
        transfer(_trained(tmp_path / "run", "dejong"))
    with pytest.raises(ValueError, match=r"step_ms is 0\.0; give milliseconds above 0"):
        MuJoCoStep("<mujoco/>", dt=0.01, worlds=1, step_ms=0.0)


def _trained(folder: Path, task: str) -> Path:
    small = ["--iterations", "1", "--num-envs", "4", "--eval-episodes", "1", "--actor-hidden", "8"]
    assert main(["train", "shac", task, *small, "--critic-hidden", "8", "--out", str(folder)]) == 0
    return folder
