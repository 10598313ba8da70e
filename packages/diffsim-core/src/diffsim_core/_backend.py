"""``Backend``: all that the library asks of an array library, one object for torch and one for JAX.

Everything else is array-API code, the same for both. ``_interop_torch`` and ``_interop_jax`` hold the two objects;
``_interop`` picks one, and no other module asks which library it works with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from diffsim_core._protocol import Array, Between, Dynamics, Env, EnvState, Policy, PyTree, Trajectory


class Fill(Protocol):
    """Writes random numbers to device memory; equal objects write equal numbers, and hash alike."""

    @property
    def dtype(self) -> str: ...

    def __call__(self, worlds: int, per_world: int, seed: int, episode: int, out: int) -> None:
        """Write ``[worlds, per_world]`` numbers to address ``out``, from the integers at ``seed`` and ``episode``."""
        ...

    def __hash__(self) -> int: ...


class Backend(Protocol):
    """One array library."""

    @property
    def name(self) -> str:
        """What ``make(..., arrays=name)`` calls it."""
        ...

    @property
    def xp(self) -> Any:
        """Array namespace, after the array-API standard."""
        ...

    def device(self, name: str) -> Any:
        """The library's own device object for ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.

        Raises:
            ValueError: if the library has no such device.
        """
        ...

    def has_int64(self) -> bool:
        """Whether the library makes 64-bit numbers when asked; JAX does so only with ``jax_enable_x64``."""
        ...

    def can_read(self, device: str) -> bool:
        """Whether the host may read an array's numbers at any time, and without waiting for the device."""
        ...

    def is_traced(self, x: Any) -> bool:
        """Whether ``x`` stands for a number that is not known yet."""
        ...

    def from_numpy(self, values: np.ndarray[Any, Any], like: Array) -> Array:
        """``values`` as an array on the device of ``like``; the dtype stays."""
        ...

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """A copy of ``array`` in host memory, cut from any graph."""
        ...

    def contiguous(self, array: Array) -> Array:
        """``array`` in row-major memory, as kernels read it."""
        ...

    def apart(self, tree: PyTree, others: PyTree) -> PyTree:
        """``tree``, with a copy of each array that lies in the memory of one of ``others``."""
        ...

    def clip_unit(self, array: Array) -> Array:
        """Clip to [-1, 1]; the derivative is 1 inside and on the bounds, 0 outside."""
        ...

    def stop_gradient(self, array: Array) -> Array:
        """The same numbers, cut from the graph that made them."""
        ...

    def no_grad(self, function: Callable[[], Any]) -> Any:
        """Call ``function`` with its results cut from the graph."""
        ...

    def value_and_grad(self, function: Callable[[PyTree], Array], tree: PyTree) -> tuple[Array, PyTree]:
        """A scalar function of a tree of floating arrays, and its gradient (zeros where nothing depends on a leaf)."""
        ...

    def origin(self, function: Callable[[PyTree], Array], tree: PyTree) -> str:
        """Which operation makes the gradient of a scalar function not finite: ``: sqrt in robot.py, line 40``.

        Empty where the library does not say.
        """
        ...

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, compiled where the library does so ahead of the run."""
        ...

    def bridge(self, dynamics: Dynamics) -> Callable[..., tuple[PyTree, Array]]:
        """``dynamics`` as a differentiable function of this library's arrays; see ``differentiable``."""
        ...

    def draw(self, fill: Fill, seed: Array, episode: Array, shape: tuple[int, ...]) -> Array:
        """Random numbers ``[N, *shape]`` of ``fill.dtype`` that ``fill`` writes, for ``episode`` int32 ``[N]``."""
        ...

    def rollout(
        self,
        env: Env,
        policy: Policy,
        state: EnvState,
        obs: PyTree,
        num_steps: int,
        key: Any,
        between: Between | None,
        inputs: PyTree,
    ) -> tuple[Trajectory, EnvState, PyTree]:
        """``rollout`` with this library's loop; see there.

        Raises:
            ValueError: if ``key`` is given and the library has no keys.
        """
        ...
