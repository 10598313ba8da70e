"""Functions to minimise, as environments of one step: De Jong's and Ackley's (GI-PPO, Son et al. 2023, appendix 7.5.1).

The action is the point and the reward is minus the function's value. Every step ends its episode. Observations are zero
and nothing is simulated, so these tasks test how an algorithm finds a maximum from values and gradients.
"""

# The kernels are Warp's language, whose types a Python type checker misreads.
# pyright: reportInvalidTypeForm=false, reportAttributeAccessIssue=false, reportIndexIssue=false

# No postponed annotations here: Warp reads the kernels' types at definition.

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import warp as wp
from annotated_types import Interval, doc

from diffsim_core._buffer import Buffer
from diffsim_core._protocol import Array, ArraySpec, PyTree, Random
from diffsim_core._remade import Remade
from diffsim_core._warp import start_warp

Dim = Annotated[int, Interval(ge=1, le=1_000_000), doc("Variables of the function.")]


class Point(NamedTuple):
    """The last point at which the function was evaluated."""

    x: Array
    """``[N, dim]``, in the function's own units."""


class PointDynamics(Remade):
    """Dynamics that move the point to the control in one step."""

    dt = 1.0
    state_type = Point

    def __init__(self, dim: int, *, dtype: str, device: str) -> None:
        self.dtype, self.device = dtype, device
        self.state_spec = (ArraySpec("x", (dim,)),)
        self.control_spec = (ArraySpec("x", (dim,)),)
        start_warp()
        self._step, self._vjp = _kernels(dtype)

    def saved_size(self, num_worlds: int) -> int:
        """1, because an array cannot be empty."""
        return 1

    def step(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        out: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer | None,
    ) -> None:
        self._launch(self._step, *state, *control, *out, ok)

    def vjp(
        self,
        state: Sequence[Buffer],
        control: Sequence[Buffer],
        ok: Buffer,
        saved: Buffer,
        out_cotangent: Sequence[Buffer],
        in_cotangent: Sequence[Buffer],
    ) -> None:
        self._launch(self._vjp, *out_cotangent, ok, *in_cotangent)

    def _launch(self, kernel: Any, *buffers: Buffer) -> None:
        wp.launch(kernel, buffers[0].shape[0], inputs=[buffer.array() for buffer in buffers], device=self.device)


class FunctionTask:
    """Find the minimum of ``function(xp, x [N, dim]) -> [N]`` in a box around 0.

    Actions in [-1, 1] span the box; the reward is minus the function's value.
    """

    horizon = 1
    num_obs = 1
    obs_names = ("zero",)

    def __init__(
        self, name: str, function: Callable[[Any, Array], Array], bound: float, dynamics: PointDynamics
    ) -> None:
        self.name = name
        self.dynamics = dynamics
        self.num_actions = dynamics.control_spec[0].shape[0]
        self.action_names = tuple(f"x{i}" for i in range(self.num_actions))
        self.control_range = ((-bound, bound),) * self.num_actions
        self._function, self._bound = function, bound

    def initial(self, xp: Any, random: Random) -> tuple[PyTree, PyTree]:
        """The point of the minimum; the initial point has no effect."""
        return (random.constant([0.0] * self.num_actions),), ()

    def control(self, xp: Any, action: Array) -> tuple[Array, ...]:
        """The point ``[N, dim]``: half the box's width times the action."""
        return (self._bound * action,)

    def advance(self, xp: Any, action: Array, task: PyTree) -> PyTree:
        """The task has no memory."""
        return task

    def observe(self, xp: Any, physics: Point, task: PyTree) -> Array:
        """``[N, 1]`` zeros."""
        return xp.zeros_like(physics.x[:, :1])

    def reward(
        self, xp: Any, physics: Point, action: Array, next_physics: Point, next_obs: Array, task: PyTree
    ) -> Array:
        """Minus the function's value at the point."""
        return -self._function(xp, next_physics.x)

    def terminated(self, xp: Any, physics: Point, task: PyTree) -> Array:
        """Every step ends its episode."""
        return xp.ones_like(physics.x[:, 0], dtype=xp.bool)


def dejong(xp: Any, x: Array) -> Array:
    """De Jong's function ``sum_i x_i^2``, in the box of half-width 5.12; the minimum is 0, at 0.

    Args:
        xp: array namespace of ``x``.
        x: points ``[N, dim]``.
    """
    return xp.sum(x * x, axis=1)


def ackley(xp: Any, x: Array) -> Array:
    """Ackley's function, in the box of half-width 32.768; the minimum is 0, at 0, among many others.

    ``-20 exp(-0.2 sqrt(mean_i x_i^2)) - exp(mean_i cos(2 pi x_i)) + 20 + e``

    ``expm1`` keeps single precision accurate near the minimum. The function has no derivative at the minimum; its
    gradient there is 0.

    Args:
        xp: array namespace of ``x``.
        x: points ``[N, dim]``.
    """
    square = xp.mean(x * x, axis=1)
    positive = square > 0
    root = xp.sqrt(xp.where(positive, square, xp.ones_like(square)))
    bowl = -20.0 * xp.expm1(-0.2 * xp.where(positive, root, xp.zeros_like(root)))
    waves = -math.e * xp.expm1(-2.0 * xp.mean(xp.sin(math.pi * x) ** 2, axis=1))
    return bowl + waves


def make_dejong(*, num_envs: int, device: str, dtype: str, dim: Dim = 1) -> FunctionTask:
    """De Jong's function of ``dim`` variables."""
    return _make("dejong", dejong, 5.12, device, dtype, dim)


def make_dejong_64(*, num_envs: int, device: str, dtype: str, dim: Dim = 64) -> FunctionTask:
    """De Jong's function of ``dim`` variables, 64 by default."""
    return _make("dejong_64", dejong, 5.12, device, dtype, dim)


def make_ackley(*, num_envs: int, device: str, dtype: str, dim: Dim = 1) -> FunctionTask:
    """Ackley's function of ``dim`` variables."""
    return _make("ackley", ackley, 32.768, device, dtype, dim)


def make_ackley_64(*, num_envs: int, device: str, dtype: str, dim: Dim = 64) -> FunctionTask:
    """Ackley's function of ``dim`` variables, 64 by default."""
    return _make("ackley_64", ackley, 32.768, device, dtype, dim)


def _make(
    name: str, function: Callable[[Any, Array], Array], bound: float, device: str, dtype: str, dim: int
) -> FunctionTask:
    if type(dim) is not int or dim < 1:
        raise ValueError(f"dim is {dim!r}; {name} needs a whole number of at least 1 variable")
    return FunctionTask(name, function, bound, PointDynamics(dim, dtype=dtype, device=device))


@lru_cache(maxsize=2)
def _kernels(dtype: str) -> tuple[Any, Any]:
    real = wp.float32 if dtype == "float32" else wp.float64

    def step(
        x: wp.array2d[real],
        target: wp.array2d[real],
        out: wp.array2d[real],
        ok: wp.array1d[wp.int32],
    ):
        i = wp.tid()
        fine = wp.int32(1)
        for j in range(x.shape[1]):
            if not (wp.isfinite(x[i, j]) and wp.isfinite(target[i, j])):
                fine = wp.int32(0)
        ok[i] = fine
        for j in range(x.shape[1]):
            if fine == 1:
                out[i, j] = target[i, j]
            else:
                out[i, j] = x[i, j]

    def vjp(
        g_out: wp.array2d[real],
        ok: wp.array1d[wp.int32],
        g_x: wp.array2d[real],
        g_target: wp.array2d[real],
    ):
        i = wp.tid()
        for j in range(g_out.shape[1]):
            g_x[i, j] = real(0.0)
            if ok[i] == 1:
                g_target[i, j] = g_out[i, j]
            else:
                g_target[i, j] = real(0.0)

    module = wp.get_module(f"diffsim_functions_{dtype}")
    forward, backward = (wp.kernel(function, module=module, enable_backward=False) for function in (step, vjp))
    return forward, backward
