"""Numbers of papers as data."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from diffrl_bench._record import FIELDS
from diffrl_bench._references import all_references, parse_references, references_of
from diffrl_bench._suite import list_suites, load_suite

PAGE = Path(__file__).parents[3] / "docs/benchmarks/records.md"
PAPER = '[paper]\nname = "A"\ntitle = "T"\nauthors = "X"\nvenue = "V"\n'
TABLE = (
    '[[table]]\nplace = "Table 1"\nabout = ""\nmetric = "return_mean"\nunit = ""\nstatistic = ""\nread = "printed"\n'
)


def test_every_number_says_where_it_is_from() -> None:
    found = all_references()
    assert {one.paper for one in found} == {"AGPO", "GI-PPO", "SHAC", "SAPO"}
    assert all(math.isfinite(one.value) and one.place and one.about and one.read and one.source for one in found)
    of_tables = [one for one in found if one.metric]
    keys = [(one.paper, one.place, one.metric, one.task, one.learner) for one in of_tables]
    assert len(set(keys)) == len(keys), "no number is there twice"
    assert all(one.task and one.learner and one.statistic for one in of_tables)
    assert {one.metric for one in of_tables} - set(FIELDS) == {"forward_s", "backward_s", "critic_s"}


@pytest.mark.parametrize(
    ("name", "task", "learner", "value", "spread"),
    [
        ("GI-PPO Table 1", "ackley_64", "lrrp", -0.0326, None),
        ("GI-PPO Table 2", "pace_car_10", "lrrp", 2103, None),
        ("SHAC Table 12", "humanoid_mtu", "shac", 0.82, None),
        ("SAPO Table 1", "soft_jumper", "sac", -161.8, 2.5),
        ("SAPO Table 5", "humanoid", "sapo", 8469, 58),
    ],
)
def test_numbers_are_the_papers(name: str, task: str, learner: str, value: float, spread: float | None) -> None:
    one = next(one for one in references_of([name], "here") if (one.task, one.learner) == (task, learner))
    assert (one.value, one.spread) == (value, spread)


def test_a_suite_with_references_trains_what_they_are_of() -> None:
    """At least some, with the same names: a number that no run can ever stand beside has the wrong name."""
    for suite in map(load_suite, list_suites()):
        tasks = {run.task.removesuffix("_small") for run in suite.runs}
        assert (
            not suite.references
            or {one.task for one in suite.references if one.task} & tasks
            or not any(one.task for one in suite.references)
        )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (PAPER + TABLE, "lacks|must have the keys"),
        (PAPER + TABLE + "extra = 1\n[table.values]\nant = {shac = 1}\n", "must have the keys"),
        (PAPER + TABLE + '[table.values]\nant = {shac = "1"}\n', "'1' is not a number"),
        (PAPER + TABLE + "[table.values]\nant = 3\n", "cannot be read"),
        (TABLE, "cannot be read"),
        ("=", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_references(text, "mine.toml")


def test_the_page_names_every_field() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [key for key in FIELDS if f"`{key}`" not in page] == []
