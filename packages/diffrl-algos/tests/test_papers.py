"""Presets and defaults against the numbers that the papers print (``papers.py``), and against what their comments say.

Where ours differ on purpose, the value and the reason stand in ``DIFFERENCES``. So a test fails if a preset drifts, if
a difference is gone or not the one stated, or if a comment in a preset claims a number for a paper that has another.
"""

from __future__ import annotations

import math
import re
import tomllib
from typing import Any

import pytest

from diffrl_algos import AlgorithmEntry, Preset, get_algorithm, load_preset
from diffrl_algos._fields import to_mapping
from diffrl_algos._presets import _folder

from . import papers

DEFAULTS = "the defaults"
LOCOMOTION = papers.SAPO_TASKS
SHAC_SETTING = "SHAC's networks and rates, with which it gets further (docs, AGPO)"
TOLERANT = "the tolerant ratio (docs, AGPO)"

# (algorithm, tasks, field, our value, why it is not the paper's)
DIFFERENCES: list[tuple[str, tuple[str, ...], str, Any, str]] = [
    ("agpo", (DEFAULTS, *papers.AGPO_TASKS), "lam", 0.95, "TD(lambda) targets, with which it learns faster"),
    ("agpo", (DEFAULTS, *papers.AGPO_TASKS), "truncation", "every", "Eq. 4 leaves most steps without a gradient"),
    ("agpo", (DEFAULTS, *papers.AGPO_TASKS), "lr_schedule", "linear", "SHAC's schedule"),
    ("agpo", (DEFAULTS, *papers.AGPO_TASKS), "kl_coef", 0.0, "off: its reference is not named (docs, AGPO)"),
    ("agpo", papers.AGPO_TASKS, "ratio", "tolerant", TOLERANT),
    ("agpo", ("ant", "humanoid", "walker2d", "half_cheetah"), "entropy_floor", 0.1, TOLERANT),
    ("agpo", ("hopper",), "entropy_floor", 0.0, TOLERANT),
    ("agpo", ("ant", "hopper"), "actor_hidden", (128, 64, 32), SHAC_SETTING),
    ("agpo", ("ant", "hopper"), "critic_hidden", (64, 64), SHAC_SETTING),
    ("agpo", ("ant", "hopper"), "actor_lr", 2e-3, SHAC_SETTING),
    ("agpo", ("ant", "hopper"), "critic_lr", 2e-3, SHAC_SETTING),
    ("agpo", ("ant", "hopper"), "critic_minibatches", 4, SHAC_SETTING),
    ("agpo", ("ant", "hopper"), "state_dependent_std", False, SHAC_SETTING),
    ("sapo", (DEFAULTS, *LOCOMOTION), "critic_minibatches", 4, "the released code: 512 of 2048"),
    ("sapo", ("ant",), "critic_lr", 2e-3, "SHAC's rate, with which it gets further (docs, SAPO)"),
    ("ppo", (DEFAULTS, *LOCOMOTION), "actor_minibatches", 2, "the released configuration: 1024 of 2048"),
    ("ppo", (DEFAULTS, *LOCOMOTION), "critic_minibatches", 2, "the released configuration: 1024 of 2048"),
    ("ppo", (DEFAULTS, *LOCOMOTION), "state_dependent_std", False, "the deviation is a parameter, as SHAC's is"),
    ("sapo", papers.DEFORMABLE, "critic_minibatches", 4, "the released code: 256 of 1024"),
    ("shac", papers.DEFORMABLE, "critic_minibatches", 4, "the released code: 256 of 1024"),
    ("ppo", papers.DEFORMABLE, "state_dependent_std", False, "the deviation is a parameter, as SHAC's is"),
    ("lrrp", (DEFAULTS, *papers.FUNCTIONS), "variance_samples", 0, "variances over all worlds cost little here"),
    ("gippo", (DEFAULTS,), "actor_hidden", (64, 64), "a common default of GI-PPO and its baselines"),
    ("gippo", (DEFAULTS,), "critic_lr", 1e-3, "a common default of GI-PPO and its baselines"),
]
# Which task's numbers are an algorithm's defaults; of SHAC the general setting.
DEFAULTS_OF = {"shac": "", "sapo": "", "apg": "", "ppo": "", "sac": "", "trajopt": "", "agpo": "ant", "gippo": "ant"}


def settings(preset: Preset) -> dict[str, Any]:
    return {**vars(preset.config), "num_envs": preset.num_envs, "eval_episodes": preset.eval_episodes}


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float) and isinstance(ours, int | float):
        return math.isclose(ours, theirs, rel_tol=1e-9, abs_tol=1e-12)
    return type(ours) is type(theirs) and ours == theirs


def expected(algorithm: str, task: str) -> dict[str, Any]:
    """Our values that differ from the paper's."""
    found: dict[str, Any] = {}
    for name, tasks, field, value, reason in DIFFERENCES:
        if name == algorithm and task in tasks:
            assert reason and field not in found, f"{algorithm} {task} {field} is listed twice"
            found[field] = value
    return found


def compare(algorithm: str, task: str, ours: dict[str, Any], printed: dict[str, Any]) -> None:
    differing = {name: ours[name] for name, theirs in printed.items() if not same(ours[name], theirs)}
    assert differing == expected(algorithm, task)


def printed_for(algorithm: str, task: str) -> dict[str, Any]:
    """What the paper prints for one task; of SHAC without the general setting, which is not its best for the task."""
    tables = papers.sources(algorithm, task)
    return {
        name: value
        for source, values in tables.items()
        if (algorithm, source) != ("shac", "Table 5")
        for name, value in values.items()
    }


PRINTED = [
    (algorithm, task)
    for algorithm, tables in {**papers.ALGORITHMS, "ppo": papers.PPO}.items()
    for task in sorted({task for table in tables.values() for task in table if task})
]
PRINTED += [("ppo", task) for task in papers.PPO_BASELINE["7.4.2"] if task not in papers.PHYSICS or task == "cartpole"]
PRINTED += [(algorithm, task) for algorithm in papers.REWARPED for task in papers.DEFORMABLE]


@pytest.mark.parametrize(("algorithm", "task"), PRINTED, ids=lambda value: str(value))
def test_presets_are_the_papers_tables(algorithm, task):
    compare(algorithm, task, settings(load_preset(algorithm, task)), printed_for(algorithm, task))


@pytest.mark.parametrize("task", papers.AGPO_TASKS)
def test_reading_paper_is_agpo_to_the_letter(task):
    """No difference at all; every other task has the setting for Ant."""
    preset = load_preset("agpo", task, reading="paper")
    ours = settings(preset)
    assert [name for name, theirs in printed_for("agpo", task).items() if not same(ours[name], theirs)] == []
    assert preset.config.kl_reference == "previous"  # from the policy that acted the penalty has no gradient
    assert load_preset("agpo", "newton_ant", "paper").config == load_preset("agpo", "ant", "paper").config


@pytest.mark.parametrize(("algorithm", "task"), DEFAULTS_OF.items(), ids=lambda value: str(value))
def test_defaults_are_the_papers_tables(algorithm, task):
    """Of networks and worlds the tables have no general numbers, except where the defaults are those for a task."""
    entry: AlgorithmEntry = get_algorithm(algorithm)
    ours = vars(entry.config_class()())
    printed = {name: value for values in papers.sources(algorithm, task).values() for name, value in values.items()}
    compare(algorithm, DEFAULTS, ours, {name: value for name, value in printed.items() if name in ours})


def test_differences_are_of_what_is_printed():
    """None is listed for a task or field that no paper has a number for."""
    for algorithm, tasks, field, *_ in DIFFERENCES:
        for task in tasks:
            names = printed_for(algorithm, DEFAULTS_OF.get(algorithm, "") if task == DEFAULTS else task)
            assert field in names and (task == DEFAULTS or (algorithm, task) in PRINTED), (algorithm, task, field)


# ------------------------------------------------------------------------------------------- comments of the presets
CITED = re.compile(
    r"^(?:[hNM], )?(?P<source>Table \d|7\.4\.2|Appendix [BE]|A\.2\.3|section [\d.]+|B\.1|Algorithm 1|Son et al\. 2023)"
)
HAS = re.compile(r"\b(?P<source>Table \d)(?: for (?P<task>Ant))? has (?P<value>\[[^\]]*\]|[-+.\de]+)")
LINE = re.compile(r"^(?P<name>\w+) = (?P<value>.*?)\s+# (?P<comment>.*)$")
OTHER_PAPERS = {
    "ppo-gym",
    "sac-gym",
    "td3-gym",
    "td3-ant",
    "td3-hopper",
    "td3-cartpole",
    "ahac-cartpole",
    "pods-cartpole",
}
"""Presets after papers that ``papers.py`` does not have."""


def claims() -> list[tuple[str, str, str, str, Any]]:
    """``(algorithm, task, source, field, number)`` of every comment in a preset that names a paper's number."""
    found = []
    for path in sorted(_folder().rglob("*.toml")):
        if path.stem in OTHER_PAPERS:
            continue
        algorithm, _, task = path.stem.partition("-")
        for line in path.read_text("utf-8").splitlines():
            table = re.match(r"^\[variants\.(\w+)\.", line)
            task = table[1] if table else task
            parts = LINE.match(line)
            if parts is None:
                continue
            name = "eval_episodes" if parts["name"] == "episodes" else parts["name"]
            if cited := CITED.match(parts["comment"]):
                value = tomllib.loads(f"value = {parts['value']}")["value"]
                found.append((algorithm, task, cited["source"], name, value))
            for other in HAS.finditer(parts["comment"]):
                value = tomllib.loads(f"value = {other['value']}")["value"]
                found.append((algorithm, "ant" if other["task"] else task, other["source"], name, value))
    return found


def test_comments_of_presets_name_what_the_papers_print():
    """A value with a table after it is the table's; one that says what the table has instead says it rightly."""
    wrong, seen = [], claims()
    for algorithm, task, source, name, value in seen:
        other = {"newton_ant": "ant", "newton_cartpole": "cartpole", "pace_car": "pace_car_1"}
        other |= {"paper": "ant", "brax": "ant", "halfcheetah": "half_cheetah"}
        task = other.get(task, task)
        tables = papers.sources(algorithm, task)
        theirs = tables.get("7.4.2" if source.startswith("Son") else source, {}).get(name)
        value = tuple(value) if isinstance(value, list) else value
        if not same(value, theirs) and not same(theirs, value):
            wrong.append(f"{algorithm}-{task}: {name} = {value}, but {source} has {theirs}")
    assert wrong == [] and len(seen) > 500


def test_a_number_of_the_paper_is_never_called_ours():
    """And the other way round: what the comments call ours, and a paper has for this task, differs from it."""
    for algorithm, task in PRINTED:
        path = _folder() / f"{algorithm}-{task}.toml"
        lines = map(LINE.match, path.read_text("utf-8").splitlines()) if path.is_file() else []
        ours = {parts["name"]: parts["comment"] for parts in lines if parts and parts["comment"].startswith("ours")}
        values = to_mapping(load_preset(algorithm, task).config)
        for name, theirs in printed_for(algorithm, task).items():
            theirs = list(theirs) if isinstance(theirs, tuple) else theirs
            assert name not in ours or not same(values.get(name), theirs), f"{algorithm}-{task}: {name} is the paper's"
