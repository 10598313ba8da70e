"""Settings known to work: one TOML file for each algorithm and task, every value with its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from ._errors import UsageError, unknown
from ._fields import from_mapping
from ._registry import get_algorithm

_SECTIONS = ("env", "config", "task", "evaluation")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How to train one algorithm on one task."""

    algorithm: str
    task: str
    num_envs: int = 64
    """Worlds in parallel (N)."""
    config: Any
    """The algorithm's configuration."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the task that differ from its defaults."""
    eval_episodes: int = 128
    """Episodes of the evaluation that ends a run."""


def list_presets() -> list[tuple[str, str]]:
    """``(algorithm, task)`` of every preset, sorted."""
    stems = (path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml"))
    return sorted((algorithm, task) for algorithm, _, task in (stem.partition("-") for stem in stems))


def load_preset(algorithm: str, task: str) -> Preset:
    """The preset of an algorithm for a task; for one like ``gym:Hopper-v5`` that has none, that of its family ``gym``.

    Raises:
        UsageError: there is none; the nearest are named.
    """
    entry = get_algorithm(algorithm)
    name = _preset_name(algorithm, task)
    if name is None:
        raise unknown("preset", f"{algorithm}-{task}", (f"{a}-{t}" for a, t in list_presets()))
    return parse_preset(entry.name, task, (_folder() / f"{name}.toml").read_text("utf-8"))


def default_preset(algorithm: str, task: str) -> Preset:
    """The preset if there is one, else the algorithm's own defaults.

    Raises:
        UsageError: there is no such algorithm.
    """
    if _preset_name(algorithm, task) is not None:
        return load_preset(algorithm, task)
    return Preset(algorithm=algorithm, task=task, config=get_algorithm(algorithm).config_class()())


def parse_preset(algorithm: str, task: str, text: str) -> Preset:
    """A preset from TOML with the tables ``env``, ``config``, ``task`` and ``evaluation``.

    Raises:
        UsageError: the text is no TOML, or has an unknown table or field.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"preset {algorithm}-{task} is not valid TOML: {error}") from None
    for name in tables:
        if name not in _SECTIONS:
            raise unknown(f"table of preset {algorithm}-{task}", name, _SECTIONS)
    return Preset(
        algorithm=algorithm,
        task=task,
        num_envs=tables.get("env", {}).get("num_envs", 64),
        config=from_mapping(get_algorithm(algorithm).config_class(), tables.get("config", {})),
        task_options=tables.get("task", {}),
        eval_episodes=tables.get("evaluation", {}).get("episodes", 128),
    )


def _preset_name(algorithm: str, task: str) -> str | None:
    known = list_presets()
    family = task.partition(":")[0]
    return next((f"{algorithm}-{name}" for name in (task, family) if (algorithm, name) in known), None)


def _folder() -> Any:
    return files("diffrl_algos") / "presets"
