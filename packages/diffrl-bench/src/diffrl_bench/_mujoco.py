"""MuJoCo on the same model, in the same run as our simulator."""

from __future__ import annotations

import importlib
import math
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from ._stopwatch import Stopwatch

# MuJoCo's stubs do not name what the module imports from its core.
mujoco: Any = importlib.import_module("mujoco")
rollout: Any = importlib.import_module("mujoco.rollout")

LONGEST_STEP = 0.01
"""Longest step of MuJoCo [s], which is that of its own Ant in Gymnasium."""
JACOBIANS = 16
"""Finite-difference Jacobians in one lap."""

_FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS
_EPS = 1e-6


def bundled_mjcf(task: str) -> str | None:
    """MJCF text of a task of diffsim-core, or None if there is no file of that name."""
    file = resources.files("diffsim_core.tasks") / "models" / f"{task}.xml"
    return file.read_text(encoding="utf-8") if file.is_file() else None


def compiled(mjcf: str | Path) -> Any:
    """``MjModel`` of a text or a file."""
    return mujoco.MjModel.from_xml_path(str(mjcf)) if isinstance(mjcf, Path) else mujoco.MjModel.from_xml_string(mjcf)


def own_steps(dt: float, longest: float = LONGEST_STEP) -> int:
    """The fewest equal steps of at most ``longest`` [s] that a control step of ``dt`` [s] divides into."""
    return math.ceil(dt / longest - 1e-9)


def require_sizes(model: Any, nq: int, nv: int, nu: int) -> None:
    """Raise ``ValueError`` unless MuJoCo's model has as many coordinates, velocities and controls as ours."""
    if (model.nq, model.nv, model.nu) != (nq, nv, nu):
        raise ValueError("the MJCF file does not describe the simulated model")


class MuJoCoWindow:
    """The same window for ``mujoco.rollout``: the same bodies, start and actions, forward only.

    A control step is split into the fewest equal steps of at most ``LONGEST_STEP``. Everything else is MuJoCo's
    default: its Euler integrator, Newton solver, contacts and joint limits as constraints, float64.

    Laps: ``forward``; with ``jacobians`` also ``jacobians``, ``mjd_transitionFD`` at ``JACOBIANS`` of the start states.
    These are MuJoCo's own derivatives: forward differences of one step with respect to its state and control.

    Args:
        mjcf: the model, as text or a file.
        qpos, qvel: start ``[N, nq]``, ``[N, nv]``.
        control: ``[T, N, nu]``, each row held for one control step.
        dt: duration of a control step [s].
        threads: threads of the rollout's pool.
        jacobians: time derivatives too.
    """

    def __init__(
        self, mjcf: str | Path, qpos: Any, qvel: Any, control: Any, *, dt: float, threads: int, jacobians: bool
    ) -> None:
        model = compiled(mjcf)
        self.substeps = own_steps(dt)
        model.opt.timestep = dt / self.substeps
        self.step_s = float(model.opt.timestep)
        self.threads = threads
        require_sizes(model, qpos.shape[1], qvel.shape[1], control.shape[2])
        self._model = model
        self._data = [mujoco.MjData(model) for _ in range(threads)]
        self._start = _states(model, self._data[0], qpos, qvel)
        self._control = np.ascontiguousarray(np.repeat(control.transpose(1, 0, 2), self.substeps, axis=1), dtype=float)
        shape = (*self._control.shape[:2], self._start.shape[1])
        self._out = np.empty(shape)
        self._pool = rollout.Rollout(nthread=threads)
        self._linear = _Jacobians(model, self._start, self._control[:, 0]) if jacobians else None

    @property
    def steps(self) -> int:
        """MuJoCo steps in a window, summed over worlds."""
        return self._control.shape[0] * self._control.shape[1]

    @property
    def finite(self) -> bool:
        """Whether all worlds are still finite after the window."""
        return bool(np.isfinite(self._out[:, -1]).all())

    def contacts(self) -> float:
        """Mean number of contacts of a world at the end of the last window."""
        data, found = self._data[0], 0
        for state in self._out[:, -1]:
            mujoco.mj_setState(self._model, data, state, _FULL)
            mujoco.mj_forward(self._model, data)
            found += data.ncon
        return found / len(self._out)

    def __call__(self, watch: Stopwatch) -> None:
        watch.restart()
        self._pool.rollout(self._model, self._data, self._start, self._control, state=self._out)
        watch.lap("forward")
        if self._linear is not None:
            self._linear.run()
            watch.lap("jacobians")

    def close(self) -> None:
        """End the pool's threads."""
        self._pool.close()


class _Jacobians:
    def __init__(self, model: Any, states: Any, control: Any) -> None:
        n = 2 * model.nv + model.na
        self._model, self._data = model, mujoco.MjData(model)
        pick = np.arange(JACOBIANS) % len(states)
        self._states, self._control = states[pick], control[pick]
        self._a, self._b = np.zeros((n, n)), np.zeros((n, model.nu))

    def run(self) -> None:
        for state, control in zip(self._states, self._control, strict=True):
            mujoco.mj_setState(self._model, self._data, state, _FULL)
            self._data.ctrl[:] = control
            mujoco.mjd_transitionFD(self._model, self._data, _EPS, False, self._a, self._b, None, None)


def _states(model: Any, data: Any, qpos: Any, qvel: Any) -> Any:
    states = np.empty((len(qpos), mujoco.mj_stateSize(model, _FULL)))
    for state, q, v in zip(states, qpos, qvel, strict=True):
        data.qpos[:], data.qvel[:] = q, v
        mujoco.mj_getState(model, data, state, _FULL)
    return states
