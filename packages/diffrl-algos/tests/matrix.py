"""Every algorithm in every kind of worlds, in torch and in JAX: small ones, and why one cannot learn in them.

The tests run what is here. ``docs/figures/draw/matrix.py`` writes it into the page ``docs/algorithms/matrix.md``.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import diffsim_core
from diffrl_algos import get_algorithm, list_algorithms
from diffsim_core import task_options

FRAMEWORKS = ("torch", "jax")
NAMES = {"torch": "torch", "jax": "JAX"}


class Family(NamedTuple):
    """A kind of worlds."""

    title: str
    """On the page."""
    task: str
    """A small one of them."""
    shown: str
    """A name of the kind, for the page."""


FAMILIES = (
    Family("rigid bodies", "cartpole", "cartpole"),
    Family("deformables", "rolling_pin_small", "rolling_pin_small"),
    Family("point clouds", "rolling_pin", "rolling_pin"),
    Family("traffic", "pace_car_1", "pace_car_1"),
    Family("functions", "dejong", "dejong"),
    Family("Newton", "newton_cartpole", "newton_cartpole"),
    Family("Gymnasium", "gym:Pendulum-v1", "gym:NAME"),
    Family("Brax", "brax:point", "brax:NAME"),
)
SMALL: Mapping[str, Any] = {
    "iterations": 2,
    "horizon": 4,
    "horizon_min": 2,
    "actor_hidden": (8,),
    "critic_hidden": (8,),
    "critic_iterations": 2,
    "actor_iterations": 2,
    "updates": 2,
    "batch_size": 16,
    "warmup_steps": 4,
}
"""Set where a configuration has the field."""
OPTIONS: Mapping[str, Any] = {"episode_length": 6, "max_episode_steps": 6, "threads": 1}
"""Set where a task has the option: episodes as short as it allows."""
REASONS = {
    "is not differentiable": "needs gradients",
    "has no encoder": "no encoder",
    "is written for torch alone": "torch alone",
    "cannot be traced": "not traced",
}
"""Words of each error that stops an algorithm before its first step, and what the page says for it."""


def small(name: str, framework: str) -> Any:
    """A small algorithm."""
    entry = get_algorithm(name, framework)
    config = entry.config_class()()
    names = {field.name for field in dataclasses.fields(config)}
    return entry.build(dataclasses.replace(config, **{key: value for key, value in SMALL.items() if key in names}))


@functools.cache
def worlds(task: str, framework: str) -> Any:
    """Two worlds of a task, made once for all algorithms."""
    if task == "brax:point":
        _register_point()
    known = task_options(task).known
    options = {name: value for name, value in OPTIONS.items() if name in known}
    if task.startswith("newton_"):
        options["substeps"] = 2
    return diffsim_core.make(task, num_envs=2, arrays=framework, **options)


def refusal(name: str, framework: str, task: str) -> str:
    """The error that stops an algorithm before the first step; empty if there is none."""
    try:
        algorithm, env = small(name, framework), worlds(task, framework)
        # JAX looks at the description alone; there a first state is compiled.
        algorithm.check(env) if framework == "jax" else algorithm.init(env, 0)
    except ValueError as error:
        return str(error)
    return ""


def reason(error: str) -> str:
    """What the page says for an error."""
    (found,) = [short for words, short in REASONS.items() if words in error]
    return found


def table() -> dict[str, dict[str, dict[str, str]]]:
    """For each algorithm, family and framework the reason why it cannot run; empty where it runs."""
    return {
        entry.name: {
            family.title: {
                framework: reason(error) if (error := refusal(entry.name, framework, family.task)) else ""
                for framework in FRAMEWORKS
            }
            for family in FAMILIES
        }
        for entry in list_algorithms()
        if entry.algorithm.startswith("diffrl_algos.")
    }


def written(cells: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """``table`` in Markdown: the frameworks in which an algorithm runs, or torch's reason why it runs in none."""
    head = ["algorithm", *(family.title for family in FAMILIES)]
    rows = [head, ["---"] * len(head)]
    rows.append(["", *(f"`{family.shown}`" for family in FAMILIES)])
    for name, families in cells.items():
        rows.append([f"`{name}`", *(_cell(found) for found in families.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def running(page: str) -> dict[str, dict[str, list[str]]]:
    """Of each algorithm on the page, the frameworks in which it runs in each family."""
    rows = [line.strip("|\n").split(" | ") for line in re.findall(r"^\| `\w+` \|.*$", page, re.MULTILINE)]
    return {
        name.strip(" `"): {
            family.title: [framework for framework in FRAMEWORKS if NAMES[framework] in re.split(r"[ ,]+", cell)]
            for family, cell in zip(FAMILIES, cells, strict=True)
        }
        for name, *cells in rows
    }


def _cell(found: Mapping[str, str]) -> str:
    runs = [NAMES[framework] for framework, why in found.items() if not why]
    return ", ".join(runs) or found["torch"]


def _register_point() -> None:
    """A point that is pushed, among Brax's environments: none of theirs is compiled in no time."""
    import jax
    import jax.numpy as jnp
    from brax.envs import Env, State, register_environment

    class Point(Env):
        dt, action_size, observation_size, backend = 0.1, 1, 2, "point"

        def reset(self, rng: jax.Array) -> State:
            return self._state(jax.random.uniform(rng, (2,), minval=-1.0))

        def step(self, state: State, action: jax.Array) -> State:
            x, v = state.pipeline_state
            v = v + self.dt * action[0]
            return self._state(jnp.stack([x + self.dt * v, v]))

        def _state(self, point: jax.Array) -> State:
            return State(point, point, 1.0 - point @ point, jnp.zeros(()))

    register_environment("point", Point)
