"""Values of a declared type: checked, read from text, described in words, and as JSON.

A type is a type hint: ``bool``, ``int``, ``float``, ``str``, ``Path``, ``Literal``, ``tuple``, ``list``, ``Mapping``,
unions of these, and ``Annotated`` with limits of ``annotated_types`` or a ``OneOf``. Limits mean what they say for
infinity too: ``Gt(0)`` admits it, ``Interval(gt=0, lt=math.inf)`` does not. NaN belongs to no type.
"""

from __future__ import annotations

import collections.abc
import contextlib
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types as at

_DOUBLE = "$numberDouble"
"""Key of a number that is not finite, as in MongoDB's Extended JSON: ``{"$numberDouble": "Infinity"}``."""
_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}
_SEQUENCES = (list, tuple, collections.abc.Sequence)
_MAPPINGS = (dict, collections.abc.Mapping)


class Refused(ValueError):
    """A value is not of a type. The caller says which value of what, and what it takes."""


@dataclass(frozen=True)
class OneOf:
    """Limit of a word to names that are known when it is asked for: ``Annotated[str, OneOf(law_names)]``."""

    names: Callable[[], Iterable[str]]


class _Bounds(typing.NamedTuple):
    """The limits of a number."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    """``low`` itself is left out."""
    below: bool = False
    """``high`` itself is left out."""

    def holds(self, value: float) -> bool:
        low = value > self.low if self.above else value >= self.low
        return low and (value < self.high if self.below else value <= self.high)


def convert(kind: Any, value: Any) -> Any:
    """``value`` as the type ``kind`` holds it; a whole float becomes an integer where one is wanted, and the reverse.

    Raises:
        Refused: it is not of the type, or out of its limits.
    """
    kind, limits = _split(kind)
    if _is_open(kind):
        return from_json(value)
    if kind is None or kind is type(None):
        return _only(value is None, None)
    if (members := _members(kind)) is not None:
        # What is of a member already stays as it is: 1.0 of ``int | float`` is no integer.
        members = sorted(members, key=lambda member: _split(member)[0] is not type(value))
        return _first(convert, members, limits, value)
    if isinstance(value, Mapping) and set(value) == {_DOUBLE}:
        value = from_json(value)
    value = _scalar(value)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        same = [one for one in arguments if type(one) is type(value) and one == value]
        return _only(bool(same), value)
    if origin in _SEQUENCES:
        return _sequence(origin, arguments, limits, value)
    if origin in _MAPPINGS:
        return _mapping(arguments, value)
    if origin is bool:
        return _only(isinstance(value, bool), value)
    if origin in (int, float):
        return _number(origin, _bounds(limits), value)
    if origin is str:
        known = _names(limits)
        return _only(isinstance(value, str) and (known is None or value in known), value)
    if origin is Path and isinstance(value, str | Path):
        return Path(value)
    if not isinstance(origin, type):
        return value  # Callable, a type variable: nothing that can be checked
    try:
        return _only(isinstance(value, origin), value)
    except TypeError:  # a protocol that cannot be checked
        return value


def admits(kind: Any, value: Any) -> bool:
    """Whether a value is of the type."""
    with contextlib.suppress(Refused):
        convert(kind, value)
        return True
    return False


def read(kind: Any, text: str) -> Any:
    """The value that a text spells: ``0.98``, ``1e3``, ``true``, ``none``, ``128,64``, ``{"a": 1.4}``.

    Raises:
        Refused: as ``convert``.
    """
    kind, limits = _split(kind)
    if _is_open(kind):
        return _guess(text)
    if kind is None or kind is type(None):
        return _only(text.strip().lower() == "none", None)
    if (members := _members(kind)) is not None:
        # A word takes any text, so it comes last.
        members = sorted(members, key=lambda member: _split(member)[0] in (str, Path))
        return _first(read, members, limits, text)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        found = [one for one in arguments if str(one) == text]
        return found[0] if found else _only(False, None)
    if origin is bool:
        return _only(text.strip().lower() in ("true", "false"), text.strip().lower() == "true")
    whole = Annotated[kind, *limits] if limits else kind
    if origin in (int, float):
        return convert(whole, _numeral(text))
    if origin in _SEQUENCES and not text.lstrip().startswith("["):
        parts = [part.strip() for part in text.split(",") if part.strip()]
        kinds = _kinds(origin, arguments, len(parts))
        return convert(whole, [read(one, part) for one, part in zip(kinds, parts, strict=True)])
    if origin in (str, Path):
        return convert(whole, text)
    return convert(whole, _parse(text))


def describe(kind: Any) -> str:
    """What a type takes, for an error or a help text: ``an integer of at least 1``, ``paper, released or none``."""
    return join_or(list(dict.fromkeys(_alternatives(kind))))


def join_or(words: list[str]) -> str:
    """``a, b or c``."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def choices(kind: Any) -> tuple[Any, ...] | None:
    """The values of a type that has few of them, without None; else None."""
    kind, limits = _split(kind)
    if (members := _members(kind)) is not None:
        found = [choices(one) for one in members if one is not type(None)]
        return None if None in found else tuple(value for part in found for value in part or ())
    if kind is bool:
        return (True, False)
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    return _names(limits) if kind is str else None


def limits_of(kind: Any) -> dict[str, float]:
    """The limits of a number by their names: ``{"gt": 0}``, as in ``annotated_types.Interval``; finite ones only."""
    kind, limits = _split(kind)
    if (members := _members(kind)) is not None:
        kind, limits = next(((one, found) for one, found in map(_split, members) if found), (kind, limits))
    bounds = _bounds(limits)
    named = {"gt" if bounds.above else "ge": bounds.low, "lt" if bounds.below else "le": bounds.high}
    return {name: value for name, value in named.items() if math.isfinite(value)}


def infer(default: Any) -> Any:
    """The type of an option that has no annotation, from its default; ``Any`` where that says nothing."""
    if isinstance(default, bool | int | float | str | Path):
        return next(kind for kind in (bool, int, float, str, Path) if isinstance(default, kind))
    if isinstance(default, tuple | list) and default:
        kinds = {infer(one) for one in default}
        one = kinds.pop() if len(kinds) == 1 else float if kinds <= {int, float} else Any
        return tuple[one, ...] if isinstance(default, tuple) else list[one]
    return Any


def to_json(value: Any) -> Any:
    """A value in JSON's types, such that ``from_json`` gives it back: an infinity is ``{"$numberDouble": "Infinity"}``.

    Tuples become lists, paths become texts.

    Raises:
        ValueError: JSON cannot hold it: NaN, an object, a key that is not a text or begins with ``$``.
    """
    value = _scalar(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise ValueError(f"{key!r} cannot be a name in a table; take a text that does not begin with $")
        return {key: to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and not math.isnan(value):
        name = "Infinity" if value > 0 else "-Infinity"
        return value if math.isfinite(value) else {_DOUBLE: name}
    if isinstance(value, Path):
        return str(value)
    raise ValueError(
        f"{value!r} cannot be written down; take numbers, true, false, none, texts, or lists and tables of them"
    )


def from_json(value: Any) -> Any:
    """The inverse of ``to_json``; what is no list, table or number comes through unchanged.

    Raises:
        Refused: NaN, or a table with a ``$numberDouble`` that is not an infinity.
    """
    if type(value) is dict:
        if _DOUBLE in value:
            if len(value) != 1 or value[_DOUBLE] not in _INFINITIES:
                raise Refused(f"{value!r} is no number; take {{{_DOUBLE!r}: 'Infinity'}} or '-Infinity'")
            return _INFINITIES[value[_DOUBLE]]
        return {key: from_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(from_json, value)) if type(value) in (list, tuple) else value  # no named tuple
    return _only(not (isinstance(value, float) and math.isnan(value)), value)


def _scalar(value: Any) -> Any:
    """The number in an array without axes; anything else as it is."""
    holds = getattr(value, "shape", None) == () and hasattr(value, "item")
    return value.item() if holds else value


def _only(holds: bool, value: Any) -> Any:
    if not holds:
        raise Refused
    return value


def _first(function: Callable[[Any, Any], Any], members: Iterable[Any], limits: tuple[Any, ...], value: Any) -> Any:
    """``value`` as the first member of a union that takes it."""
    for member in members:
        with contextlib.suppress(Refused):
            return function(Annotated[member, *limits] if limits else member, value)
    raise Refused


def _number(kind: type, bounds: _Bounds, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise Refused
    if kind is int:
        whole = isinstance(value, Integral) or (math.isfinite(value) and float(value).is_integer())
        found = int(_only(whole, value))
    else:
        try:
            found = float(value)
        except OverflowError:  # an integer beyond the largest float
            raise Refused from None
    return _only(found == found and bounds.holds(found), found)


def _sequence(origin: Any, arguments: tuple[Any, ...], limits: tuple[Any, ...], value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise Refused
    found = [convert(kind, part) for kind, part in zip(_kinds(origin, arguments, len(value)), value, strict=True)]
    for limit in limits:
        if isinstance(limit, at.MinLen) and len(found) < limit.min_length:
            raise Refused
    return found if origin is list else tuple(found)


def _kinds(origin: Any, arguments: tuple[Any, ...], count: int) -> list[Any]:
    """The type of each part of a sequence of ``count`` parts."""
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return _only(len(arguments) == count, list(arguments))
    return [arguments[0] if arguments else Any] * count


def _mapping(arguments: tuple[Any, ...], value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise Refused
    kind = arguments[1] if arguments else Any
    return {key: convert(kind, part) for key, part in value.items()}


def _numeral(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    raise Refused


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Refused from None


def _guess(text: str) -> Any:
    """A value of no declared type: a number, true, false, none, a list or table of JSON, else a word."""
    word = text.strip()
    if word.lower() in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[word.lower()]
    if word[:1] in ("[", "{", '"'):
        return from_json(_parse(word))
    try:
        number = _numeral(word)
    except Refused:
        return text
    return from_json(number)


def _split(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and its limits."""
    limits: list[Any] = []
    while typing.get_origin(kind) is Annotated:
        kind, *found = typing.get_args(kind)
        limits += found
    flat = [part for limit in limits for part in (limit if isinstance(limit, at.GroupedMetadata) else [limit])]
    return kind, tuple(flat)


def annotations_of(kind: Any) -> Iterator[Any]:
    """Everything that ``Annotated`` adds to a type, or to a member of a union."""
    kind, limits = _split(kind)
    yield from limits
    for member in _members(kind) or ():
        yield from annotations_of(member)


def _members(kind: Any) -> tuple[Any, ...] | None:
    """The members of a union, or None for another type."""
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else None


def _is_open(kind: Any) -> bool:
    return kind is Any or kind is object


def _bounds(limits: Iterable[Any]) -> _Bounds:
    bounds = _Bounds()
    for limit in limits:
        match limit:
            case at.Gt(gt=low):
                bounds = bounds._replace(low=low, above=True)
            case at.Ge(ge=low):
                bounds = bounds._replace(low=low, above=False)
            case at.Lt(lt=high):
                bounds = bounds._replace(high=high, below=True)
            case at.Le(le=high):
                bounds = bounds._replace(high=high, below=False)
            case _:
                pass
    return bounds


def _names(limits: Iterable[Any]) -> tuple[str, ...] | None:
    return next((tuple(limit.names()) for limit in limits if isinstance(limit, OneOf)), None)


def _alternatives(kind: Any) -> list[str]:
    """What a type takes, in parts of which each is enough; ``none`` comes last."""
    kind, limits = _split(kind)
    if _is_open(kind):
        return ["a value"]
    if (members := _members(kind)) is not None:
        words = [word for one in members for word in _alternatives(Annotated[one, *limits] if limits else one)]
        return sorted(words, key=lambda word: word == "none")
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is Literal:
        return list(map(str, arguments))
    if origin is str and (known := _names(limits)) is not None:
        return list(known)
    if origin in (int, float):
        return _number_words(origin, _bounds(limits))
    if origin in _SEQUENCES:
        return [_sequence_words(origin, arguments)]
    if origin in _MAPPINGS:
        values = {float: "numbers", int: "integers", str: "words"}
        one = _split(arguments[1])[0] if arguments else Any
        return [f"a table of {values.get(one, 'values')} by name, as JSON"]
    words = {bool: "true or false", str: "a word", Path: "a path", None: "none", type(None): "none"}
    return [words.get(origin) or f"a {getattr(origin, '__name__', origin)}"]


def _number_words(kind: type, bounds: _Bounds) -> list[str]:
    low, high, above, below = bounds
    if kind is int:  # 1 to 9 rather than above 0 and below 10
        low, high, above, below = low + above, high - below, False, False
    has_low, has_high = math.isfinite(low), math.isfinite(high)
    noun = "an integer" if kind is int else "a finite number" if below and high == math.inf else "a number"
    if has_low and has_high and not above and not below:
        return [f"{noun} from {_plain(low)} to {_plain(high)}"]
    parts = [f"{'above' if above else 'of at least'} {_plain(low)}"] if has_low else []
    parts += [f"{'below' if below else 'of at most'} {_plain(high)}"] if has_high else []
    words = [" ".join([noun, " and ".join(parts)]) if parts else noun]
    return [*words, "inf"] if kind is float and has_low and high == math.inf and not below else words


def _plain(bound: float) -> str:
    names = {2**31 - 1: "2^31 - 1", 2**63 - 1: "2^63 - 1"}
    return names.get(int(bound), str(bound)) if isinstance(bound, int) else f"{bound:g}"


def _sequence_words(origin: Any, arguments: tuple[Any, ...]) -> str:
    kind, limits = _split(arguments[0]) if arguments else (Any, ())
    words = {str: "words", bool: "values true or false"}.get(kind, "values")
    if kind in (int, float):
        words = _number_words(kind, _bounds(limits))[0].removeprefix("an ").removeprefix("a ")
        words = words.replace("integer", "integers").replace("number", "numbers")
    fixed = origin is tuple and arguments and arguments[-1] is not Ellipsis
    return f"{f'{len(arguments)} ' if fixed else ''}{words} with commas between"
