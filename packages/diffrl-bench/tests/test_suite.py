"""Suites: what comes with the package, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffrl_bench import PlannedRun, list_suites, load_suite
from diffrl_bench._suite import parse_suite

GOOD = """
name = "mine"
[[train]]
algorithm = "shac"
task = "ant"
seeds = [3, 1]
options = ["--gamma", "0.9"]
"""


def test_first_suite_is_what_the_first_run_shows() -> None:
    suite = load_suite("shac-first-run")
    assert "shac-first-run" in list_suites()
    assert [run.name for run in suite.runs] == [
        *(f"shac-cartpole-s{seed}" for seed in range(5)),
        *(f"shac-ant-s{seed}" for seed in range(3)),
    ]
    assert suite.jobs == 1


@pytest.mark.parametrize("name", list_suites())
def test_every_bundled_suite_trains_and_measures_what_is_known(name: str) -> None:
    from diffrl_algos import default_preset
    from diffrl_bench._measuring import require_commands
    from diffrl_bench._suite import smoke_of
    from diffrl_bench.cli import parse
    from diffsim_core import is_task

    for suite in (load_suite(name), smoke_of(load_suite(name))):
        require_commands(suite, parse)
    for run in load_suite(name).runs:
        assert default_preset(run.algorithm, run.task).config.iterations > 0
        assert is_task(run.task)


def test_parse() -> None:
    suite = parse_suite(GOOD, "here")
    assert suite.runs == (
        PlannedRun(algorithm="shac", task="ant", seed=3, options=("--gamma", "0.9")),
        PlannedRun(algorithm="shac", task="ant", seed=1, options=("--gamma", "0.9")),
    )
    assert suite.runs[0].name == "shac-ant-s3"
    assert suite.runs[0].arguments == ["shac", "ant", "--seed", "3", "--gamma", "0.9"]


def test_suite_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert load_suite(str(file)) == parse_suite(GOOD, "here")
    with pytest.raises(ValueError, match=r"nothere\.toml cannot be read"):
        load_suite(str(tmp_path / "nothere.toml"))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot be read"):
        load_suite(str(file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name", "nane"), "unknown key of suite here: 'nane'; did you mean name"),
        (('name = "mine"', ""), "suite here has no 'name'"),
        (('"mine"', '"../mine"'), "name is '../mine'"),
        (("seeds = [3, 1]", "seeds = []"), "seeds is \\[\\]"),
        (("[3, 1]", "[3, -1]"), "seeds is"),
        (("[3, 1]", "[3, 3]"), "train 0: seeds has 3 more than once"),
        (("[3, 1]", "3"), "seeds is 3; expected list"),
        (('["--gamma", "0.9"]', '["--gamma", 0.9]'), "options is"),
        (("task", "tusk"), "did you mean task"),
        (('task = "ant"', ""), "train 0 has no 'task'"),
        (('task = "ant"', "task = 1"), "task is 1; expected a name"),
        (("[[train]]", "jobs = 0\n[[train]]"), "at least 1"),
        (("[[train]]", "jobs = true\n[[train]]"), "jobs is True; expected int"),
        (
            ("[[train]]", 'metrics = ["return_at_0"]\n[[train]]'),
            "suite here: unknown metric 'return_at_0'; known: return_mean",
        ),
        (("[[train]]", "[train]"), "train is .*; expected list"),
        (("[[train]]", "[[train]"), "not valid TOML"),
    ],
)
def test_errors_say_what_is_wrong(change: tuple[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_suite(GOOD.replace(*change), "here")


def test_no_runs_and_unknown_name() -> None:
    with pytest.raises(ValueError, match="has no runs"):
        parse_suite('name = "mine"\ntrain = []', "here")
    with pytest.raises(ValueError, match="did you mean shac-first-run"):
        load_suite("shac-first-rum")


VARIANTS = """
name = "mine"
options = ["--horizon", "8"]
[[train]]
algorithm = "shac"
task = "ant"
seeds = [0]
[[train]]
algorithm = "shac"
task = "ant"
variant = "long"
seeds = [0]
options = ["--gamma", "0.999"]
"""


def test_variants_share_a_suite_and_its_options() -> None:
    short, long = parse_suite(VARIANTS, "here").runs
    assert (short.name, long.name) == ("shac-ant-s0", "shac-ant-long-s0")
    assert short.options == ("--horizon", "8") and long.options == ("--horizon", "8", "--gamma", "0.999")
    with pytest.raises(ValueError, match=r'shac-ant-s0 more than once; .* apart with a variant: variant = "NAME"'):
        parse_suite(VARIANTS.replace('variant = "long"', ""), "here")
    with pytest.raises(ValueError, match="variant is 'a/b'; expected letters"):
        parse_suite(VARIANTS.replace("long", "a/b"), "here")
    with pytest.raises(ValueError, match=r"suite here: options is \[8\]; expected a list of texts"):
        parse_suite(VARIANTS.replace('"--horizon", "8"', "8"), "here")


def test_variants_are_rows_of_their_own() -> None:
    from diffrl_bench._results import summarise, table_text
    from diffrl_bench._rows import planned_row as _row

    rows = [_row(run, "unfinished") for run in parse_suite(VARIANTS, "here").runs]
    assert [row.get("variant") for row in summarise(rows)] == ["", "long"]
    assert "| shac (long) ant" in table_text(rows, markdown=True)


def test_problems_of_a_task_are_told_apart() -> None:
    from diffrl_bench._results import summarise, table_text
    from diffrl_bench._rows import planned_row as _row

    text = VARIANTS.replace('variant = "long"', 'problem = "stiff"\nvariant = "long"')
    runs = parse_suite(text, "here").runs
    assert [run.name for run in runs] == ["shac-ant-s0", "shac-ant-stiff-long-s0"]
    rows = [_row(run, "unfinished") for run in runs]
    assert [row.get("problem") for row in summarise(rows)] == [None, "stiff"]
    assert "| shac (long) ant, stiff" in table_text(rows, markdown=True)
    with pytest.raises(ValueError, match="problem is 'a/b'; expected letters"):
        parse_suite(text.replace("stiff", "a/b"), "here")


def test_lists_of_algorithms_and_tasks_are_their_product() -> None:
    text = GOOD.replace('"shac"', '["shac", "ppo"]').replace('"ant"', '["ant", "hopper"]')
    names = [run.name for run in parse_suite(text, "here").runs]
    assert names == [f"{a}-{t}-s{s}" for a in ("shac", "ppo") for t in ("ant", "hopper") for s in (3, 1)]
    with pytest.raises(ValueError, match=r"train 0: algorithm is \[\]; expected a name, or a list of names"):
        parse_suite(GOOD.replace('"shac"', "[]"), "here")


def test_a_smoke_has_no_other_budget() -> None:
    from diffrl_bench._suite import smoke_of

    (run,) = smoke_of(parse_suite(GOOD.replace('"0.9"', '"0.9", "--env-steps", "4096", "--seconds=3"'), "here")).runs
    assert run.options == ("--gamma", "0.9", "--iterations", "2", "--num-envs", "4", "--eval-episodes", "4")


def test_a_resumed_run_is_given_its_imports_again() -> None:
    from diffrl_bench._rows import imports_of

    options = ("--gamma", "0.9", "--import", "a.py", "--import=b.py")
    run = PlannedRun(algorithm="mine", task="ant", seed=0, options=options)
    assert imports_of(run) == ["--import=a.py", "--import=b.py"]
