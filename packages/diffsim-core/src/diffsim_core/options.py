"""Options of task factories and configurations, declared once: in the annotation of the argument or field.

.. code-block:: python

    def make_task(*, num_envs, device, dtype, gain: Annotated[Positive, Unit("N/m"), Doc("Of the spring.")] = 40.0): ...

The annotation serves ``make``, which checks and converts the value, the ``diffrl`` command, which reads it from text
and lists it, and the page of the docs. Limits (``Interval``, ``Ge``, ...), ``Unit`` and ``doc`` are those of the
package ``annotated_types``; ``Doc`` of ``typing_extensions`` is the same as ``doc``. Without an annotation the default
says the type.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Optional

from annotated_types import Interval, Unit, doc

from diffsim_core import _values
from diffsim_core._nearest import unknown
from diffsim_core._values import OneOf as OneOf
from diffsim_core._values import from_json as from_json
from diffsim_core._values import to_json as to_json

Count = Annotated[int, Interval(ge=1, lt=2**31)]
Finite = Annotated[float, Interval(gt=-math.inf, lt=math.inf)]
Positive = Annotated[float, Interval(gt=0, lt=math.inf)]
NotNegative = Annotated[float, Interval(ge=0, lt=math.inf)]
Fraction = Annotated[float, Interval(ge=0, le=1)]

EpisodeLength = Annotated[Count, Unit("steps"), doc("Control steps in an episode.")]
Substeps = Annotated[int, Interval(ge=1, le=10_000), doc("Sub-steps of a control step.")]
Threads = Annotated[
    Annotated[int, Interval(ge=1, le=4096)] | None,
    doc("CPU threads of the simulator; none for DIFFSIM_NUM_THREADS, or else all cores. Results do not depend on it."),
]
RandomStart = Annotated[bool, doc("Draw the initial state of each episode.")]

Index = Annotated[int, Interval(ge=0, lt=2**31)]

REQUIRED: Any = inspect.Parameter.empty
"""The default of an option that has none."""
_FROM_MAKE = ("num_envs", "device", "dtype")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option: what it takes, and what it means."""

    name: str
    kind: Any = Any
    """Its type hint, with limits."""
    default: Any = REQUIRED
    inferred: bool = False
    """Whether the type is that of the default, because nothing else says it."""
    unit: str = ""
    doc: str = ""

    @property
    def takes(self) -> str:
        """What it takes, in words: ``an integer of at least 1``."""
        return _values.describe(self.kind)

    @property
    def choices(self) -> tuple[Any, ...] | None:
        """Its values, if it has few."""
        return _values.choices(self.kind)

    @property
    def optional(self) -> bool:
        """Whether it may be none."""
        return _values.admits(self.kind, None)

    def convert(self, value: Any, owner: str) -> Any:
        """The value as the option holds it; a whole float for an integer becomes one.

        Raises:
            ValueError: it is of another type or out of range. One line names the option, ``owner`` and what it takes.
        """
        try:
            return _values.convert(self.kind, value)
        except _values.Refused:
            raise self._refused(value, owner) from None

    def read(self, text: str, owner: str) -> Any:
        """The value that a text spells, checked as in ``convert``."""
        try:
            return _values.read(self.kind, text)
        except _values.Refused:
            raise self._refused(text, owner) from None

    def to_json(self) -> dict[str, Any]:
        """Name, type in words, default, choices, limits, unit and meaning, as far as there are any."""
        values = {
            "name": self.name,
            "takes": self.takes,
            "default": None if self.default is REQUIRED else _written(self.default),
            "required": self.default is REQUIRED,
            "choices": None if self.choices is None else list(self.choices),
            **_values.limits_of(self.kind),
            "unit": self.unit,
            "doc": self.doc,
        }
        return {
            key: value for key, value in values.items() if key in ("default", "required") or value not in (None, "")
        }

    def refusal(self, value: Any) -> str:
        """The value, what the option takes instead, and a hint: ``'adm'; it takes adam or sgd; did you mean adam?``."""
        near: Iterable[str] = ()
        if isinstance(value, str) and self.choices:
            near = difflib.get_close_matches(value, list(map(str, self.choices)), n=1)
        hint = "".join(f"; did you mean {name}?" for name in near)
        if self.inferred:
            hint += f" (its default is {self.default!r}; annotate it if it takes more)"
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{_shown(value)}; it takes {self.takes}{unit}{hint}"

    def _refused(self, value: Any, owner: str) -> ValueError:
        return ValueError(f"{self.name} of {owner} is {self.refusal(value)}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """All options of a task or configuration."""

    owner: str
    """Whose they are, for errors: ``task 'ant'``."""
    known: Mapping[str, Option] = field(default_factory=dict)
    open: bool = False
    """Whether there may be others, of any type."""

    def __getitem__(self, name: str) -> Option:
        """The option of that name.

        Raises:
            ValueError: there is none; the nearest names are given.
        """
        if name not in self.known and not self.open:
            raise ValueError(unknown(f"option of {self.owner}:", name, self.known))
        return self.known.get(name) or Option(name=name)

    def convert(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Each value as its option holds it.

        Raises:
            ValueError: an option does not exist, or its value is of the wrong type or out of range; one line says so.
        """
        return {name: self[name].convert(value, self.owner) for name, value in values.items()}

    def require(self, values: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` if an option without a default is not among ``values``."""
        for name, option in self.known.items():
            if option.default is REQUIRED and name not in values:
                raise ValueError(f"{self.owner} needs the option {name}; it takes {option.takes}")


def options_of(function: Callable[..., Any], owner: str, leave_out: Iterable[str] = _FROM_MAKE) -> Options:
    """The options of a function: its arguments that can be given by name, but for ``leave_out``.

    Args:
        function: a task factory, a class, a ``functools.partial``.
        owner: whose options they are, for errors.
        leave_out: arguments that are none.
    """
    parameters = typed_parameters(function)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in leave_out]
    return Options(
        owner=owner,
        known={p.name: _option(p.name, p.annotation, p.default) for p in named},
        open=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def fields_of(cls: type, owner: str) -> Options:
    """The fields of a dataclass as options, each with the docstring under it."""
    hints, docs = typing.get_type_hints(cls, include_extras=True), field_docs(cls)
    known = {}
    for one in dataclasses.fields(cls):
        made = one.default_factory is not dataclasses.MISSING
        default = one.default_factory() if made else REQUIRED if one.default is dataclasses.MISSING else one.default  # pyright: ignore[reportCallIssue]
        if one.init:
            known[one.name] = _option(one.name, hints[one.name], default, docs.get(one.name, ""))
    return Options(owner=owner, known=known)


def typed_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a function with annotations that are types, not texts.

    An annotation that cannot be evaluated, such as a name that only a type checker imports, is left out.
    """
    parameters = inspect.signature(function).parameters.values()
    while isinstance(function, functools.partial):
        function = function.func
    made = function.__init__ if isinstance(function, type) else function
    scope = getattr(made, "__globals__", {})
    return [parameter.replace(annotation=_evaluated(parameter.annotation, scope)) for parameter in parameters]


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, inherited ones included, on one line."""
    docs: dict[str, str] = {}
    for owner in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        except (OSError, TypeError, SyntaxError):  # typed in at a prompt, or made by a program
            continue
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(after, ast.Expr):
                text = after.value.value if isinstance(after.value, ast.Constant) else None
                if isinstance(text, str):
                    docs[node.target.id] = " ".join(text.split())
    return docs


def _option(name: str, annotation: Any, default: Any, about: str = "") -> Option:
    inferred = annotation is REQUIRED
    kind = _values.infer(default) if inferred else annotation
    notes = list(_values.annotations_of(kind))
    units = [note.unit for note in notes if isinstance(note, Unit)]
    docs = [note.documentation for note in notes if isinstance(getattr(note, "documentation", None), str)]
    if default is None and not _values.admits(kind, None):
        kind = Optional[kind]  # noqa: UP045 - ``x: int = None``, an old habit, may be a type that | does not take
    return Option(
        name=name,
        kind=kind,
        default=default,
        inferred=inferred and kind is not Any,
        unit=units[0] if units else "",
        doc=docs[0] if docs else about,
    )


def _evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    alone = types.SimpleNamespace(__annotations__={"it": annotation})
    with contextlib.suppress(Exception):  # whatever a name that is only there for type checkers leads to
        return typing.get_type_hints(alone, scope, include_extras=True)["it"]
    return REQUIRED


def _written(default: Any) -> Any:
    with contextlib.suppress(ValueError):
        return to_json(default)
    return repr(default)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


NUM_ENVS = Option(name="num_envs", kind=Count, doc="Worlds in parallel.")
WORLD_OFFSET = Option(name="world_offset", kind=Index, doc="Number of the first world.")
RANDOMIZE = Option(
    name="randomize",
    kind=Mapping[str, tuple[Finite, Finite]] | None,
    default=None,
    doc="Of a rigid-body task: parameters of the model, each with the range of a factor drawn for each episode.",
)
FUSED = Option(
    name="fused",
    kind=bool,
    default=False,
    doc="Take each step, simulator and task together, as one operation of torch's autograd on a CPU.",
)
