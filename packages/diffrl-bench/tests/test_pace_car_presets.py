"""Presets of the pace car: one for every number of lanes, and the tasks and constants that they name exist."""

from __future__ import annotations

import dataclasses

import pytest

from diffrl_algos import list_presets, load_preset
from diffrl_algos.cli import _list
from diffsim_traffic.tasks import PACE_CAR_PRESETS
from diffsim_traffic.tasks.pace_car import DRIVERS_PER_LANE

ALGORITHMS = ("gippo", "lr", "lrrp", "ppo", "rp", "shac")
TASKS = [f"pace_car_{lanes}" for lanes in DRIVERS_PER_LANE]


def test_one_serves_every_road():
    assert [pair for pair in list_presets() if pair[1].startswith("pace_car")] == [(a, "pace_car") for a in ALGORITHMS]
    rows = {row["name"]: row["tasks"] for row in _list.run(["presets"]).value}
    assert all(set(rows[f"{algorithm}-pace_car"]) == set(TASKS) for algorithm in ALGORITHMS)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_is_the_same_on_every_road(algorithm):
    """With the paper's drivers; ``test_papers.py`` of diffrl-algos compares the rest with the paper."""
    presets = [load_preset(algorithm, task) for task in TASKS]
    assert all(dataclasses.replace(preset, task=TASKS[0]) == presets[0] for preset in presets)
    assert presets[0].task_options == {"preset": "paper"} and "paper" in PACE_CAR_PRESETS


def test_shac_has_the_setting_of_rp():
    shac, rp = (load_preset(algorithm, "pace_car_2") for algorithm in ("shac", "rp"))
    for name in ("iterations", "horizon", "gamma", "lam", "actor_hidden", "critic_hidden", "actor_lr", "critic_lr"):
        assert getattr(shac.config, name) == getattr(rp.config, name), name
    assert shac.num_envs == rp.num_envs
