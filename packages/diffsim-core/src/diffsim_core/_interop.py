"""One simulator, two array libraries: the one place that picks a ``Backend``, and what is built on it.

Nothing here imports torch or JAX before an array of theirs, or their name, was given. The backends are in
``_interop_torch`` and ``_interop_jax``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from diffsim_core._backend import Backend
from diffsim_core._protocol import Array, Dynamics, PyTree
from diffsim_core._tree import tree_leaves, tree_map


def _torch() -> Backend:
    from diffsim_core._interop_torch import TORCH

    return TORCH


def _jax() -> Backend:
    from diffsim_core._interop_jax import JAX

    return JAX


_LIBRARIES: dict[str, tuple[str, Callable[[], Backend]]] = {"torch": ("Tensor", _torch), "jax": ("Array", _jax)}
"""The class of a library's arrays, in its module of the same name, and its backend."""
_OF_TYPE: dict[type, Backend] = {}
"""Filled as arrays come: an environment asks at every step, and asking every library takes several times as long."""


def backend(arrays: str) -> Backend:
    """The backend of ``"torch"`` or ``"jax"``.

    Raises:
        ValueError: for any other name.
        ImportError: if the library is not installed; the message names the extra that brings it.
    """
    if arrays not in _LIBRARIES:
        raise ValueError(f"arrays must be {' or '.join(map(repr, _LIBRARIES))}, got {arrays!r}")
    try:
        return _LIBRARIES[arrays][1]()
    except ModuleNotFoundError as error:
        message = f"arrays={arrays!r} needs {arrays}, which is not installed: pip install 'diffsim-core[{arrays}]'"
        raise ImportError(message) from error


def backend_of(array: Any) -> Backend:
    """The backend of an array (in JAX also a traced one).

    Raises:
        TypeError: if ``array`` is neither a ``torch.Tensor`` nor a ``jax.Array``.
    """
    kind = type(array)
    found = _OF_TYPE.get(kind)
    if found is None:
        found = _OF_TYPE[kind] = _ask_libraries(array)
    return found


def _ask_libraries(array: Any) -> Backend:
    for library, (kind, made) in _LIBRARIES.items():
        module = sys.modules.get(library)  # whoever made an array of a library has loaded it
        if module is not None and isinstance(array, getattr(module, kind)):
            return made()
    expected = " or a ".join(f"{library}.{kind}" for library, (kind, _) in _LIBRARIES.items())
    raise TypeError(f"expected a {expected}, got {type(array).__module__}.{type(array).__qualname__}")


def register_arrays(kind: type, library: Backend) -> None:
    """Make ``backend_of`` know another class of arrays."""
    _OF_TYPE[kind] = library


def differentiable(dynamics: Dynamics) -> Callable[..., tuple[PyTree, Array]]:
    """Turn a simulator's ``step`` and ``vjp`` into a function that torch and JAX can differentiate.

    The function returned maps ``(state, control)``, or ``(state, control, constants)``, to ``(next_state, ok)``:
    ``state`` and ``next_state`` hold arrays ``[N, *shape]`` as ``dynamics.state_spec`` says, ``control`` as
    ``dynamics.control_spec`` says, ``constants`` as ``dynamics.constant_spec`` says where the simulator has any, and
    ``ok`` is bool ``[N]``, false where a world left the finite range (its next state repeats its state; its cotangents
    are exactly zero). First derivatives only. With JAX it works inside ``jit``, ``grad``, ``scan`` and, world batch by
    world batch, ``vmap``.

    Raises:
        ValueError: (the function) for a wrong number of arrays, or an array of wrong shape, dtype or
            device, or a torch tensor that is not contiguous; the message names the array.
        TypeError: (the function) for anything that is not a torch or JAX array.
    """
    bridges: dict[Backend, Callable[..., tuple[PyTree, Array]]] = {}

    def step(state: PyTree, control: Sequence[Array], constants: Sequence[Array] = ()) -> tuple[PyTree, Array]:
        library = backend_of(state[0])
        bridge = bridges.get(library)
        if bridge is None:
            bridge = bridges[library] = library.bridge(dynamics)
        return bridge(state, control, constants)

    return step


def stop_gradient(tree: PyTree) -> PyTree:
    """The same arrays, cut from the graph that made them: ends a window of backpropagation.

    Takes an ``EnvState``, an observation or any other tree of torch or JAX arrays.
    """
    known = _OF_TYPE.get(type(tree))
    if known is not None:  # what tasks do most, many times a step
        return known.stop_gradient(tree)
    first = next(tree_leaves(tree), None)
    if first is None:
        return tree
    return tree_map(backend_of(first[1]).stop_gradient, tree)


def value_and_grad(function: Callable[[PyTree], Array], tree: PyTree) -> tuple[Array, PyTree]:
    """A scalar function of a tree of floating arrays, and its gradient (zeros where nothing depends on a leaf)."""
    _, first = next(tree_leaves(tree))
    return backend_of(first).value_and_grad(function, tree)


def from_numpy(values: np.ndarray[Any, Any], like: Array) -> Array:
    """``values`` as an array of the library and on the device of ``like``; the dtype stays."""
    return backend_of(like).from_numpy(values, like)


def to_numpy(array: Array) -> np.ndarray[Any, Any]:
    """A copy of ``array`` in host memory, cut from any graph."""
    return backend_of(array).to_numpy(array)
