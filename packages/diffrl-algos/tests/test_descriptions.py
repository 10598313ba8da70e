"""Descriptions of runs, over every algorithm, field, task and option: typed, whole, the same when read again."""

from __future__ import annotations

import dataclasses
import json
import math
import random
import typing
from types import UnionType
from typing import Annotated, Any

import pytest
from annotated_types import Unit
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim_core
from diffrl_algos import Budget, RunError, SHACConfig, UsageError, get_algorithm
from diffrl_algos._fields import field_types, from_mapping, parse, to_mapping
from diffrl_algos._run import Run
from diffrl_algos._spec import RunSpec
from diffsim_core.options import OneOf

from . import fuzz

ALGORITHMS = fuzz.names()
FIELDS = [(name, option) for name in ALGORITHMS for option in field_types(get_algorithm(name).config_class()).values()]


def members(kind: Any) -> tuple[Any, ...]:
    """The members of a union, with its limits; else the type alone."""
    limits: tuple[Any, ...] = ()
    if typing.get_origin(kind) is Annotated:
        kind, *found = typing.get_args(kind)
        limits = tuple(found)
    if typing.get_origin(kind) in (typing.Union, UnionType):
        return tuple(Annotated[one, *limits] if limits else one for one in typing.get_args(kind))
    return (Annotated[kind, *limits] if limits else kind,)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a declared type. Hypothesis reads the limits; NaN is of no type."""
    limits = [one for one in getattr(kind, "__metadata__", ()) if isinstance(one, OneOf)]
    if limits:
        return st.sampled_from(list(limits[0].names()))
    if len(found := members(kind)) > 1:
        return st.one_of(*map(of_type, found))
    bare = kind
    while typing.get_origin(bare) is Annotated:
        bare = typing.get_args(bare)[0]
    # Hypothesis warns of a unit, which is no limit.
    limits = [one for one in getattr(found[0], "__metadata__", ()) if not isinstance(one, Unit)]
    plain = Annotated[bare, *limits] if limits else bare
    if typing.get_origin(bare) is tuple and typing.get_args(bare)[-1] is Ellipsis:
        return st.lists(of_type(typing.get_args(bare)[0]), max_size=3).map(tuple)
    if typing.get_origin(bare) is tuple:
        return st.tuples(*map(of_type, typing.get_args(bare)))
    return st.from_type(plain).filter(lambda value: value == value)


def test_every_field_is_declared():
    """With limits where it is a number, and a meaning."""
    for name, option in FIELDS:
        row = option.to_json()
        where = f"{option.name} of {name}"
        assert option.doc and not option.inferred, where
        assert json.loads(json.dumps(row, allow_nan=False)) == row, where
        if "number" in option.takes or "integer" in option.takes:
            assert option.takes not in ("a number", "an integer"), f"{where} has no limits"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_configuration_round_trips(data):
    name, option = data.draw(st.sampled_from(FIELDS))
    cls = get_algorithm(name).config_class()
    value = data.draw(of_type(option.kind))
    try:
        config = from_mapping(cls, {option.name: value})
    except UsageError as error:
        # Types and limits of a field alone are declared; what is refused here depends on another field.
        assert "it must be" in str(error), (name, option.name, value)
        return
    table = json.loads(json.dumps(to_mapping(config), allow_nan=False))
    assert from_mapping(cls, table) == config and config == cls(**vars(config))
    held = getattr(config, option.name)
    assert type(held) is type(value) and held == value
    text = ",".join(map(repr, value)) if isinstance(value, tuple) else str(value)
    assert parse(cls, option.name, text) == value


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FIELDS), st.sampled_from(fuzz.TEXTS))
def test_every_text_for_a_field_is_of_its_type_or_refused_in_one_line(case, text):
    name, option = case
    cls = get_algorithm(name).config_class()
    try:
        value = parse(cls, option.name, text)
    except UsageError as error:
        assert str(error).startswith(f"{option.name} of {cls.__name__} is ") and option.takes in str(error)
        assert "\n" not in str(error)
        return
    assert option.convert(value, "it") == value


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_description_round_trips(data):
    name, task = data.draw(st.sampled_from(ALGORITHMS)), data.draw(st.sampled_from(fuzz.TASKS))
    known = diffsim_core.task_options(task).known
    scalars = {key: one for key, one in known.items() if "table" not in one.takes and one.kind is not Any}
    chosen = data.draw(st.lists(st.sampled_from(sorted(scalars)), unique=True, max_size=3))
    budget = data.draw(
        st.one_of(
            st.integers(1, 2**31 - 1).map(lambda k: Budget(iterations=k)),
            st.integers(1, 2**62).map(lambda k: Budget(env_steps=k)),
            st.floats(0, exclude_min=True, allow_nan=False).map(lambda x: Budget(seconds=x)),
        )
    )
    spec = RunSpec(
        algorithm=name,
        task=task,
        config=get_algorithm(name).config_class()(),
        num_envs=data.draw(st.integers(1, 2**31 - 1)),
        budget=budget,
        seed=data.draw(st.integers(0, 2**31 - 1)),
        task_options={key: data.draw(of_type(scalars[key].kind)) for key in chosen},
        stop_at_return=data.draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
    )
    fuzz.assert_round_trip(spec)


def test_command_lines_are_refused_in_one_line_or_describe_a_run():
    draw = random.Random(1)
    found = [fuzz.try_line(fuzz.command_line(draw)) for _ in range(60)]
    assert found.count("refused") > 10 and found.count("described") > 5


def test_what_is_refused_is_one_line_and_exit_code_2():
    draw, tried = random.Random(2), 0
    while tried < 5:
        arguments = fuzz.command_line(draw)
        if fuzz.try_line(arguments) == "refused":
            code, lines = fuzz.run_line(arguments)
            assert code == 2 and len(lines) == 1 and lines[0].startswith("diffrl: "), (arguments, lines)
            tried += 1


def spec(**changes):
    values = {"algorithm": "shac", "task": "pace_car_1", "config": SHACConfig(), "num_envs": 2}
    return RunSpec(**{**values, "budget": Budget(iterations=2), **changes})


def test_infinite_options_are_kept_by_a_run(tmp_path):
    made = Run.create(tmp_path / "run", spec(task_options={"max_braking": math.inf, "spread": 0}), {})
    text = (made.path / "run.json").read_text()
    assert '"max_braking": {\n      "$numberDouble": "Infinity"' in text
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    opened = Run.open(made.path)
    assert opened == made and opened.spec.task_options["max_braking"] == math.inf
    assert opened.spec.make_env(1).task.dynamics.model.max_braking == math.inf
    other = Run.create(tmp_path / "other", spec(task_options={"max_braking": None, "spread": 0}), {})
    assert other.identity != made.identity


def as_first_format(run: Run, **options: Any) -> None:
    """Rewrite ``run.json`` as the first format had it, with null in place of what is not finite."""
    values = json.loads((run.path / "run.json").read_text())
    values |= {"format": "diffrl-run-1", "task_options": options}
    values["config"].pop("schedule_steps", None)
    (run.path / "run.json").write_text(json.dumps(values))


def test_descriptions_of_the_first_format_are_read_or_refused_by_name(tmp_path):
    run = Run.create(tmp_path / "run", spec(), {})
    as_first_format(run, spread=0.5)
    assert Run.open(run.path).spec.task_options == {"spread": 0.5}
    as_first_format(run, max_braking=None)
    with pytest.raises(RunError, match=r"task option max_braking is null.*numberDouble"):
        Run.open(run.path)
    # What the message says helps, and the checkpoints stay those of the run: its identity had null.
    as_first_format(run, max_braking={"$numberDouble": "Infinity"})
    whole = Run.open(run.path)
    as_first_format(run, max_braking={"$numberDouble": "-Infinity"})
    assert whole.spec.task_options == {"max_braking": math.inf} and Run.open(run.path).identity == whole.identity


@pytest.mark.parametrize("value", [math.nan, object(), {1: 2}, [math.nan]])
def test_an_option_that_no_file_can_hold_is_named(value):
    with pytest.raises(UsageError, match=r"^task option spread: .*cannot be"):
        spec(task_options={"spread": value})


def test_a_configuration_holds_what_its_fields_declare():
    config = SHACConfig(horizon=32.0, gamma=1, actor_hidden=[64.0])
    assert (config.horizon, config.gamma, config.actor_hidden) == (32, 1.0, (64,))
    assert [type(x) for x in (config.horizon, config.gamma, config.actor_hidden[0])] == [int, float, int]
    with pytest.raises(UsageError, match=r"horizon of SHACConfig is 0\.5; it takes an integer from 1"):
        dataclasses.replace(config, horizon=0.5)
