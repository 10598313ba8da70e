"""Brax's environments by name: how one is made, its options, and whether gradients pass through its step.

Nothing here imports ``brax.training``, whose releases up to 0.14.2 fail with JAX from 0.10 on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax

from diffsim_core._nearest import unknown
from diffsim_core.adapters._jax_worlds import Worlds
from diffsim_core.adapters._missing import needed_by
from diffsim_core.io._compile import collected_warnings
from diffsim_core.io._mujoco import mujoco
from diffsim_core.options import Option, Options, options_of

BACKENDS = ("generalized", "spring", "positional", "mjx")
_NOT_OPTIONS = ("sys", "backend", "debug")
"""Arguments of an environment's class that are ours, or none of the user's."""
_SHARED: dict[Any, Worlds] = {}
"""Worlds that were made by name. Those of an evaluation are those of the training, with all that is compiled."""


def brax_options(name: str, own: Options) -> Options:
    """The options of Brax's environment ``name``, and ``own``.

    Raises:
        ValueError: there is no such environment; the nearest names are given.
    """
    cls = _class_of(name)
    theirs: dict[str, Option] = {}
    # Most hand what they do not name themselves to the class that they derive from.
    for base in cls.__mro__:
        if "__init__" not in vars(base) or base is object:
            continue
        found = options_of(base, own.owner, leave_out=_NOT_OPTIONS)
        theirs = {**found.known, **theirs}
        if not found.open:
            break
    default = options_of(cls, own.owner, leave_out=()).known.get("backend")
    known = {**theirs, **own.known}
    if default is not None:
        known["backend"] = replace(known["backend"], default=default.default)
    return Options(owner=own.owner, known=known)


def brax_worlds(name: str, label: str, backend: str | None, dtype: str, options: Mapping[str, Any]) -> Worlds:
    """The worlds of Brax's environment ``name``.

    Args:
        name: as Brax has it.
        label: as the user has it, for messages.
        backend: the simulator; None for the environment's own choice.
        dtype: of the real numbers.
        options: arguments of the environment's class.

    Raises:
        ValueError: there is no such environment, it has no such backend, does not take these options, or does not run
            with the installed JAX.
    """
    cls = _class_of(name)
    given = {**options, **({} if backend is None else {"backend": backend})}
    remedy = f"another backend ({', '.join(BACKENDS)}) or other options"
    return shared_worlds(cls, cls, label, dtype, given, remedy)


def shared_worlds(
    of: Any, make: Callable[..., Any], label: str, dtype: str, options: Mapping[str, Any], remedy: str
) -> Worlds:
    """The worlds of ``make(**options)``, made once in a process.

    Args:
        of: names what is made with these options.
        make: another library's maker of an environment.
        label: as the user has it, for messages.
        dtype: of the real numbers.
        options: arguments of ``make``.
        remedy: what to use where it fails.

    Raises:
        ValueError: it cannot be made, or does not run with the installed JAX.
    """
    key = (of, label, dtype, repr(sorted(options.items())))
    if key not in _SHARED:
        try:
            with collected_warnings():  # that Brax's physics is not maintained, and words of MuJoCo's compiler
                env = make(**options)
        except Exception as error:  # whatever another's code raises
            said = " ".join(str(error).split())
            raise ValueError(
                f"environment {label!r} cannot be made with {_listed(options)}: {type(error).__name__}: {said}; use "
                f"{remedy}"
            ) from error
        _SHARED[key] = worlds_of(env, label, dtype)
    return _SHARED[key]


def worlds_of(env: Any, label: str, dtype: str) -> Worlds:
    """The worlds of an environment that was made already."""
    missing = [what for what in ("reset", "step", "action_size", "dt") if not hasattr(env, what)]
    if missing:
        raise ValueError(f"environment {label!r} has no {missing[0]}; give a brax.envs.Env, or one that is like it")
    return Worlds(env, label, int(env.action_size), dtype)


def is_differentiable(env: Any) -> bool:
    """Whether JAX can differentiate a step in reverse.

    MJX iterates its solver of constraints in a ``while`` loop, which JAX cannot, unless it is to take one iteration.
    MJX on Warp has no gradients at all.
    """
    model = getattr(env, "mjx_model", None)  # of MuJoCo Playground
    if model is None and getattr(env, "backend", None) == "mjx":
        model = env.sys
    if model is None:
        return True
    if "warp" in str(getattr(model, "impl", "")).lower():
        return False
    unconstrained = bool(model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    return unconstrained or int(model.opt.iterations) == 1


def check_dtype(dtype: str, arrays: str) -> None:
    """Raise ``ValueError`` unless JAX can compute with ``dtype``: for its own arrays a switch decides."""
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    wide = bool(jax.config.read("jax_enable_x64"))
    if arrays == "jax" and dtype == "float64" and not wide:
        raise ValueError("dtype='float64' with JAX needs jax.config.update('jax_enable_x64', True)")
    if arrays == "jax" and dtype == "float32" and wide:
        raise ValueError(
            "dtype='float32', but jax_enable_x64 is set, with which Brax computes in float64; pass dtype='float64', or "
            "leave jax_enable_x64 out"
        )


def _class_of(name: str) -> type[Any]:
    # Here, so that an environment that needs nothing but JAX runs without Brax.
    with needed_by("FromBrax", "'diffsim-core[brax]'"):
        from brax import envs
    known: dict[str, type[Any]] = envs._envs  # pyright: ignore[reportPrivateUsage] - there is no public list
    if name not in known:
        raise ValueError(unknown("environment of Brax", name, known))
    return known[name]


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items()) or "its own options"
