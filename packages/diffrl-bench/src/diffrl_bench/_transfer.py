"""``diffrl bench transfer``: the policy of a run, unchanged, in MuJoCo C on the same model file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from diffrl_algos import load_policy
from diffrl_algos._evaluate import evaluate
from diffrl_algos._run import Run
from diffsim_core.rigid.limits import free_damping

from ._machine import machine, versions
from ._mujoco import bundled_mjcf, compiled, mujoco, own_steps, require_sizes
from ._stopwatch import Progress, unseen
from ._text import rounded, table

STEP_MS = 2.0
"""MuJoCo's own default step [ms]."""


class MuJoCoStep:
    """Control steps of MuJoCo C in the place of an environment's simulator, from the same states, without gradients.

    Task, resets, observation, reward and the ends of episodes stay the environment's. A world that MuJoCo warns of
    keeps its state and counts as diverged. Each world keeps its own ``MjData``, so that solvers start warm.

    Args:
        mjcf: the model's file or text; its motors have the controls of the task.
        dt: duration of a control step [s].
        worlds: how many worlds.
        step_ms: longest step of MuJoCo [ms]; a control step is divided into the fewest equal ones.
        damping: of each degree of freedom ``[nv]``, in place of the file's.

    Raises:
        ValueError: ``step_ms`` is not positive.
    """

    def __init__(
        self, mjcf: str | Path, *, dt: float, worlds: int, step_ms: float = STEP_MS, damping: Any = None
    ) -> None:
        if not step_ms > 0:
            raise ValueError(f"step_ms is {step_ms}; give milliseconds above 0")
        self.model = compiled(mjcf)
        self.substeps = own_steps(dt, 1e-3 * step_ms)
        self.model.opt.timestep = dt / self.substeps
        if damping is not None:
            self.model.dof_damping[:] = damping
        self._data = [mujoco.MjData(self.model) for _ in range(worlds)]

    def __call__(self, physics: Any, control: Any, constants: Any = ()) -> tuple[Any, Any]:
        """``(next_physics, ok)`` for torch arrays, as ``TaskEnv.dynamics_step``."""
        import torch

        q, qd = (part.detach().cpu().numpy().astype(np.float64) for part in physics)
        u = control[0].detach().cpu().numpy()
        ok = np.ones(len(q), dtype=bool)
        for k, d in enumerate(self._data):
            d.qpos[:], d.qvel[:], d.ctrl[:] = q[k], qd[k], u[k]
            d.warning.number[:] = 0
            for _ in range(self.substeps):
                mujoco.mj_step(self.model, d)
            ok[k] = not d.warning.number[_BAD].any()
            if ok[k]:
                q[k], qd[k] = d.qpos, d.qvel
        like = physics[0]
        after = (torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (q, qd))
        return type(physics)(*after), torch.as_tensor(ok, device=like.device)


_BAD = [int(getattr(mujoco.mjtWarning, f"mjWARN_BAD{name}")) for name in ("QPOS", "QVEL", "QACC")]


def transfer(
    run: Path | str,
    *,
    episodes: int = 64,
    seed: int = 0,
    checkpoint: str = "last",
    step_ms: float = STEP_MS,
    progress: Progress = unseen,
) -> dict[str, Any]:
    """Returns, lengths and forward speeds of a run's policy in our engine and in MuJoCo C, as ``--json`` has them.

    The mean action is taken, from the same starts on both sides. MuJoCo's joints have our damping; its contact and its
    limits are its own.

    Raises:
        ValueError: the run is not of torch, or its task has no MJCF file whose states and motors are the task's.
        RunError: ``run`` is no run folder, or the checkpoint is missing or damaged.
    """
    opened = Run.open(Path(run))
    spec = opened.spec
    if spec.entry.arrays != "torch":
        raise ValueError(f"{run} is a run in {spec.entry.arrays}; transfer takes runs in torch")
    mjcf = bundled_mjcf(spec.task)
    if mjcf is None:
        raise ValueError(f"task {spec.task!r} has no MJCF file for MuJoCo")
    policy = load_policy(run, which=checkpoint)
    separate = dataclasses.replace(spec, device="cpu", task_options={**spec.task_options, "fused": False})
    sides: dict[str, dict[str, Any]] = {}
    for k, side in enumerate(("here", "mujoco")):
        progress("engines", k / 2)
        env: Any = separate.make_env(episodes)
        engine, model = env.dynamics_step, env.task.dynamics.model
        if side == "mujoco":
            engine = MuJoCoStep(mjcf, dt=env.spec.dt, worlds=episodes, step_ms=step_ms, damping=free_damping(model))
            require_sizes(engine.model, model.nq, model.nv, model.nu)
        forward = _Forward(engine, env.spec.dt)
        env.dynamics_step = forward
        found = evaluate(env, policy, episodes=episodes, seed=seed)
        sides[side] = {
            "return_mean": found.return_mean,
            "return_std": found.return_std,
            "length_mean": float(np.mean(found.lengths)),
            "diverged": found.diverged,
            "speed_mean": forward.mean(),
        }
    progress("engines", 1.0)
    here, there = sides["here"], sides["mujoco"]
    return {
        "benchmark": "transfer",
        "run": Path(run).name,
        "algorithm": spec.algorithm,
        "task": spec.task,
        "task_options": dict(spec.task_options),
        "checkpoint": checkpoint,
        "seed": seed,
        "episodes": episodes,
        "step_ms": step_ms,
        **sides,
        "return_kept": there["return_mean"] / here["return_mean"] if here["return_mean"] > 0 else None,
        "speed_kept": there["speed_mean"] / here["speed_mean"] if here["speed_mean"] > 0 else None,
        "machine": machine(),
        "versions": versions(),
    }


class _Forward:
    """A simulator's steps, and how fast the first coordinate went in those that worlds finished."""

    def __init__(self, step: Any, dt: float) -> None:
        self._step, self._dt = step, dt
        self._sum, self._number = 0.0, 0

    def __call__(self, physics: Any, control: Any, constants: Any) -> tuple[Any, Any]:
        after, ok = self._step(physics, control, constants)
        moved = (after[0][:, 0] - physics[0][:, 0])[ok]
        self._sum += float(moved.sum())
        self._number += len(moved)
        return after, ok

    def mean(self) -> float:
        """Over all steps of all worlds [m/s]."""
        return self._sum / max(self._number, 1) / self._dt


def transfer_text(reports: list[dict[str, Any]]) -> str:
    """A table with a row for each run."""
    head = ("run", "return here", "in MuJoCo", "kept", "m/s here", "in MuJoCo", "steps here", "in MuJoCo")
    return table(head, [_row(report) for report in reports])


def _row(report: dict[str, Any]) -> tuple[str, ...]:
    here, there, kept = report["here"], report["mujoco"], report["return_kept"]
    return (
        report["run"],
        *(f"{rounded(side['return_mean'])} ± {rounded(side['return_std'])}" for side in (here, there)),
        "-" if kept is None else f"{kept:.0%}",
        *(rounded(side["speed_mean"]) for side in (here, there)),
        *(rounded(side["length_mean"]) for side in (here, there)),
    )
