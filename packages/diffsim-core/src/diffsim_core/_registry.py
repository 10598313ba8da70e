"""Tasks by name: ``make("ant")``, and the registry to which other packages add theirs."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffsim_core._nearest import unknown
from diffsim_core._protocol import Task

if TYPE_CHECKING:
    from diffsim_core.options import Options

TaskFactory = Callable[..., Task]
"""``factory(*, num_envs, device, dtype, **options) -> Task``."""

_BUILTIN = {
    "cartpole": "diffsim_core.tasks.cartpole:make_task",
    "hopper": "diffsim_core.tasks.hopper:make_task",
    "half_cheetah": "diffsim_core.tasks.half_cheetah:make_task",
    "walker2d": "diffsim_core.tasks.walker2d:make_task",
    "ant": "diffsim_core.tasks.ant:make_task",
    "humanoid": "diffsim_core.tasks.humanoid:make_task",
    "humanoid_mtu": "diffsim_core.tasks.humanoid_mtu:make_task",
    "dejong": "diffsim_core.tasks.functions:make_dejong",
    "dejong_64": "diffsim_core.tasks.functions:make_dejong_64",
    "ackley": "diffsim_core.tasks.functions:make_ackley",
    "ackley_64": "diffsim_core.tasks.functions:make_ackley_64",
    "newton_ant": "diffsim_core.tasks.newton:make_ant",
    "newton_cartpole": "diffsim_core.tasks.newton:make_cartpole",
    "newton_hopper": "diffsim_core.tasks.newton:make_hopper",
}
_FAMILIES = {
    "brax": "diffsim_core.adapters:FromBrax",
    "gym": "diffsim_core.adapters:FromGymnasium",
    "playground": "diffsim_core.adapters:FromPlayground",
}
"""Makers of whole environments, for names like ``gym:Hopper-v5`` and ``brax:hopper?backend=spring``."""
_REGISTERED: dict[str, str | TaskFactory] = {}
_DECLARED_FAMILIES: dict[str, str] = {}
"""Families that ``register_task`` was given."""


def register_task(name: str, factory: str | TaskFactory, *, family: str | None = None) -> None:
    """Register a task for ``make`` in this process.

    An installed package registers one permanently with an entry point of group ``diffsim.tasks``: its name is the
    task's name, its value is ``"module:function"``.

    Args:
        name: name of the task in ``make``.
        factory: ``factory(*, num_envs, device, dtype, **options) -> Task``, or ``"module:function"``, which is
            imported with the first task.
        family: family of the task, see ``task_family``; by default the one that its name gives.

    Raises:
        ValueError: if another factory has the name, or a string is not of the form ``module:function``.
    """
    if isinstance(factory, str) and factory.count(":") != 1:
        raise ValueError(f"factory of task {name!r} must be 'module:function' or a callable, got {factory!r}")
    known = _sources().get(name, factory)
    if known != factory:
        raise ValueError(f"task {name!r} is already registered, as {known!r}; choose another name")
    _REGISTERED[name] = factory
    if family is not None:
        _DECLARED_FAMILIES[name] = family


def list_tasks() -> list[str]:
    """Sorted names of all tasks. It imports none of them."""
    return sorted(_sources())


def is_task(name: str) -> bool:
    """Whether ``make`` knows a task of that name, or a family for it, as in ``gym:Hopper-v5``."""
    return name in _sources() or _family(name) is not None


def task_family(name: str) -> str:
    """The name that the variants of a task share, and with it their presets: ``pace_car`` for ``pace_car_2``.

    It is the one that ``register_task`` was given; else the part before a colon (``gym`` for ``gym:Hopper-v5``), or
    the name without the number at its end (``ackley`` for ``ackley_64``). A task with neither is its own family.
    Nothing is imported, and the name need not be one that ``make`` knows.
    """
    if name in _DECLARED_FAMILIES:
        return _DECLARED_FAMILIES[name]
    return re.sub(r"(?<=.)_\d+$", "", name.partition(":")[0])


def task_factory(name: str) -> TaskFactory:
    """The factory of a task.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    sources = _sources()
    if name not in sources:
        raise ValueError(unknown("task", name, sources))
    source = sources[name]
    if not isinstance(source, str):
        return source
    return _imported(source)


def task_options(name: str) -> Options:
    """The options of a task, as its factory's signature declares them, ``randomize`` and ``fused``.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
        ImportError: it needs an extra that is not installed.
    """
    from diffsim_core.options import FUSED, RANDOMIZE, options_of

    if (family := _family(name)) is not None:
        return _imported(family).options(_guest(name)[0])
    found = options_of(task_factory(name), f"task {name!r}")
    return dataclasses.replace(found, known={**found.known, RANDOMIZE.name: RANDOMIZE, FUSED.name: FUSED})


def make(
    name: str,
    num_envs: int = 64,
    arrays: str = "torch",
    device: str = "cpu",
    dtype: str = "float32",
    world_offset: int = 0,
    randomize: Mapping[str, tuple[float, float]] | None = None,
    fused: bool = False,
    **options: Any,
) -> Any:
    """An environment of a registered task: ``make("ant", num_envs=64)``.

    Args:
        name: see ``list_tasks()``; or ``gym:`` and the id of an environment of Gymnasium, without gradients; or
            ``brax:`` or ``playground:`` and the name of one of Brax or MuJoCo Playground. These may name options:
            ``brax:hopper?backend=spring``.
        num_envs: number of worlds N.
        arrays: ``"torch"`` or ``"jax"``.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:i"``.
        dtype: ``"float32"`` for work, ``"float64"`` for gradient checks.
        world_offset: number of the first world; above 0 if the batch is a part of a larger one.
        randomize: for a rigid-body task, parameters of its model with the range of a factor that is drawn for each
            world and episode: ``{"link_density:torso": (0.8, 1.2)}``; see ``diffsim_core.tasks.Randomised``.
        fused: take each step, simulator and task together, as one operation of torch's autograd; see ``TaskEnv``.
        options: options of the task.

    Returns:
        A ``TaskEnv``, or ``FromGymnasium``, ``FromBrax`` or ``FromPlayground`` of ``diffsim_core.adapters``.

    Raises:
        ValueError: for an unknown task or option (with the nearest known names), array library, device or dtype, or an
            option of the wrong type, out of its range or given twice.
        ImportError: if the array library, Gymnasium, Brax or Playground is not installed.
    """
    from diffsim_core._env import TaskEnv
    from diffsim_core._interop import backend
    from diffsim_core.options import NUM_ENVS, WORLD_OFFSET

    num_envs, world_offset = NUM_ENVS.convert(num_envs, "make"), WORLD_OFFSET.convert(world_offset, "make")
    if randomize is not None and _family(name) is not None:
        raise ValueError(f"randomize works with rigid-body tasks only, and {name!r} is not one; leave it out")
    if fused and _family(name) is not None:
        raise ValueError(f"fused works with tasks of array code only, and {name!r} is not one; leave it out")
    declared = task_options(name)
    own = {"randomize": randomize} if randomize is not None else {}
    options = declared.convert({**options, **own, **({"fused": fused} if fused is not False else {})})
    if (family := _family(name)) is not None:
        options = _with_query(name, options, declared)
        declared.require(options)
        given = {"arrays": arrays, "device": device, "dtype": dtype, "world_offset": world_offset}
        return _imported(family)(_guest(name)[0], num_envs, name=name, **given, **options)
    declared.require(options)
    randomize, fused = options.pop("randomize", None), options.pop("fused", False)
    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    backend(arrays)
    task: Any = _made(name, {"num_envs": num_envs, "device": device, "dtype": dtype, **options})
    if randomize:
        from diffsim_core.tasks._randomised import Randomised

        try:
            task = Randomised(task, randomize)
        except TypeError as error:
            raise ValueError(f"{error}; leave randomize out") from None
    given = {"arrays": arrays, "device": device, "dtype": dtype, "world_offset": world_offset, "fused": fused}
    return TaskEnv(task, num_envs, **given)


def _made(name: str, arguments: Mapping[str, Any]) -> Any:
    """The task that a factory makes.

    Raises:
        ValueError: the factory does not take these arguments; the message has its file and line.
    """
    factory: Any = task_factory(name)
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        code = getattr(inspect.unwrap(factory), "__code__", None)
        place = "" if code is None else f" ({Path(code.co_filename).name}, line {code.co_firstlineno})"
        raise ValueError(
            f"the factory of task {name!r}{place}: {error}; it is called with the keyword arguments num_envs, "
            "device and dtype, and with the task's options"
        ) from None
    return factory(**arguments)


def _family(name: str) -> str | None:
    """The maker of environments with a name like ``gym:Hopper-v5``, or None."""
    family, colon, rest = name.partition(":")
    return _FAMILIES.get(family) if colon and rest else None


def _guest(name: str) -> tuple[str, str]:
    """What a family knows an environment by, and the query: ``hopper`` and ``backend=spring``."""
    known, _, query = name.partition(":")[2].partition("?")
    return known, query


def _with_query(name: str, options: Mapping[str, Any], declared: Options) -> dict[str, Any]:
    """``options``, and those that the name has after a question mark.

    Raises:
        ValueError: the name has something else there, or an option has two values.
    """
    found = dict(options)
    for part in filter(None, _guest(name)[1].split("&")):
        option, equals, text = part.partition("=")
        if not equals:
            raise ValueError(f"{part!r} of {name!r} has no value; write NAME=VALUE, and & between options")
        value = declared[option].read(text, declared.owner)
        if found.setdefault(option, value) != value:
            raise ValueError(f"{option} is {value!r} in {name!r}, and was given as {found[option]!r}; leave one out")
    return found


def _imported(source: str) -> Any:
    """The object named by ``module:function``."""
    module, function = source.split(":")
    return getattr(importlib.import_module(module), function)


def _sources() -> dict[str, str | TaskFactory]:
    installed = {entry.name: entry.value for entry in entry_points(group="diffsim.tasks")}
    return {**installed, **_BUILTIN, **_REGISTERED}
