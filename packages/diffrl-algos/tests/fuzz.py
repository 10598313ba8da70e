"""Random command lines and task options: each is refused in one line, or describes a run that round-trips.

``python packages/diffrl-algos/tests/fuzz.py --lines 2000 --options 500`` tries many; the tests try a few.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import sys
from collections import Counter

import diffsim_core
from diffrl_algos import UsageError, get_algorithm, list_algorithms
from diffrl_algos._fields import field_types
from diffrl_algos._spec import RunSpec
from diffrl_algos.cli import main
from diffrl_algos.cli._parser import HelpShown
from diffrl_algos.cli._train import _parse
from diffrl_algos.cli._train_options import spec_of, train_parser

TASKS = [name for name in diffsim_core.list_tasks() if not name.startswith("newton_")]
NUMBERS = "0 1 2 3.0 1e1 -1 -1e3 -.5 0.5 1e400 inf -inf nan 1_000 0x10 1e-300".split()  # noqa: SIM905 - one line
WORDS = ["", "a b", *"none true False abc paper points shac cartpole cpu cuda:x é = a=b".split()]  # noqa: SIM905
TABLES = """1,2 8,8 [1,2] [[1]] { {"a":1.5} {"a":null} {"a":NaN} {"a":Infinity} {"$a":1} "1" """.split()  # noqa: SIM905
TEXTS = NUMBERS + WORDS + TABLES


def names() -> list[str]:
    """Algorithms of the package."""
    return [entry.name for entry in list_algorithms() if entry.algorithm.startswith("diffrl_algos.")]


def command_line(draw: random.Random) -> list[str]:
    """Arguments of ``diffrl train``, most of them nearly right."""
    algorithm, task = draw.choice(names()), draw.choice(TASKS)
    config = list(field_types(get_algorithm(algorithm).config_class()))
    common = sorted(train_parser(None).options - {"-h", "--help", "--import", "--resume", "--live", "--json"})
    options = []
    for _ in range(draw.randrange(5)):
        kind = draw.random()
        if kind < 0.4:
            option = f"--{draw.choice(config).replace('_', '-')}"
        elif kind < 0.7:
            option = draw.choice(common)
        elif kind < 0.95:
            known = list(diffsim_core.task_options(task).known)
            options.append(["--task-option", f"{draw.choice([*known, 'nothing'])}={draw.choice(TEXTS)}"])
            continue
        else:
            option = draw.choice(["--gama", "-x", "--", "---", "extra"])
        value = draw.choice(TEXTS)
        options.append(draw.choice([[option, value], [f"{option}={value}"], [option]]))
    parts = [*options, [algorithm], [task]] if draw.random() < 0.9 else [*options, [algorithm]]
    if draw.random() < 0.3:
        draw.shuffle(parts)
    return [word for part in parts for word in part]


def try_line(arguments: list[str]) -> str:
    """``refused`` or ``described``; ``AssertionError`` for anything else."""
    try:
        entry, args = _parse(arguments)
        if entry is None or args.task is None:
            raise UsageError("needs ALGO and TASK")
        spec = spec_of(entry, args)
    except UsageError as error:
        assert str(error).strip() and "Traceback" not in str(error), arguments
        return "refused"
    except HelpShown:
        return "helped"
    assert_round_trip(spec)
    return "described"


def assert_round_trip(spec: RunSpec) -> None:
    """The description is strict JSON, and what is read from it equals it and makes the same task."""
    text = json.dumps(spec.to_json(), allow_nan=False)
    again = RunSpec.from_json(json.loads(text))
    assert again == spec, (spec, again)
    assert json.dumps(again.to_json(), allow_nan=False) == text
    declared = diffsim_core.task_options(spec.task)
    assert declared.convert(again.task_options) == declared.convert(spec.task_options), spec.task_options


def try_option(draw: random.Random) -> str:
    """One task option with a random value: the task is refused in one line, or made, twice with equal options."""
    task = draw.choice(TASKS)
    declared = diffsim_core.task_options(task)
    name = draw.choice(list(declared.known))
    text = draw.choice(TEXTS)
    try:
        options = {name: declared[name].read(text, declared.owner)}
        diffsim_core.make(task, num_envs=1, **options)
    except ValueError as error:
        assert "\n" not in str(error).strip(), error
        return "refused"
    cls = get_algorithm("shac").config_class()
    assert_round_trip(
        RunSpec(algorithm="shac", task=task, config=cls(), num_envs=1, budget=budget(), task_options=options)
    )
    return "made"


def budget():
    from diffrl_algos import Budget

    return Budget(iterations=1)


def run_line(arguments: list[str]) -> tuple[int, list[str]]:
    """Exit code and lines of the whole command, for arguments that it refuses."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["train", *arguments])
    return code, err.getvalue().strip().splitlines()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--options", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    asked = parse_arguments()
    source = random.Random(asked.seed)
    lines = Counter(try_line(command_line(source)) for _ in range(asked.lines))
    values = Counter(try_option(source) for _ in range(asked.options))
    print(json.dumps({"lines": lines, "options": values}))
    sys.exit(0)
