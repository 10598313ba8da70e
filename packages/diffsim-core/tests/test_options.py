"""Options of every registered task: declared with types, limits and meaning, checked, read from text, kept as JSON."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Interval, Unit, doc
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsim_core import _registry, list_tasks, make, register_task, task_options
from diffsim_core.options import REQUIRED, Count, OneOf, Option, Positive, fields_of, from_json, options_of, to_json

TASKS = [name for name in list_tasks() if ":" not in name and name not in _registry._REGISTERED]
OPTIONS = [(task, option) for task in TASKS for option in task_options(task).known.values()]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
JSON = st.recursive(
    SCALARS,
    lambda part: st.lists(part) | st.dictionaries(st.text().filter(lambda key: not key.startswith("$")), part),
    max_leaves=8,
)
WORDS = """abc none true 1e3 -1e3 inf -inf nan 1e400 0 4.0 1,2 [1,2] [0.5,2.0] [[1],[3]] {"a":10} {"a":"x"} { [
{"a":NaN} paper points released 0x10 1_000 9999999999999999999 "1" """.split()  # noqa: SIM905 - two lines, not thirty
TEXTS = st.sampled_from(["", "128, 64", *WORDS]) | st.text(max_size=8)


def same(a, b):
    return type(a) is type(b) and a == b


@pytest.mark.parametrize(("task", "option"), OPTIONS, ids=lambda it: it if isinstance(it, str) else it.name)
def test_every_option_is_declared(task, option):
    """Type, meaning, a default that is of the type, and a unit where the name of a physical quantity needs one."""
    assert not option.inferred and option.kind is not Any and option.doc, f"annotate {option.name} of {task}"
    assert option.default is not REQUIRED
    assert same(option.convert(option.default, "it"), option.default)
    row = option.to_json()
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["takes"] and row["doc"].endswith(".")
    assert from_json(row["default"]) == option.default


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(OPTIONS), TEXTS)
def test_a_text_is_refused_in_one_line_or_its_value_round_trips(case, text):
    task, option = case
    try:
        value = option.read(text, f"task {task!r}")
    except ValueError as error:
        message = str(error)
        assert "\n" not in message and message.startswith(f"{option.name} of task {task!r} is ")
        assert option.takes in message
        return
    assert same(option.convert(value, "it"), value)
    written = json.loads(json.dumps(to_json(value), allow_nan=False))
    again = option.convert(from_json(written), "it")
    assert same(again, value) or again == value  # a path is a text in JSON


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(OPTIONS), JSON)
def test_a_value_is_refused_in_one_line_or_is_of_the_type(case, value):
    _, option = case
    try:
        found = option.convert(value, "it")
    except ValueError as error:
        assert "\n" not in str(error) and f"it takes {option.takes}" in str(error)
        return
    assert same(option.convert(found, "it"), found)
    assert option.convert(json.loads(json.dumps(to_json(found), allow_nan=False)), "it") == found


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_json_round_trips_with_infinities(value):
    text = json.dumps(to_json(value), allow_nan=False)
    assert from_json(json.loads(text)) == value


@pytest.mark.parametrize("value", [math.nan, {"a": [math.nan]}, object(), {1: 2}, {"$a": 1}])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(ValueError, match="cannot be"):
        to_json(value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, 500.0, 500),
        (int, np.int64(3), 3),
        (int, np.float32(3), 3),
        (float, 3, 3.0),
        (float, np.float32(0.5), 0.5),
        (float, {"$numberDouble": "-Infinity"}, -math.inf),
        (int | float, 1.0, 1.0),
        (int | None, None, None),
        (tuple[float, float], [1, 2], (1.0, 2.0)),
        (tuple[float, ...], np.array([1, 2]), (1.0, 2.0)),
        (list[int], (1, 2.0), [1, 2]),
        (Mapping[str, float], {"a": 1}, {"a": 1.0}),
        (Literal["a", 1], 1, 1),
        (Path, "x", Path("x")),
        (Annotated[float, Interval(gt=0)], math.inf, math.inf),
        (Any, {"a": [{"$numberDouble": "Infinity"}]}, {"a": [math.inf]}),
    ],
)
def test_values_are_converted(kind, value, expected):
    assert same(Option(name="x", kind=kind).convert(value, "it"), expected)


@pytest.mark.parametrize(
    ("kind", "value", "takes"),
    [
        (int, 0.5, "an integer"),
        (int, True, "an integer"),
        (int, math.inf, "an integer"),
        (int, "3", "an integer"),
        (Count, 0, "an integer from 1 to 2^31 - 1"),
        (Count, 2**31, "an integer from 1 to 2^31 - 1"),
        (float, math.nan, "a number"),
        (float, True, "a number"),
        (float, 10**400, "a number"),
        (Positive, math.inf, "a finite number above 0"),
        (Annotated[float, Interval(gt=0)], 0, "a number above 0 or inf"),
        (Annotated[float, Interval(ge=0, lt=1)], 1, "a number of at least 0 and below 1"),
        (bool, 1, "true or false"),
        (str, 1, "a word"),
        (Literal["a", "b", 1], True, "a, b or 1"),
        (Annotated[str, OneOf(lambda: ["x", "y"])] | None, "z", "x, y or none"),
        (tuple[float, float], [1], "2 numbers with commas between"),
        (tuple[int, ...], "12", "integers with commas between"),
        (Mapping[str, float], {"a": "b"}, "a table of numbers by name, as JSON"),
        (Any, math.nan, "a value"),
    ],
)
def test_other_values_are_refused(kind, value, takes):
    with pytest.raises(ValueError, match="it takes") as caught:
        Option(name="x", kind=kind).convert(value, "it")
    assert str(caught.value).split("; it takes ")[1] == takes


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (int, "1e3", 1000),
        (int, "-5.", -5),
        (float, "-1e3", -1000.0),
        (float, "inf", math.inf),
        (bool, "True", True),
        (int | None, "none", None),
        (str | None, "none", None),
        (Literal["none"] | None, "none", "none"),
        (tuple[int, ...], "128, 64", (128, 64)),
        (tuple[float, float], "[0.5, 2]", (0.5, 2.0)),
        (Mapping[str, float], '{"a": Infinity}', {"a": math.inf}),
        (int | str, "1e3", 1000),
        (Any, "1e3", 1000.0),
        (Any, "[0.5,2.0]", [0.5, 2.0]),
        (Any, '"1"', "1"),
        (Any, "word", "word"),
    ],
)
def test_texts_are_read(kind, text, expected):
    assert same(Option(name="x", kind=kind).read(text, "it"), expected)


def test_a_factory_without_annotations_has_the_types_of_its_defaults():
    def factory(num_envs, device, dtype, gain=1.0, steps=3, law="a", size=(1, 2.0), on=True, other=None, *, more):
        raise AssertionError

    options = options_of(factory, "task 'mine'")
    takes = {name: option.takes for name, option in options.known.items()}
    assert takes == {
        "gain": "a number",
        "steps": "an integer",
        "law": "a word",
        "size": "numbers with commas between",
        "on": "true or false",
        "other": "a value",
        "more": "a value",
    }
    with pytest.raises(ValueError, match=r"steps of task 'mine' is 0.5; it takes an integer \(its default is 3; annot"):
        options.convert({"steps": 0.5})
    with pytest.raises(ValueError, match="task 'mine' needs the option more"):
        options.require({"gain": 1.0})


def test_annotations_that_only_a_type_checker_can_read_are_left_out():
    def factory(*, num_envs, device, dtype, model: "missing.Model" = None, gain: "Positive" = 1.0): ...  # noqa: F821, UP037

    known = options_of(factory, "task 'mine'").known
    assert (known["model"].takes, known["gain"].takes) == ("a value", "a finite number above 0")


def test_make_checks_the_options_of_ones_own_task():
    seen = {}

    def factory(
        *, num_envs, device, dtype, stiffness: Annotated[Positive, Unit("N/m"), doc("Of the spring.")] = 1.0, **more
    ):
        seen.update(stiffness=stiffness, **more)
        raise ValueError("made")

    register_task("test_options_own", factory)
    with pytest.raises(ValueError, match="made"):
        make("test_options_own", num_envs=2.0, stiffness=2, bound={"$numberDouble": "Infinity"})
    assert seen == {"stiffness": 2.0, "bound": math.inf} and type(seen["stiffness"]) is float
    for options, words in [
        (
            {"stiffness": "abc"},
            r"stiffness of task 'test_options_own' is 'abc'; it takes a finite number above 0 \[N/m\]",
        ),
        ({"num_envs": 1.5}, "num_envs of make is 1.5; it takes an integer from 1"),
        ({"world_offset": -1}, "world_offset of make is -1"),
        ({"randomize": 3}, "randomize of task 'test_options_own' is 3; it takes a table"),
    ]:
        with pytest.raises(ValueError, match=words):
            make("test_options_own", **options)


def test_fields_of_a_dataclass_are_options():
    from dataclasses import dataclass

    @dataclass
    class Base:
        rate: Annotated[float, Ge(0)] = 0.5
        """Of learning."""

    rate = fields_of(Base, "config").known["rate"]
    assert (rate.default, rate.doc, rate.takes) == (0.5, "Of learning.", "a number of at least 0 or inf")


def test_naming_tasks_stays_light():
    code = "import sys, diffsim_core; diffsim_core.list_tasks(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "jax", "warp", "mujoco", "annotated_types"} & set(done.stdout.split())
