"""One simulator, two array libraries: ``differentiable(dynamics)`` for torch tensors and JAX arrays.

Nothing here imports torch or JAX: whoever hands in an array has done so already. The bridges are in
``_interop_torch`` and ``_interop_jax``, the only modules that import them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffsim_core._protocol import Array, ArraySpec, Dynamics, PyTree
from diffsim_core._tree import tree_leaves, tree_map


def framework_of(array: Any) -> str:
    """``"torch"`` or ``"jax"`` (traced arrays included).

    Raises:
        TypeError: if ``array`` is neither a ``torch.Tensor`` nor a ``jax.Array``.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return "torch"
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(array, jax.Array):
        return "jax"
    raise TypeError(f"expected a torch.Tensor or a jax.Array, got {type(array).__module__}.{type(array).__qualname__}")


def device_of(arrays: str, name: str) -> Any:
    """The library's own device object for ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.

    Raises:
        ValueError: if there is no such device.
    """
    if arrays == "torch":
        from diffsim_core._interop_torch import torch_device

        return torch_device(name)
    from diffsim_core._interop_jax import jax_device

    return jax_device(name)


def namespace(arrays: str) -> Any:
    """The array-API namespace of ``"torch"`` or ``"jax"``.

    Raises:
        ValueError: for any other name.
        ImportError: if the library is not installed; the message names the extra that brings it.
    """
    if arrays not in ("torch", "jax"):
        raise ValueError(f"arrays must be 'torch' or 'jax', got {arrays!r}")
    try:
        if arrays == "torch":
            import array_api_compat.torch as xp
        else:
            from diffsim_core._interop_jax import XP as xp
    except ModuleNotFoundError as error:
        message = f"arrays={arrays!r} needs {arrays}, which is not installed: pip install 'diffsim-core[{arrays}]'"
        raise ImportError(message) from error
    return xp


def has_int64(xp: Any) -> bool:
    """Whether the library makes 64-bit numbers when asked; JAX does so only with ``jax_enable_x64``."""
    if xp.__name__ != "jax.numpy":
        return True
    from diffsim_core._interop_jax import x64_enabled

    return x64_enabled()


def differentiable(dynamics: Dynamics) -> Callable[[PyTree, Sequence[Array]], tuple[PyTree, Array]]:
    """Turn a simulator's ``step`` and ``vjp`` into a function that torch and JAX can differentiate.

    The function returned maps ``(state, control)`` to ``(next_state, ok)``: ``state`` and
    ``next_state`` hold arrays ``[N, *shape]`` as ``dynamics.state_spec`` says, ``control`` as
    ``dynamics.control_spec`` says, and ``ok`` is bool ``[N]``, false where a world left the finite
    range (its next state repeats its state; its cotangents are exactly zero). First derivatives
    only. With JAX it works inside ``jit``, ``grad``, ``scan`` and, world batch by world batch, ``vmap``.

    Raises:
        ValueError: (the function) for a wrong number of arrays, or an array of wrong shape, dtype or
            device, or a torch tensor that is not contiguous; the message names the array.
        TypeError: (the function) for anything that is not a torch or JAX array.
    """
    bridges: dict[str, Callable[[PyTree, Sequence[Array]], tuple[PyTree, Array]]] = {}

    def step(state: PyTree, control: Sequence[Array]) -> tuple[PyTree, Array]:
        arrays = framework_of(state[0])
        bridge = bridges.get(arrays)
        if bridge is None:
            bridge = bridges[arrays] = _bridge(arrays, dynamics)
        return bridge(state, control)

    return step


def _bridge(arrays: str, dynamics: Dynamics) -> Callable[[PyTree, Sequence[Array]], tuple[PyTree, Array]]:
    if arrays == "torch":
        from diffsim_core._interop_torch import TorchBridge

        return TorchBridge(dynamics)
    from diffsim_core._interop_jax import JaxBridge

    return JaxBridge(dynamics)


def out_spec(dynamics: Dynamics) -> tuple[ArraySpec, ...]:
    """What a simulator writes: a state, unless it has an ``out_spec`` of its own (sensors do)."""
    return getattr(dynamics, "out_spec", dynamics.state_spec)


def check_count(dynamics: Dynamics, state: Sequence[Any], control: Sequence[Any]) -> None:
    """Raise ``ValueError`` unless as many arrays were given as the dynamics has."""
    for name, given, spec in (
        ("state", state, dynamics.state_spec),
        ("control", control, dynamics.control_spec),
    ):
        if len(given) != len(spec):
            names = ", ".join(entry.name for entry in spec)
            raise ValueError(f"{name} needs {len(spec)} arrays ({names}), got {len(given)}")


def stop_gradient(tree: PyTree) -> PyTree:
    """The same arrays, cut from the graph that made them: ends a window of backpropagation.

    Takes an ``EnvState``, an observation or any other tree of torch or JAX arrays.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tree, torch.Tensor):  # what tasks do most, many times a step
        return tree.detach()
    first = next(tree_leaves(tree), None)
    if first is None:
        return tree
    if framework_of(first[1]) == "torch":
        return tree_map(lambda leaf: leaf.detach(), tree)
    from diffsim_core._interop_jax import stop_gradient_leaf

    return tree_map(stop_gradient_leaf, tree)


def value_and_grad(function: Callable[[PyTree], Array], tree: PyTree) -> tuple[Array, PyTree]:
    """A scalar function of a tree of floating arrays, and its gradient (zeros where nothing depends on a leaf)."""
    _, first = next(tree_leaves(tree))
    if framework_of(first) == "torch":
        from diffsim_core._interop_torch import torch_value_and_grad

        return torch_value_and_grad(function, tree)
    from diffsim_core._interop_jax import jax_value_and_grad

    return jax_value_and_grad(function, tree)


def compiled(function: Callable[..., Any], arrays: str) -> Callable[..., Any]:
    """``jax.jit(function)`` with JAX; torch runs it as it is."""
    if arrays == "torch":
        return function
    from diffsim_core._interop_jax import jit

    return jit(function)


def from_numpy(values: np.ndarray[Any, Any], like: Array) -> Array:
    """``values`` as an array of the library and on the device of ``like``; the dtype stays."""
    if framework_of(like) == "torch":
        from diffsim_core._interop_torch import tensor_from_numpy

        return tensor_from_numpy(values, like.device)
    from diffsim_core._interop_jax import array_from_numpy

    return array_from_numpy(values, like)


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """A copy of ``array`` in host memory, cut from any graph."""
    array = stop_gradient(array)
    return array.cpu().numpy().copy() if framework_of(array) == "torch" else np.array(array)
