"""Configurations as data: typed fields that are read from text and tables, with the docstring under each field."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ._errors import UsageError, unknown

Config = TypeVar("Config")


def field_types(cls: type) -> dict[str, Any]:
    """Names and types of a configuration's fields."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field, inherited ones included, on one line."""
    docs: dict[str, str] = {}
    for owner in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr):
                text = after.value.value if isinstance(after.value, ast.Constant) else None
                if isinstance(text, str):
                    docs[node.target.id] = " ".join(text.split())
    return docs


def from_mapping(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration from a table (TOML or JSON); fields that are not in it keep their defaults.

    Raises:
        UsageError: an unknown field (the nearest are named), a value of the wrong type or range.
    """
    types = field_types(cls)
    for name in values:
        if name not in types:
            raise unknown("config field", name, types)
    return _build(cls, {name: _convert(name, types[name], value) for name, value in values.items()})


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """``config`` with some fields replaced, checked as in ``from_mapping``."""
    return from_mapping(type(config), {**to_mapping(config), **values})


def to_mapping(config: Any) -> dict[str, Any]:
    """A configuration as a table that JSON and TOML can hold."""
    values = {name: getattr(config, name) for name in field_types(type(config))}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def parse(cls: type, name: str, text: str) -> Any:
    """The value of a field from the text of a flag: ``0.98``, ``true``, ``128,64,32``.

    Raises:
        UsageError: the text is not of the field's type.
    """
    kind = field_types(cls)[name]
    if typing.get_origin(kind) is tuple:
        return _convert(name, kind, [literal(part) for part in text.split(",") if part.strip()], shown=text)
    if kind is str or typing.get_origin(kind) is Literal:
        return _convert(name, kind, text)
    return _convert(name, kind, literal(text), shown=text)


def _build(cls: type[Config], values: Mapping[str, Any]) -> Config:
    try:
        return cls(**values)
    except ValueError as error:
        raise UsageError(str(error)) from None


def literal(text: str) -> Any:
    """The bool, int, float or word that a text spells."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _convert(name: str, kind: Any, value: Any, shown: Any = None) -> Any:
    """``value`` as a field of type ``kind`` holds it; the error shows ``shown`` in its place if given."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) == len(value):
            with contextlib.suppress(UsageError):
                return tuple(_convert(name, one, part) for one, part in zip(kinds, value, strict=True))
    if origin in (types.UnionType, typing.Union) and type(None) in arguments:
        if value in (None, "none", "None"):
            return None
        (kind,) = (one for one in arguments if one is not type(None))
        with contextlib.suppress(UsageError):
            return _convert(name, kind, value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind in (int, bool, str) and type(value) is kind:
        return value
    raise UsageError(f"config field {name} is {value if shown is None else shown!r}; it takes {_describe(kind)}")


def _describe(kind: Any) -> str:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple:
        words = {int: "integers", float: "numbers", str: "names"}
        count = "" if arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"{count}{words.get(arguments[0], 'values')} with commas between"
    if type(None) in arguments:
        return " or ".join("none" if one is type(None) else _describe(one) for one in arguments)
    return {int: "an integer", float: "a finite number", bool: "true or false", str: "a word"}.get(kind, str(kind))
