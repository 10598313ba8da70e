"""Which simulators ``diffrl bench sim`` measures in its own run, in which package each is, and its window."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

from ._jax_peers import NAMES as _OF_JAX
from ._warp_peers import NAMES as _OF_WARP

NAMES = (*_OF_JAX, *_OF_WARP)


class _Package(NamedTuple):
    module: str
    name: str
    extra: str


def _package(name: str) -> _Package:
    if name == "mjx":
        return _Package("mujoco.mjx", "mujoco-mjx", "jax-peers")
    if name.startswith("brax-"):
        return _Package("brax", "brax", "jax-peers")
    return _Package(name.replace("-", "_"), name, "warp-peers")


def missing_peers(names: Sequence[str], *, skip: bool) -> dict[str, str]:
    """Those that are not installed, and what to do.

    Raises:
        ImportError: there are some, and they are not to be skipped.
    """
    packages = {name: _package(name) for name in names}
    found = {
        name: f"not installed; install diffrl-bench[{package.extra}]"
        for name, package in packages.items()
        if importlib.util.find_spec(package.module) is None
    }
    if found and not skip:
        raise ImportError("; ".join(f"{name} is {reason}" for name, reason in found.items()))
    return found


def peer_window(name: str, env: Any, begin: Any, mjcf: Any, controls: Callable[[], Any], device: str) -> Any:
    """The window of a peer, with the ``package`` and the ``version`` that it is of.

    Args:
        name: one of ``NAMES``.
        env: our worlds.
        begin: their first state and actions.
        mjcf: the model file, None if there is none.
        controls: gives the actions in the units of the model file, ``[T, N, nu]``.
        device: ``cpu``, ``cuda`` or ``cuda:i``.

    Raises:
        ValueError: the peer cannot simulate this task.
    """
    window = _window(name, env, begin, mjcf, controls, device)
    window.package = _package(name).name
    window.version = version(window.package)
    return window


def _window(name: str, env: Any, begin: Any, mjcf: Any, controls: Callable[[], Any], device: str) -> Any:
    if name.startswith("brax-"):
        from ._jax_peers import brax_window

        horizon = len(begin.actions)
        return brax_window(env.task.name, name.removeprefix("brax-"), horizon, env.num_envs, device=device)
    if name == "newton":
        from ._warp_peers import NewtonWindow

        return NewtonWindow(env, begin, device=device)
    if mjcf is None:
        raise ValueError(f"task {env.task.name!r} has no MJCF file for {name}")
    qpos, qvel = (part.detach().cpu().numpy() for part in begin.state.physics[:2])
    if name == "mjx":
        from ._jax_peers import mjx_window

        return mjx_window(mjcf, qpos, qvel, controls(), dt=env.spec.dt, device=device)
    from ._warp_peers import MujocoWarpWindow

    return MujocoWarpWindow(mjcf, qpos, qvel, controls(), dt=env.spec.dt, device=device)
