"""Arguments of ``diffrl train``: names are told from the values of options, wherever they stand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim_core
from diffrl_algos import UsageError, get_algorithm, list_algorithms
from diffrl_algos.cli import _train
from diffrl_algos.cli._train_options import train_parser

ALGORITHMS = [entry.name for entry in list_algorithms() if entry.algorithm.startswith("diffrl_algos.")]
NAMES = [*ALGORITHMS, *diffsim_core.list_tasks()]
COMMON = sorted(train_parser(None).options)
ACTIONS = {name: train_parser(get_algorithm(name))._option_string_actions for name in ALGORITHMS}
VALUES = st.sampled_from([*NAMES, "1", "-3", "-1e3", "-.5,2", "runs/a=b", ""])


@st.composite
def command_lines(draw):
    """``(arguments, algorithm, task, options)``: some options with values, around and between the two names."""
    algorithm, task = draw(st.sampled_from(ALGORITHMS)), draw(st.sampled_from(NAMES))
    # An import would be carried out; the value of an option that needs none may be a name only after ALGO and TASK.
    names = [name for name, action in ACTIONS[algorithm].items() if name not in ("--import", "--help", "-h")]
    places: list[list[str]] = [[], [], []]
    options = draw(st.lists(st.tuples(st.sampled_from(names), VALUES, st.integers(0, 2), st.booleans()), max_size=4))
    for name, value, place, joined in options:
        nargs = ACTIONS[algorithm][name].nargs
        joined = joined or (nargs == "?" and place < 2)
        places[place] += [name] if nargs == 0 else [f"{name}={value}"] if joined else [name, value]
    return [*places[0], algorithm, *places[1], task, *places[2]], algorithm, task, options


@settings(max_examples=150, deadline=None)
@given(command_lines())
def test_names_are_told_from_values_of_options(line):
    arguments, algorithm, task, options = line
    assert train_parser(None).positionals(arguments) == [algorithm, task]
    try:
        entry, args = _train._parse(arguments)
    except UsageError as error:  # one of the values has the wrong type; nothing else may be wrong
        assert "invalid value" in str(error) and any(f"argument {name}: " in str(error) for name, *_ in options)
        return
    assert entry is not None and (entry.name, args.algorithm, args.task) == (algorithm, algorithm, task)
    last = {name: value for name, value, *_ in sorted(options, key=lambda option: option[2])}
    for name, value in last.items():
        action = ACTIONS[algorithm][name]
        found = vars(args)[action.dest]
        if action.nargs == 0:
            assert found is True
        else:
            assert (found[-1] if isinstance(found, list) else found) == (action.type or str)(value)


@pytest.mark.parametrize("option", [name for name in COMMON if name not in ("--import", "--help", "-h")])
@pytest.mark.parametrize("algorithm", ["sac", "shac"])
def test_no_value_is_taken_for_the_algorithm(option, algorithm):
    """``diffrl train --out sac shac cartpole`` trains SHAC, in a folder named ``sac``."""
    valued = train_parser(None)._option_string_actions[option].nargs != 0
    for arguments in (
        [*([f"{option}=sac"] if valued else [option]), algorithm, "cartpole"],
        [algorithm, "cartpole", *([option, "sac"] if valued else [option])],
    ):
        try:
            entry, args = _train._parse(arguments)
        except UsageError as error:
            assert f"argument {option}: invalid" in str(error)
        else:
            assert entry is not None and (entry.name, args.task) == (algorithm, "cartpole")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "sac", "shaq", "toy"], "unknown algorithm 'shaq'; did you mean shac"),
        (["--gamma", "0.9", "shaq", "toy"], "unknown algorithm 'shaq'; did you mean shac"),
        (["--out", "sac", "cartpole"], "unknown algorithm 'cartpole'"),
        (["--tensorbord", "shac", "toy"], "'--tensorbord'; did you mean --tensorboard"),
        (["--wandb", "shac", "toy"], "--wandb took 'shac' for its own value; give ALGO and TASK before --wandb"),
        (["--clips", "shac", "toy"], "--clips took 'shac' for its own value"),
        (["shac", "toy", "--out"], "argument --out: expected one argument"),
        (["shac", "toy", "--out", "--seed", "1"], "argument --out: expected one argument"),
        (["shac", "toy", "-x"], "unrecognized arguments: -x"),
    ],
)
def test_what_is_wrong_is_named(arguments, words):
    with pytest.raises(UsageError, match=words):
        _train._parse(arguments)


def test_names_after_two_dashes_are_names():
    entry, args = _train._parse(["--out", "sac", "--", "shac", "toy"])
    assert entry is not None and (entry.name, args.task, args.out) == ("shac", "toy", "sac")
