"""Newton and MuJoCo Warp in the same run as our simulators."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._mujoco import compiled, own_steps, require_sizes
from ._stopwatch import Clock, Stopwatch

NAMES = ("newton", "mujoco-warp")
ROBOTS = ("ant", "cartpole", "hopper", "half_cheetah", "walker2d", "humanoid")
"""Tasks of which Newton simulates the robot."""


class NewtonWindow:
    """A window of Newton's ``SolverFeatherstone``, single precision: the same robot, start, actions and sub-steps.

    Contacts are Newton's, with our stiffness and friction. Laps: ``forward``, and ``forward_backward``, whose backward
    pass repeats every control step on a tape; both passes are recorded once and replayed. See ``NewtonDynamics``.

    Args:
        env: worlds of one of ``ROBOTS``.
        begin: first state and actions.
        device: ``cpu``, ``cuda`` or ``cuda:i``.

    Raises:
        ImportError: Newton is not installed.
        ValueError: Newton cannot simulate this task.
    """

    name = "newton"

    def __init__(self, env: Any, begin: Any, *, device: str) -> None:
        import torch

        from diffsim_core import differentiable
        from diffsim_core.adapters import NewtonDynamics
        from diffsim_core.tasks.newton import NewtonTask, newton_worlds

        if env.task.name not in ROBOTS:
            raise ValueError(f"Newton has no robot of task {env.task.name!r} here; choose from {', '.join(ROBOTS)}")
        began = time.perf_counter()
        ours = env.task.dynamics
        self.num_worlds, self.substeps, self.step_s = env.num_envs, ours.substeps, ours.dt
        worlds = newton_worlds(ours.model, env.num_envs, device)
        dynamics = NewtonDynamics(worlds, dt=ours.dt, substeps=ours.substeps, contacts=len(ours.model.contact_kn) > 0)
        task = NewtonTask(env.task, dynamics)
        with torch.no_grad():
            state = task.from_rigid(env.xp, begin.state.physics[:2])
            self._start = dynamics.state_type(*(part.contiguous() for part in state))
            self._controls = [tuple(p.contiguous() for p in task.control(env.xp, action)) for action in begin.actions]
        self._step: Callable[..., Any] = differentiable(dynamics)
        self.finite, self._gradients = False, torch.zeros(0)
        self(Stopwatch(Clock()))
        self.compile_s = time.perf_counter() - began

    @property
    def steps(self) -> int:
        """Newton's own steps in a window, summed over worlds."""
        return len(self._controls) * self.num_worlds * self.substeps

    def __call__(self, watch: Stopwatch) -> None:
        import torch

        with torch.no_grad():
            watch.restart()
            _, fine = self._run(self._controls)
            watch.lap("forward")
        leaves = [tuple(part.clone().requires_grad_() for part in control) for control in self._controls]
        watch.restart()
        last, _ = self._run(leaves)
        found = torch.autograd.grad(last, [p for c in leaves for p in c], [torch.ones_like(p) for p in last])
        watch.lap("forward_backward")
        self.finite, self._gradients = fine, torch.stack(list(found))

    def finite_gradients(self) -> float:
        """Share of worlds whose gradients are all finite."""
        return float(self._gradients.isfinite().all(dim=2).all(dim=0).float().mean())

    def _run(self, controls: list[Any]) -> tuple[Any, bool]:
        state, oks = self._start, []
        for control in controls:
            state, ok = self._step(state, control)
            oks.append(ok)
        return state, all(bool(ok.all()) for ok in oks)


class MujocoWarpWindow:
    """A window of MuJoCo Warp, single precision, forward only: it has no backward pass.

    The same bodies, start, actions and steps as MuJoCo's, and its solver's defaults. On a CPU Warp runs the kernels of
    all worlds on one core, which is not what it is made for.

    Args:
        mjcf: the model, as text or a file.
        qpos: start ``[N, nq]``.
        qvel: start ``[N, nv]``.
        control: ``[T, N, nu]``, each row held for one control step.
        dt: duration of a control step [s].
        device: ``cpu``, ``cuda`` or ``cuda:i``.

    Raises:
        ImportError: MuJoCo Warp is not installed.
    """

    name = "mujoco-warp"

    def __init__(self, mjcf: str | Path, qpos: Any, qvel: Any, control: Any, *, dt: float, device: str) -> None:
        mjw: Any = importlib.import_module("mujoco_warp")
        mujoco: Any = importlib.import_module("mujoco")
        import numpy as np
        import warp as wp

        began = time.perf_counter()
        model = compiled(mjcf)
        require_sizes(model, qpos.shape[1], qvel.shape[1], control.shape[2])
        self.num_worlds, self.substeps, self.step_s = len(qpos), own_steps(dt), dt
        model.opt.timestep = dt / self.substeps
        self._mjw, self._wp, self._device = mjw, wp, device
        with wp.ScopedDevice(device):
            self._model = mjw.put_model(model)
            self._data = mjw.put_data(model, mujoco.MjData(model), nworld=self.num_worlds)
            self._start = [wp.array(np.asarray(part), dtype=wp.float32) for part in (qpos, qvel)]
            self._controls = [wp.array(np.asarray(row), dtype=wp.float32) for row in control]
        self.finite = False
        self(Stopwatch(Clock()))
        self.compile_s = time.perf_counter() - began

    @property
    def steps(self) -> int:
        """MuJoCo Warp's own steps in a window, summed over worlds."""
        return len(self._controls) * self.num_worlds * self.substeps

    def __call__(self, watch: Stopwatch) -> None:
        import numpy as np

        wp, data = self._wp, self._data
        with wp.ScopedDevice(self._device):
            watch.restart()
            for held, start in zip((data.qpos, data.qvel), self._start, strict=True):
                wp.copy(held, start)
            for control in self._controls:
                wp.copy(data.ctrl, control)
                for _ in range(self.substeps):
                    self._mjw.step(self._model, data)
            wp.synchronize_device()
            watch.lap("forward")
        self.finite = bool(np.isfinite(data.qpos.numpy()).all())

    def finite_gradients(self) -> None:
        """None: there are none."""
