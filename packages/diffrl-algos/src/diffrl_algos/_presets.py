"""Settings known to work: one TOML file for each algorithm and task, or family of tasks; every value has its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from ._errors import UsageError, unknown
from ._fields import from_mapping
from ._registry import get_algorithm

_KEYS: dict[str, tuple[str, ...] | None] = {
    "env": ("num_envs",),
    "config": None,
    "task": None,
    "evaluation": ("episodes",),
}
"""Tables of a preset and the keys that each takes; None where the configuration or the task decides."""
_READINGS = "readings"
"""Folder of the settings that are for all tasks."""
_VARIANTS = "variants"
"""Table of tables: what a task named in it has in place of the values that the whole family shares."""


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
    """``(algorithm, task)`` of every preset, sorted; where one serves a family of tasks, ``task`` is the family.

    A task of a family is listed too where the preset has values for it alone.
    """
    pairs = [(algorithm, task) for algorithm, _, task in (stem.partition("-") for stem in _stems())]
    variants = [(algorithm, name) for algorithm, task in pairs for name in _read(algorithm, task)[_VARIANTS]]
    return sorted(pairs + variants)


def list_readings() -> list[tuple[str, str]]:
    """``(algorithm, reading)`` of every setting for all tasks, sorted: ``("agpo", "paper")`` is AGPO to the letter."""
    return sorted((algorithm, name) for algorithm, _, name in (stem.partition("-") for stem in _stems(_READINGS)))


def load_preset(algorithm: str, task: str, reading: str | None = None) -> Preset:
    """The preset of an algorithm for a task.

    The file ``ALGORITHM-TASK.toml`` comes first, then that of the task's family (``diffsim_core.task_family``): the one
    for ``pace_car`` serves ``pace_car_2``, the one for ``gym`` serves ``gym:Hopper-v5``. A ``reading`` is one file for
    all tasks, ``readings/ALGORITHM-READING.toml``: the algorithm as somebody else has it, such as its paper.

    Raises:
        UsageError: the algorithm does not exist, or has no such reading or no preset for the task; the nearest names
            are given.
    """
    entry = get_algorithm(algorithm)
    if reading is not None:
        known = [name for of, name in list_readings() if of == entry.name]
        if reading not in known:
            raise unknown(f"reading of {entry.name}:", reading, known)
        return _preset(entry.name, task, _read(entry.name, reading, _READINGS))
    name = _owner(entry.name, task)
    if name is None:
        raise unknown("preset", f"{algorithm}-{task}", (f"{a}-{t}" for a, t in list_presets()))
    return _preset(entry.name, task, _read(entry.name, name))


def default_preset(algorithm: str, task: str, reading: str | None = None) -> Preset:
    """What ``load_preset`` gives, or the algorithm's own defaults if it has no preset for the task.

    Raises:
        UsageError: the algorithm or the reading does not exist.
    """
    if reading is not None or _owner(algorithm, task) is not None:
        return load_preset(algorithm, task, reading)
    return Preset(algorithm=algorithm, task=task, config=get_algorithm(algorithm).config_class()())


def preset_size(algorithm: str, task: str) -> tuple[int, int]:
    """``(updates, worlds)`` of a preset, from its file alone, without importing the algorithm and its framework."""
    env, config, *_ = _for_task(_read(algorithm, _owner(algorithm, task) or task), task)
    return config["iterations"], env.get("num_envs", Preset.num_envs)


def parse_preset(algorithm: str, task: str, text: str) -> Preset:
    """A preset from TOML with the tables ``env``, ``config``, ``task`` and ``evaluation``.

    In the preset of a family, ``[variants.NAME.config]`` (or ``.env`` and so on) has the values of the task ``NAME``
    that differ from the others'; of ``brax:NAME`` too.

    Raises:
        UsageError: the text is not TOML, or it has an unknown table, key or field.
    """
    return _preset(algorithm, task, _tables(f"{algorithm}-{task}", text))


def _preset(algorithm: str, task: str, tables: dict[str, Any]) -> Preset:
    env, config, options, evaluation = _for_task(tables, task)
    return Preset(
        algorithm=algorithm,
        task=task,
        num_envs=env.get("num_envs", 64),
        config=from_mapping(get_algorithm(algorithm).config_class(), config),
        task_options=options,
        eval_episodes=evaluation.get("episodes", 128),
    )


def _for_task(tables: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """The tables in the order of ``_KEYS``, with the values of the task's variant.

    A variant ``hopper`` is that of ``brax:hopper?backend=spring`` too: another simulator, the same task.
    """
    variants = tables[_VARIANTS]
    own = variants.get(task, variants.get(task.partition("?")[0].rpartition(":")[2], {}))
    return [{**tables.get(name, {}), **own.get(name, {})} for name in _KEYS]


def _tables(preset: str, text: str) -> dict[str, Any]:
    """The checked tables of a preset's text, ``variants`` among them."""
    try:
        tables = {_VARIANTS: {}, **tomllib.loads(text)}
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"preset {preset} is not valid TOML: {error}") from None
    _check(preset, {name: table for name, table in tables.items() if name != _VARIANTS}, [*_KEYS, _VARIANTS])
    if not isinstance(tables[_VARIANTS], dict):
        raise UsageError(f"{_VARIANTS} of preset {preset} is {tables[_VARIANTS]!r}; it must be a table of tables")
    for name, variant in tables[_VARIANTS].items():
        _check(f"{preset}, variant {name}", variant, list(_KEYS))
    return tables


def _check(where: str, tables: Any, known: list[str]) -> None:
    """Raise ``UsageError`` unless ``tables`` are tables with known names and keys."""
    if not isinstance(tables, dict):
        raise UsageError(f"preset {where} is {tables!r}; it must have tables like [config]")
    for name, table in tables.items():
        if name not in known:
            raise unknown(f"table of preset {where}:", name, known)
        if not isinstance(table, dict):
            raise UsageError(f"{name} of preset {where} is {table!r}; it must be a table")
        keys = _KEYS[name]
        for key in table:
            if keys is not None and key not in keys:
                raise unknown(f"key of [{name}] in preset {where}:", key, keys)


def _owner(algorithm: str, task: str) -> str | None:
    """The task or family whose file has the preset, or None."""
    from diffsim_core import task_family

    stems = _stems()
    return next((name for name in (task, task_family(task)) if f"{algorithm}-{name}" in stems), None)


def _read(algorithm: str, name: str, folder: str = ".") -> dict[str, Any]:
    stem = f"{algorithm}-{name}"
    return _tables(stem, (_folder() / folder / f"{stem}.toml").read_text("utf-8"))


def _stems(folder: str = ".") -> set[str]:
    """Names of the preset files in ``folder``, a folder of the bundled presets."""
    path = _folder() / folder
    return {file.name.removesuffix(".toml") for file in path.iterdir() if file.name.endswith(".toml")}


def _folder() -> Any:
    return files("diffrl_algos") / "presets"
