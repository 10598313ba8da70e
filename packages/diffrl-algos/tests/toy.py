"""A point mass on a line as a task ``toy``: fast, differentiable, with ends of every kind.

``x' = v``, ``v' = 2 a``, explicit in v and then x; reward ``1 - x^2 - 0.1 v^2 - 0.01 a^2``. An episode ends where
``|x|`` passes ``limit`` and is stopped after ``horizon`` steps; a world diverges where ``x`` passes ``breaks``.
The dynamics is NumPy on the buffers of the protocol. Usable as ``diffrl ... --import toy.py``.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np

import diffsim_core
from diffsim_core import ArraySpec

DT = 0.1
GAIN = 2.0


class Point(NamedTuple):
    x: object
    v: object


def view(buffer):
    kind = {"float32": ctypes.c_float, "float64": ctypes.c_double, "int32": ctypes.c_int32}[buffer.dtype]
    return np.ctypeslib.as_array(ctypes.cast(buffer.ptr, ctypes.POINTER(kind)), buffer.shape)


class PointDynamics:
    device = "cpu"
    dt = DT
    state_type = Point
    state_spec = (ArraySpec("x", (1,)), ArraySpec("v", (1,)))
    control_spec = (ArraySpec("force", (1,)),)

    def __init__(self, dtype, breaks):
        self.dtype, self.breaks = dtype, breaks

    def saved_size(self, num_worlds):
        return 1

    def step(self, state, control, out, ok, saved):
        x, v, f = view(state[0]), view(state[1]), view(control[0])
        v_next = v + DT * GAIN * f
        x_next = x + DT * v_next
        fine = np.isfinite(x_next) & (x_next < self.breaks)
        view(ok)[:] = fine[:, 0]
        view(out[0])[:] = np.where(fine, x_next, x)
        view(out[1])[:] = np.where(fine, v_next, v)

    def vjp(self, state, control, ok, saved, out_cotangent, in_cotangent):
        fine = view(ok)[:, None] != 0
        gx, gv = (np.where(fine, view(part), 0) for part in out_cotangent)
        gv = gv + DT * gx
        view(in_cotangent[0])[:] = gx
        view(in_cotangent[1])[:] = gv
        view(in_cotangent[2])[:] = DT * GAIN * gv


class PointTask:
    name = "toy"
    num_obs = 2
    num_actions = 1

    def __init__(self, dtype, limit, horizon, breaks):
        self.dynamics = PointDynamics(dtype, breaks)
        self.limit, self.horizon = limit, horizon

    def initial(self, xp, random):
        return (random.uniform(0, (1,), -1.0, 1.0), random.uniform(1, (1,), -0.5, 0.5)), ()

    def control(self, xp, action):
        return (action,)

    def advance(self, xp, action, task):
        return task

    def observe(self, xp, physics, task):
        return xp.concat([physics.x, physics.v], axis=1)

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        x, v, a = next_obs[:, 0], next_obs[:, 1], action[:, 0]
        return 1.0 - x * x - 0.1 * v * v - 0.01 * a * a

    def terminated(self, xp, physics, task):
        return xp.abs(physics.x[:, 0]) > self.limit

    def metrics(self, xp, physics, action, next_physics, next_obs, task):
        return {"distance": xp.abs(next_obs[:, 0])}


def make_task(*, num_envs, device, dtype, limit=2.0, horizon=20, breaks=1e6):
    return PointTask(dtype, limit, horizon, breaks)


if "toy" not in diffsim_core.list_tasks():
    diffsim_core.register_task("toy", make_task)
