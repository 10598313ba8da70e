"""Every algorithm on every task: two updates, or a refusal that names the reason before the first step.

In torch these are all tasks, in JAX one of each kind. The page ``docs/algorithms/matrix.md`` says what runs.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

import diffsim_core
from diffrl_algos import list_algorithms

from .matrix import FAMILIES, REASONS, reason, refusal, running, small, table, worlds, written

pytest.importorskip("flax")

from diffrl_algos.jax._learner import Learner

PAGE = Path(__file__).parents[3] / "docs/algorithms/matrix.md"
NEEDED = {"newton_": "newton", "gym:": "gymnasium", "brax:": "brax"}
"""Packages of tasks whose names begin so."""
BRAX = "brax:inverted_pendulum?backend=spring"
JAX_FAST = "apg"
"""The algorithm that is compiled for every kind of worlds; the others in JAX for functions, and elsewhere when slow."""


def marks(algorithm, framework, task):
    """What a pair needs, and whether it is slow."""
    found = [
        pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"could not import {package!r}")
        for start, package in NEEDED.items()
        if task.startswith(start)
    ]
    if task == BRAX or (framework == "jax" and algorithm != JAX_FAST and task != "dejong"):
        found.append(pytest.mark.slow)
    return found


def pair(algorithm, framework, task):
    name = f"{algorithm}-{task}" if framework == "torch" else f"{algorithm}-{task}-{framework}"
    return pytest.param(algorithm, framework, task, id=name, marks=marks(algorithm, framework, task))


ALGORITHMS = [entry.name for entry in list_algorithms()]
GUESTS = [family.task for family in FAMILIES if ":" in family.task]
ON_PAGE = running(PAGE.read_text(encoding="utf-8"))
PAIRS = [pair(name, "torch", task) for task in [*diffsim_core.list_tasks(), *GUESTS, BRAX] for name in ALGORITHMS]
PAIRS += [
    pair(name, "jax", task)
    for family in FAMILIES
    for name, runs in ON_PAGE.items()
    if "jax" in runs[family.title]
    for task in ([family.task, BRAX] if family.title == "Brax" else [family.task])
]


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """Compile fast: everything here runs twice."""
    monkeypatch.setattr(Learner, "compiler_options", {"xla_backend_optimization_level": 0})


@pytest.mark.parametrize(("algorithm", "framework", "task"), PAIRS)
def test_two_updates(algorithm, framework, task):
    learner, env = small(algorithm, framework), worlds(task, framework)
    try:
        state = learner.init(env, 0)
    except ValueError as error:
        # Only for what the environment says of itself.
        assert not env.spec.differentiable or env.spec.obs_shapes, error
        assert task in str(error) and reason(str(error)) in ("needs gradients", "no encoder"), error
        return
    for _ in range(2):
        state, metrics = learner.update(state)
        bad = {k: v for k, v in metrics.items() if isinstance(v, float) and not math.isfinite(v)}
        assert not bad and metrics["refused_updates"] == 0
    assert state.iteration == 2 and state.env_steps >= 2 * env.num_envs
    action = learner.policy(state)(env.reset(1)[1])
    assert tuple(action.shape) == (env.num_envs, env.spec.num_actions)
    assert abs(action).max() <= 1


def test_the_page_says_what_runs_and_why_the_rest_does_not():
    for package in NEEDED.values():
        pytest.importorskip(package)
    found = table()
    assert written(found) in PAGE.read_text(encoding="utf-8"), "run docs/figures/draw/matrix.py"
    assert {why for families in found.values() for cell in families.values() for why in cell.values()} == {
        "",
        *REASONS.values(),
    }
    for name, families in found.items():
        for title, cell in families.items():
            assert ON_PAGE[name][title] == [framework for framework, why in cell.items() if not why]


def test_no_error_hides_behind_another():
    """Frameworks and worlds are looked at before anything is made, so what the page gives is the first reason."""
    assert "gippo is written for torch alone; in jax there are agpo, aobg, apg" in refusal("gippo", "jax", "dejong")
    assert refusal("shac", "torch", "dejong") == ""
