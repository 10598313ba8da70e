"""Configurations as data: fields that are read from text and tables, checked by what their annotations declare."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

from diffsim_core.options import Option, Options, fields_of, to_json

from ._errors import UsageError, unknown

Config = TypeVar("Config")


@functools.cache
def options_of(cls: type) -> Options:
    """The fields of a configuration, with their types, limits, defaults and docstrings.

    Errors name it by its class attribute ``title``, or else by its class.
    """
    return fields_of(cls, getattr(cls, "title", cls.__name__))


def field_types(cls: type) -> Mapping[str, Option]:
    """Name, type, limits and docstring of each field of a configuration, by name."""
    return options_of(cls).known


def checked(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Each value as its field holds it.

    Raises:
        UsageError: an unknown field (the nearest are named), a value of the wrong type or out of range.
    """
    options = options_of(cls)
    for name in values:
        if name not in options.known:
            raise unknown("config field", name, options.known)
    try:
        return options.convert(values)
    except ValueError as error:
        raise UsageError(str(error)) from None


def from_mapping(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration from a table (TOML or JSON); fields that are not in it keep their defaults.

    Raises:
        UsageError: an unknown field (the nearest are named), a value of the wrong type or range.
    """
    known = field_types(cls)
    # TOML has no word for none.
    given = {name: None if value == "none" and _optional(known, name) else value for name, value in values.items()}
    try:
        return cls(**checked(cls, given))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from None


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """``config`` with some fields replaced, checked as in ``from_mapping``."""
    return from_mapping(type(config), {**to_mapping(config), **values})


def to_mapping(config: Any) -> dict[str, Any]:
    """A configuration as a table that JSON and TOML can hold; an infinity is a table too, see ``to_json``."""
    return {name: to_json(getattr(config, name)) for name in field_types(type(config))}


def parse(cls: type, name: str, text: str) -> Any:
    """The value of a field from the text of a flag: ``0.98``, ``1e3``, ``true``, ``none``, ``128,64,32``.

    Raises:
        UsageError: the text is not of the field's type, or out of its range.
    """
    options = options_of(cls)
    try:
        return options[name].read(text, options.owner)
    except ValueError as error:
        raise UsageError(str(error)) from None


def flag(name: str) -> str:
    """The option of a field: ``--num-envs``."""
    return f"--{name.replace('_', '-')}"


def spelled(value: Any) -> str:
    """A value as it is typed: ``128,64``, ``true``, ``none``."""
    if isinstance(value, tuple | list):
        return ",".join(map(spelled, value)) or "empty"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _optional(known: Mapping[str, Option], name: str) -> bool:
    return name in known and known[name].optional
