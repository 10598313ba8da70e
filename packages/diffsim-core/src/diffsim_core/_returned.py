"""What a task is and what its functions return, checked before anything computes with it.

A reward ``[N, N]`` would train in silence: broadcasting hides the mistake. So every function is looked at the first
time that an environment calls it. In JAX that is while the step is traced.
"""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from diffsim_core._backend import Backend
from diffsim_core._interop import backend_of
from diffsim_core._protocol import ArraySpec, EnvSpec, PyTree, Task, TaskError, constant_spec
from diffsim_core._tree import tree_leaves

_ARGUMENTS = {
    "initial": ("xp", "random"),
    "control": ("xp", "action"),
    "advance": ("xp", "action", "task"),
    "observe": ("xp", "physics", "task"),
    "reward": ("xp", "physics", "action", "next_physics", "next_obs", "task"),
    "terminated": ("xp", "physics", "task"),
}
_OPTIONAL = {"metrics": ("xp", "physics", "action", "next_physics", "next_obs", "task")}


def check_task_type(task: Task) -> None:
    """Raise ``ValueError`` unless the task has every attribute and function, with the right numbers of arguments."""
    name = getattr(task, "name", None)
    if not isinstance(name, str):
        raise ValueError(f"{type(task).__name__}.name is {name!r}; a task needs a name, a string")
    for attribute, least in (("horizon", 1), ("num_obs", 0), ("num_actions", 0)):
        value = getattr(task, attribute, None)
        if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"task {name!r}: {attribute} is {value!r}; expected an integer of at least {least}")
    functions = {**_ARGUMENTS, **{key: _OPTIONAL[key] for key in _OPTIONAL if hasattr(task, key)}}
    if constant_spec(task.dynamics):
        functions["constants"] = ("xp", "random")
    for function, arguments in functions.items():
        call = f"{function}({', '.join(arguments)})"
        if not callable(found := getattr(task, function, None)):
            raise ValueError(f"task {name!r} has no function {call}; see diffsim_core.Task")
        try:
            signature = inspect.signature(found)
        except (TypeError, ValueError):  # a function without a signature can still be called
            continue
        try:
            signature.bind(*arguments)
        except TypeError:
            raise ValueError(f"task {name!r} has {function}{signature}, but it is called as {call}") from None


class Returned:
    """The checks of one environment; each function is checked until it has passed once."""

    def __init__(self, task: Task, spec: EnvSpec, num_envs: int, library: Backend, dtype: Any) -> None:
        self._task, self._spec, self._n, self._library, self._dtype = task, spec, num_envs, library, dtype
        self._passed: set[str] = set()
        self._device: Any = None
        self._checks: dict[str, Callable[..., None]] = {
            "initial": self._initial,
            "constants": self._constants,
            "control": self._control,
            "advance": self._advance,
            "observe": self._observe,
            "reward": self._reward,
            "terminated": self._terminated,
            "metrics": self._metrics,
        }

    def check(self, function: str, value: Any, *given: Any) -> None:
        """Look at what ``function`` returned, unless it has passed before.

        Raises:
            TaskError: if it does not fit; the message has the task, the function, what it returned and what to do.
        """
        if function not in self._passed:
            self._checks[function](value, *given)
            self._passed.add(function)

    def _initial(self, value: Any) -> None:
        dynamics = self._task.dynamics
        kind, fields = dynamics.state_type.__name__, ", ".join(spec.name for spec in dynamics.state_spec)
        wanted = f"expected (physics, task): a {kind}({fields}), and what the task remembers, () if nothing"
        if isinstance(value, dynamics.state_type):
            raise self._wrong("initial", f"returned a {kind} alone", wanted)
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise self._wrong("initial", f"returned {_described(value)}", wanted)
        self._arrays("initial", value[0], dynamics.state_spec, wanted)
        self._device = getattr(value[0][0], "device", None) if not self._library.is_traced(value[0][0]) else None
        for name, leaf in tree_leaves(value[1], "task"):
            self._is_array("initial", name, leaf)
            if leaf.ndim < 1 or leaf.shape[0] != self._n:
                found = f"returned {name} of shape {tuple(leaf.shape)}"
                raise self._wrong("initial", found, f"expected ({self._n}, ...): the worlds first")

    def _constants(self, value: Any) -> None:
        spec = constant_spec(self._task.dynamics)
        names = ", ".join(entry.name for entry in spec)
        self._arrays("constants", value, spec, f"expected the simulator's constants, ({names},)")

    def _control(self, value: Any) -> None:
        spec = self._task.dynamics.control_spec
        names = ", ".join(entry.name for entry in spec)
        self._arrays("control", value, spec, f"expected a tuple of the simulator's controls: return ({names},)")

    def _advance(self, value: PyTree, before: PyTree) -> None:
        found, wanted = dict(tree_leaves(value, "task")), dict(tree_leaves(before, "task"))
        for name, leaf in found.items():
            self._is_array("advance", name, leaf)
        if found.keys() != wanted.keys():
            given = f"returned {_described(value)} with {_listed(found)}"
            expected = f"expected {_described(before)} with {_listed(wanted)}, as initial returned it"
            raise self._wrong("advance", given, expected)
        for name, leaf in found.items():
            self._array("advance", name, leaf, tuple(wanted[name].shape), wanted[name].dtype, "as initial returned it")

    def _observe(self, obs: PyTree) -> None:
        shapes = self._spec.obs_shapes
        if not shapes:
            if isinstance(obs, Mapping):
                raise self._wrong(
                    "observe", f"returned a mapping of {', '.join(obs)}", "the task must give their obs_shapes"
                )
            self._array("observe", "", obs, (self._n, self._spec.num_obs), self._dtype, "num_obs says how many numbers")
            return
        if not isinstance(obs, Mapping) or obs.keys() != shapes.keys():
            found = f"a mapping of {', '.join(obs)}" if isinstance(obs, Mapping) else _described(obs)
            wanted = f"expected a mapping of {', '.join(shapes)}, as obs_shapes says"
            raise self._wrong("observe", f"returned {found}", wanted)
        for key, shape in shapes.items():
            self._array("observe", key, obs[key], (self._n, *shape), self._dtype, "as obs_shapes says")
        if (total := sum(math.prod(shape) for shape in shapes.values())) != self._spec.num_obs:
            raise ValueError(
                f"num_obs of task {self._spec.name!r} is {self._spec.num_obs}; its obs_shapes hold {total}"
            )

    def _reward(self, value: Any) -> None:
        self._array("reward", "", value, (self._n,), self._dtype, "one number for each world")

    def _terminated(self, value: Any) -> None:
        self._array("terminated", "", value, (self._n,), self._library.xp.bool, "one truth for each world")

    def _metrics(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise self._wrong("metrics", f"returned {_described(value)}", "expected a mapping of names to arrays")
        for name, array in value.items():
            self._array("metrics", name, array, (self._n,), None, "one number for each world")

    def _arrays(self, function: str, values: Any, specs: tuple[ArraySpec, ...], wanted: str) -> None:
        if not isinstance(values, tuple | list) or len(values) != len(specs):
            raise self._wrong(function, f"returned {_described(values)}", wanted)
        for spec, array in zip(specs, values, strict=True):
            self._array(function, spec.name, array, (self._n, *spec.shape), self._dtype, "the worlds first")

    def _array(self, function: str, part: str, array: Any, shape: tuple[int, ...], dtype: Any, why: str) -> None:
        self._is_array(function, part, array)
        found = tuple(array.shape)
        if found == shape and dtype in (None, array.dtype):
            return
        what = f"returned {part + ' of ' if part else ''}shape {found}, {_name(array.dtype)}"
        wanted = f"expected {shape}{'' if dtype is None else ', ' + _name(dtype)}: {why}"
        if found != shape and len(shape) == 1 and found in ((self._n, 1), (self._n, self._n)):
            wanted += ". An array [N, 1] makes [N, N] of one [N]; take its column, x[:, 0]"
        elif found == shape:
            wanted += (
                ". Compare, as in x > 0" if dtype is self._library.xp.bool else ". Cast it with xp.astype(x, dtype)"
            )
        raise self._wrong(function, what, wanted)

    def _is_array(self, function: str, part: str, array: Any) -> None:
        what = f"returned {part + ', ' if part else ''}{_described(array)}"
        library = self._library.name
        try:
            fits = backend_of(array) is self._library
        except TypeError:
            fits = False
        if not fits:
            raise self._wrong(function, what, f"expected a {library} array; make it from the arrays given, or with xp")
        if self._device is not None and not self._library.is_traced(array) and array.device != self._device:
            raise self._wrong(function, f"{what} on {array.device}", f"expected it on {self._device}")

    def _wrong(self, function: str, found: str, wanted: str) -> TaskError:
        return TaskError(f"task {self._spec.name!r}: {function} {found}; {wanted}")


def _described(value: Any) -> str:
    """``None``, ``the number 1.0``, ``an array of shape (4, 2)``, ``a tuple of 3``."""
    if value is None:
        return "None"
    if isinstance(value, bool | int | float):
        return f"the number {value!r}"
    if hasattr(value, "shape"):
        return f"a {type(value).__module__.partition('.')[0]} array of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _listed(arrays: Mapping[str, Any]) -> str:
    return ", ".join(arrays) or "no arrays"


def _name(dtype: Any) -> str:
    """``float32`` for a dtype of any library."""
    return str(dtype).rpartition(".")[2]
