"""Checks of arguments: an array of the wrong shape is an error that names it, never a silent broadcast."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import Any

from array_api_compat import is_numpy_array

from ._array import Array as Array
from ._backend import Backend, backend_of
from ._numpy import NUMPY


def check_window(floats: Mapping[str, Array], flags: Mapping[str, Array]) -> Any:
    """Array namespace of a window of ``[T, N]`` arrays; the first one sets framework, shape and dtype.

    Raises:
        ValueError: as ``check_arrays``, or the window is empty.
    """
    return check_arrays(
        {name: (array, "T N") for name, array in floats.items()},
        {name: (array, "T N") for name, array in flags.items()},
    )


def check_arrays(floats: Mapping[str, tuple[Array, str]], flags: Mapping[str, tuple[Array, str]] | None = None) -> Any:
    """Array namespace of arrays given as ``{name: (array, axes)}``; the first sets framework and dtype.

    ``axes`` names the axes, separated by spaces: ``"T N"``, ``"N P"``, ``""`` for a scalar array. Axes of the same name
    must have the same length. ``...`` (alone or last) stands for any number of axes, a number for an axis of this
    length. Every axis must hold at least one element.

    The check reads only types, shapes and dtypes. It takes microseconds and works on tracers.

    Raises:
        ValueError: an array is not of a supported framework, or of another framework than the first; its axes are not
            as named, or differ in length from the array that first named them; it is not floating point (``floats``) or
            not boolean (``flags``), or its dtype differs from that of the first float.
    """
    named = {**floats, **(flags or {})}
    first = next(iter(named))
    library = _backend(first, named[first][0])
    lengths: dict[str, tuple[Any, str]] = {}
    for name, (array, axes) in named.items():
        if (other := _backend(name, array)) is not library:
            raise ValueError(
                f"{name} is a {other.name} array but {first} is a {library.name} array; "
                "convert one of them, because all arrays must be of one framework"
            )
        _check_axes(name, tuple(array.shape), axes, lengths)
    xp = library.xp
    dtype = None
    for name, (array, _) in floats.items():
        if not xp.isdtype(array.dtype, "real floating"):
            raise ValueError(
                f"{name} has dtype {array.dtype}; expected a real floating-point dtype: {_cast(library, name, 'float')}"
            )
        dtype = dtype or array.dtype
        if array.dtype != dtype:
            raise ValueError(
                f"{name} has dtype {array.dtype}; expected {dtype} like {first}: {_cast(library, name, str(dtype))}"
            )
    for name, (array, _) in (flags or {}).items():
        if array.dtype != xp.bool:
            raise ValueError(f"{name} has dtype {array.dtype}; expected bool: {_cast(library, name, 'bool')}")
    return xp


def _cast(library: Backend, name: str, dtype: str) -> str:
    """How an array gets another dtype in its own framework."""
    kind = dtype.rpartition(".")[2]
    if library.name == "torch":
        return f"{name}.{kind}()" if kind in ("float", "bool") else f"{name}.to({dtype})"
    return f'{name}.astype("{"float32" if kind == "float" else kind}")'


def check_factor(name: str, factor: float) -> float:
    """``factor`` as a Python float (which never changes an array's dtype), checked to lie in [0, 1]."""
    return check_number(name, factor, 0.0, 1.0)


def check_number(
    name: str, number: float, low: float, high: float = math.inf, *, above: bool = False, infinite: bool = False
) -> float:
    """``number`` as a Python float in [``low``, ``high``].

    ``above`` excludes ``low`` itself, ``infinite`` allows infinity.
    """
    bounds = f"{'(' if above else '['}{low:g}, {high:g}{']' if infinite or high < math.inf else ')'}"
    try:
        value = float(number)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {number!r}; expected a number in {bounds}") from error
    if not low <= value <= high or (value == math.inf and not infinite) or (above and value == low):
        raise ValueError(f"{name} is {value}; expected a number in {bounds}")
    return value


def check_count(name: str, count: int, *, least: int = 1) -> int:
    """``count`` as a Python int, checked to be whole and at least ``least``."""
    try:
        whole = operator.index(count)
    except TypeError:
        whole = None
    if whole is None or isinstance(count, bool) or whole < least:
        raise ValueError(f"{name} is {count!r}; expected a whole number of at least {least}")
    return whole


def check_choice(name: str, choice: str, known: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless ``choice`` is one of the known words."""
    if choice not in known:
        raise ValueError(f"{name} is {choice!r}; expected one of {', '.join(map(repr, known))}")


def check_samples(name: str, array: Array, axis: int = 0, *, least: int = 2) -> None:
    """Check the number of samples, by default for a variance.

    Raises:
        ValueError: ``axis`` of ``array`` is shorter than ``least``.
    """
    if (count := array.shape[axis]) < least:
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}: {count} samples along axis {axis}; "
            f"expected at least {least}, which a variance needs"
        )


def _check_axes(name: str, shape: tuple[int, ...], axes: str, lengths: dict[str, tuple[Any, str]]) -> None:
    letters = axes.split()
    rest: list[tuple[str, Any]] = []
    if letters and letters[-1] == "...":
        letters = letters[:-1]
        rest = [("...", shape[len(letters) :])]
        short = len(shape) < len(letters)
    else:
        short = len(shape) != len(letters)
    expected = ", ".join(axes.split())
    known = [lengths[letter] for letter in letters if letter in lengths]
    if short or 0 in shape:
        sizes = " and ".join(f"{letter} >= 1" for letter in letters if not letter.isdigit())
        if known and len(known) == len(axes.split()):
            wanted = tuple(length for length, _ in known)
            raise ValueError(f"{name} has shape {shape}; expected {wanted} like {known[0][1]}")
        frame = "time-major " if letters[:1] == ["T"] else ""
        raise ValueError(f"{name} has shape {shape}; expected {frame}[{expected}]{' with ' if sizes else ''}{sizes}")
    for letter, length in [*zip(letters, shape, strict=False), *rest]:
        if letter.isdigit():
            if length != int(letter):
                raise ValueError(f"{name} has shape {shape}; expected [{expected}]")
            continue
        bound, owner = lengths.setdefault(letter, (length, name))
        if bound != length:
            everything = [lengths.get(one, ("?", ""))[0] for one in letters]
            if letter == "...":
                everything += bound
            wanted = ", ".join(map(str, everything)) + ("," if len(everything) == 1 else "")
            raise ValueError(f"{name} has shape {shape}; expected ({wanted}) like {owner}")


def _backend(name: str, array: Array) -> Backend:
    backend = backend_of(array)
    if backend is NUMPY and not is_numpy_array(array):
        kind = f"{type(array).__module__}.{type(array).__qualname__}"
        raise ValueError(f"{name} is of type {kind}; expected a NumPy array, a torch tensor or a JAX array")
    return backend
