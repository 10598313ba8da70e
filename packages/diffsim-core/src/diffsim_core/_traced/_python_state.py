"""``PythonState``: what a task's functions can read besides their arguments, watched for changes.

Compiled code holds numbers as they were when it was traced. A task whose attributes, lists, NumPy arrays or global
variables change later would go on with the old ones, unseen.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch

_LIBRARIES = {"array_api_compat", "jax", "jaxlib", "numpy", "scipy", "torch", "warp"}
_LARGE = 1 << 16
"""Bytes above which only another array in place of the first one is noticed."""
_FUNCTIONS = ("initial", "control", "advance", "observe", "reward", "terminated", "metrics")
_MISSING = object()


class _Watched(NamedTuple):
    name: Callable[[], str]
    """Of what changed, for messages: ``attribute 'speed'``."""
    same: Callable[[], bool]
    restore: Callable[[], None]


class PythonState:
    """A picture of it.

    Args:
        task: whose functions are traced. Its ``dynamics`` is not looked into: no function of a task changes it.
    """

    def __init__(self, task: Any) -> None:
        self._watched: list[_Watched] = []
        self._seen: set[int] = {id(getattr(task, "dynamics", None))}
        self._keep: list[Any] = []
        self._look(task, "task")
        for name in _FUNCTIONS:
            self._look(getattr(task, name, None), name)

    def changed(self) -> str | None:
        """The name of something that is not as it was; None if all is."""
        for watched in self._watched:
            try:
                if watched.same():
                    continue
            except Exception:  # a variable is gone, or an array in place of a number compares to an array
                pass
            return watched.name()
        return None

    def restore(self) -> None:
        """Put back what was replaced, added or removed."""
        for watched in self._watched:
            watched.restore()

    def _look(self, value: Any, name: str) -> None:
        if id(value) in self._seen or isinstance(value, type | types.ModuleType | str | bytes | int | float):
            return
        self._seen.add(id(value))
        self._keep.append(value)  # so that no other object gets its id
        if isinstance(value, np.ndarray):
            self._array(value, name)
        elif isinstance(value, list | set):
            self._contents(value, name)
            self._look_at(value, name)
        elif isinstance(value, MutableMapping):
            self._entries(value, f"an entry of {name}:")
        elif isinstance(value, tuple | frozenset):
            self._look_at(value, name)
        elif isinstance(value, types.MethodType):
            self._function(value.__func__)
            self._look(value.__self__, name)
        elif isinstance(value, types.FunctionType):
            self._function(value)
        elif isinstance(value, torch.Tensor):
            self._tensor(value, name)
        elif not _of_library(type(value).__module__):
            if hasattr(value, "__dict__"):
                self._entries(vars(value), "attribute")
            for cls in type(value).__mro__:
                self._class(cls)
                self._slots(value, vars(cls).get("__slots__", ()))

    def _look_at(self, values: Iterable[Any], name: str) -> None:
        for value in values:
            self._look(value, name)

    def _entries(self, entries: MutableMapping[Any, Any], named: str) -> None:
        known = dict(entries)

        def restore() -> None:
            entries.clear()
            entries.update(known)

        self._watch(lambda: _differing(known, entries, named), lambda: entries == known, restore)
        for key, value in known.items():
            self._look(value, f"{named} {key!r}")

    def _contents(self, values: Any, name: str) -> None:
        known = type(values)(values)

        def restore() -> None:
            values.clear()
            (values.extend if isinstance(values, list) else values.update)(known)

        self._watch(lambda: name, lambda: values == known, restore)

    def _array(self, array: Any, name: str) -> None:
        if array.nbytes <= _LARGE and array.dtype != object:
            bits = array.tobytes()
            self._watch(lambda: name, lambda: array.tobytes() == bits, lambda: None)

    def _tensor(self, tensor: torch.Tensor, name: str) -> None:
        if not tensor.is_inference():
            version = tensor._version
            self._watch(lambda: name, lambda: tensor._version == version, lambda: None)

    def _slots(self, value: Any, names: Any) -> None:
        for key in (names,) if isinstance(names, str) else tuple(names):
            known = getattr(value, key, _MISSING)
            if known is not _MISSING and not key.startswith("__"):
                self._slot(value, key, known)

    def _slot(self, value: Any, key: str, known: Any) -> None:
        def same() -> bool:
            now = getattr(value, key)
            return now is known or now == known

        self._watch(lambda: f"attribute {key!r}", same, lambda: setattr(value, key, known))
        self._look(known, f"attribute {key!r}")

    def _class(self, cls: type) -> None:
        """Attributes of a class that are data, and what its methods read."""
        if id(cls) in self._seen or _of_library(cls.__module__):
            return
        self._seen.add(id(cls))
        data = {}
        for key, value in vars(cls).items():
            if isinstance(value, types.FunctionType):
                self._function(value)
            elif not (key.startswith("__") or key == "_abc_impl" or callable(value) or hasattr(value, "__get__")):
                data[key] = value
        self._variables(vars(cls), data, f"attribute of {cls.__name__}:", lambda key, value: setattr(cls, key, value))

    def _function(self, function: Any) -> None:
        """Variables outside of a function, and the functions that it calls."""
        code = function.__code__
        if id(code) in self._seen or _of_library(function.__module__):
            return
        self._seen.add(id(code))
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._cell(cell, f"variable {name!r} of an enclosing function")
        scope = function.__globals__
        read = {name: scope[name] for name in _names(code) & scope.keys()}
        data = {name: x for name, x in read.items() if not (callable(x) or isinstance(x, types.ModuleType))}
        self._variables(scope, data, "global variable", scope.__setitem__)
        for name, value in read.items():
            self._look(value, f"global variable {name!r}")
        self._look_at(function.__defaults__ or (), f"a default of {function.__name__}")

    def _variables(
        self, scope: Mapping[str, Any], known: dict[str, Any], named: str, put: Callable[[str, Any], None]
    ) -> None:
        """Some of the entries of a scope, which may get others."""
        if not known:
            return
        get = itemgetter(*known)
        values = get(known)

        def restore() -> None:
            for key, value in known.items():
                if scope.get(key, _MISSING) is not value:
                    put(key, value)

        def which() -> str:
            return _differing(known, {key: scope.get(key, _MISSING) for key in known}, named)

        self._watch(which, lambda: get(scope) == values, restore)
        for key, value in known.items():
            self._look(value, f"{named} {key!r}")

    def _cell(self, cell: Any, name: str) -> None:
        try:
            value = cell.cell_contents
        except ValueError:  # not filled yet
            return

        def restore() -> None:
            cell.cell_contents = value

        if not isinstance(value, type):
            self._watch(lambda: name, lambda: cell.cell_contents is value or cell.cell_contents == value, restore)
            self._look(value, name)

    def _watch(self, name: Callable[[], str], same: Callable[[], Any], restore: Callable[[], None]) -> None:
        self._watched.append(_Watched(name, same, restore))


def _of_library(module: str | None) -> bool:
    """Whether code is part of a library, whose state is its own affair; the tasks of ours are not."""
    root, _, rest = (module or "").partition(".")
    return root in _LIBRARIES or root in sys.stdlib_module_names or (root == "diffsim_core" and rest.startswith("_"))


def _differing(known: Mapping[Any, Any], now: Mapping[Any, Any], named: str) -> str:
    differ = (key for key in {**known, **now} if known.get(key, _MISSING) is not now.get(key, _MISSING))
    return f"{named} {next(differ, '?')!r}"


def _names(code: types.CodeType) -> set[str]:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))
