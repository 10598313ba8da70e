"""A small simulator and its task, whole: what other packages may copy to see a new environment pass ``check_env``.

Two pendulums joined by a torsional spring, in Warp's own language, with a hand-written vector-Jacobian product.
"""

# pyright: reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false, reportCallIssue=false
# No postponed annotations here: Warp reads the kernels' types at definition.

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import warp as wp

from diffsim_core import ArraySpec, Buffer, Random, TaskEnv

GRAVITY, DAMPING, SPRING, SUBSTEPS, LIMIT = 9.81, 0.2, 1.5, 4, 1e3


class PendulumState(NamedTuple):
    q: Any
    """Angles from hanging [rad], ``[N, 2]``."""
    qd: Any
    """Rates [rad/s], ``[N, 2]``."""


@lru_cache(maxsize=2)
def kernels(dtype: str) -> tuple[Any, Any]:
    real = wp.float32 if dtype == "float32" else wp.float64
    g, c, k = wp.constant(real(GRAVITY)), wp.constant(real(DAMPING)), wp.constant(real(SPRING))
    limit, substeps, one = wp.constant(real(LIMIT)), wp.constant(SUBSTEPS), wp.constant(real(1.0))

    def step(
        q: wp.array2d[real],
        qd: wp.array2d[real],
        u: wp.array2d[real],
        h: real,
        q_out: wp.array2d[real],
        qd_out: wp.array2d[real],
        ok: wp.array1d[wp.int32],
        saved: wp.array1d[real],
        save: bool,
    ):
        i = wp.tid()
        q0 = q[i, 0]
        q1 = q[i, 1]
        v0 = qd[i, 0]
        v1 = qd[i, 1]
        for s in range(substeps):
            if save:
                saved[(i * substeps + s) * 2] = q0
                saved[(i * substeps + s) * 2 + 1] = q1
            a0 = u[i, 0] - g * wp.sin(q0) - c * v0 + k * (q1 - q0)
            a1 = u[i, 1] - g * wp.sin(q1) - c * v1 + k * (q0 - q1)
            v0 = v0 + h * a0
            v1 = v1 + h * a1
            q0 = q0 + h * v0
            q1 = q1 + h * v1
        # Comparisons with a number that is not one are false, so this refuses those too.
        if wp.abs(v0) < limit and wp.abs(v1) < limit and wp.abs(q0) < limit and wp.abs(q1) < limit:
            ok[i] = 1
            q_out[i, 0] = q0
            q_out[i, 1] = q1
            qd_out[i, 0] = v0
            qd_out[i, 1] = v1
        else:
            ok[i] = 0
            for j in range(2):
                q_out[i, j] = q[i, j]
                qd_out[i, j] = qd[i, j]

    def vjp(
        h: real,
        ok: wp.array1d[wp.int32],
        saved: wp.array1d[real],
        gq_out: wp.array2d[real],
        gqd_out: wp.array2d[real],
        gq: wp.array2d[real],
        gqd: wp.array2d[real],
        gu: wp.array2d[real],
    ):
        i = wp.tid()
        zero = real(0.0)
        p0 = gq_out[i, 0]
        p1 = gq_out[i, 1]
        r0 = gqd_out[i, 0]
        r1 = gqd_out[i, 1]
        w0 = zero
        w1 = zero
        for reverse in range(substeps):
            s = substeps - 1 - reverse
            q0 = saved[(i * substeps + s) * 2]
            q1 = saved[(i * substeps + s) * 2 + 1]
            b0 = r0 + h * p0
            b1 = r1 + h * p1
            p0 = p0 + h * (b0 * (zero - g * wp.cos(q0) - k) + k * b1)
            p1 = p1 + h * (b1 * (zero - g * wp.cos(q1) - k) + k * b0)
            r0 = (one - h * c) * b0
            r1 = (one - h * c) * b1
            w0 = w0 + h * b0
            w1 = w1 + h * b1
        for j in range(2):
            gq[i, j] = zero
            gqd[i, j] = zero
            gu[i, j] = zero
        if ok[i] != 0:
            gq[i, 0] = p0
            gq[i, 1] = p1
            gqd[i, 0] = r0
            gqd[i, 1] = r1
            gu[i, 0] = w0
            gu[i, 1] = w1

    module = wp.get_module(f"pendulum_{dtype}")
    return tuple(wp.kernel(function, module=module, enable_backward=False) for function in (step, vjp))


class PendulumDynamics:
    """See ``diffsim_core.Dynamics``."""

    dt = 1 / 30
    state_type = PendulumState
    state_spec = (ArraySpec("q", (2,)), ArraySpec("qd", (2,)))
    control_spec = (ArraySpec("tau", (2,)),)

    def __init__(self, dtype: str = "float32", device: str = "cpu") -> None:
        self.dtype = dtype
        self.device = device
        self.forward, self.backward = kernels(dtype)

    def saved_size(self, num_worlds: int) -> int:
        return num_worlds * SUBSTEPS * 2

    def step(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        out: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer | None,
    ) -> None:
        given = [buffer.array() for buffer in (*state, *control)]
        results = [buffer.array() for buffer in (*out, ok)]
        keep = None if saved is None else saved.array()
        inputs = [*given, self.dt / SUBSTEPS, *results, keep, saved is not None]
        wp.launch(self.forward, state[0].shape[0], inputs=inputs, device=self.device)

    def vjp(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer,
        out_cotangent: Sequence[Buffer],
        in_cotangent: Sequence[Buffer],
    ) -> None:
        arrays = [buffer.array() for buffer in (ok, saved, *out_cotangent, *in_cotangent)]
        inputs = [self.dt / SUBSTEPS, *arrays]
        wp.launch(self.backward, state[0].shape[0], inputs=inputs, device=self.device)


class Pendulum:
    """Swing both pendulums up: 8 observations, and 2 actions, which the task remembers."""

    name = "pendulum"
    num_obs = 8
    num_actions = 2
    strength = 12.0

    def __init__(self, *, device: str = "cpu", dtype: str = "float32", horizon: int = 20, fall: float = 14.0) -> None:
        self.dynamics = PendulumDynamics(dtype, device)
        self.horizon = horizon
        self.fall = fall

    def initial(self, xp: Any, random: Random) -> tuple[Any, Any]:
        q, qd = random.uniform(0, (2,), -1.0, 1.0), 0.5 * random.normal(0, (2,))
        return (q, qd), random.constant([0.0, 0.0])

    def control(self, xp: Any, action: Any) -> tuple[Any, ...]:
        return (self.strength * action,)

    def advance(self, xp: Any, action: Any, task: Any) -> Any:
        return action

    def observe(self, xp: Any, physics: PendulumState, task: Any) -> Any:
        return xp.concat([xp.sin(physics.q), xp.cos(physics.q), 0.1 * physics.qd, task], axis=1)

    def reward(self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any) -> Any:
        effort = xp.sum(action * action, axis=1)
        return -xp.sum(next_obs[:, 2:4], axis=1) - 0.01 * xp.sum(next_physics.qd**2, axis=1) - 0.1 * effort

    def terminated(self, xp: Any, physics: PendulumState, task: Any) -> Any:
        return xp.abs(physics.qd[:, 0]) > self.fall

    def metrics(
        self, xp: Any, physics: Any, action: Any, next_physics: PendulumState, next_obs: Any, task: Any
    ) -> Mapping[str, Any]:
        return {"speed": xp.abs(next_physics.qd[:, 0])}


FUSED = False
"""Whether steps on torch arrays are one operation each; the fixture ``both_ways`` sets it."""


def make_pendulum(
    num_envs: int = 64,
    arrays: str = "torch",
    device: str = "cpu",
    dtype: str = "float32",
    world_offset: int = 0,
    **options: Any,
) -> TaskEnv:
    task = Pendulum(device=device, dtype=dtype, **options)
    fused = FUSED and arrays == "torch" and device == "cpu"
    given = {"arrays": arrays, "device": device, "dtype": dtype, "world_offset": world_offset, "fused": fused}
    return TaskEnv(task, num_envs, **given)
