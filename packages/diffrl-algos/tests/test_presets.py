"""Presets: the file of a task, of its family, or the algorithm's defaults; errors that help when a file is wrong."""

from __future__ import annotations

import dataclasses

import pytest

import diffsim_core
from diffrl_algos import SHACConfig, UsageError, get_algorithm, list_presets, list_readings, load_preset
from diffrl_algos._presets import default_preset, parse_preset

FAMILY = """
[env]
num_envs = 8
[config]
gamma = 0.9
lam = 0.8
[task]
spread = 1
preset = "paper"
[variants.reach_7]
env.num_envs = 16
config.gamma = 0.5
task.spread = 2
evaluation.episodes = 4
[variants.odd.config]
gamma = 0.25
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of presets with the family ``reach`` and one file for a task of it."""
    (tmp_path / "shac-reach.toml").write_text(FAMILY, "utf-8")
    (tmp_path / "shac-reach_2.toml").write_text("[config]\nhorizon = 3\n", "utf-8")
    monkeypatch.setattr("diffrl_algos._presets._folder", lambda: tmp_path)
    return tmp_path


def test_a_task_has_its_own_file_or_its_familys_or_the_defaults(folder):
    common = SHACConfig(gamma=0.9, lam=0.8)
    for task in ("reach", "reach_1", "reach_64", "reach:anything-v3"):
        preset = load_preset("shac", task)
        assert (preset.task, preset.config, preset.num_envs) == (task, common, 8)
        assert preset.task_options == {"spread": 1, "preset": "paper"} and preset == default_preset("shac", task)
    assert load_preset("shac", "reach_2").config == SHACConfig(horizon=3)  # nothing from the family's file
    for algorithm, task in [("rp", "reach_1"), ("shac", "reach_far"), ("shac", "reach_2x"), ("shac", "_7")]:
        with pytest.raises(UsageError, match=f"unknown preset '{algorithm}-{task}'"):
            load_preset(algorithm, task)
        assert default_preset(algorithm, task).config == get_algorithm(algorithm).config_class()()


def test_a_variant_replaces_single_values_of_its_family(folder):
    preset = load_preset("shac", "reach_7")
    assert preset.config == SHACConfig(gamma=0.5, lam=0.8)
    assert (preset.num_envs, preset.eval_episodes) == (16, 4)
    assert preset.task_options == {"spread": 2, "preset": "paper"}


def test_a_task_may_name_its_family_itself(folder, monkeypatch):
    monkeypatch.setattr("diffsim_core._registry._REGISTERED", {})
    monkeypatch.setattr("diffsim_core._registry._DECLARED_FAMILIES", {})
    for name, family in [("odd", "reach"), ("arm", "reach"), ("reach_9", "reach_9")]:
        diffsim_core.register_task(name, "nowhere:make_task", family=family)
    assert load_preset("shac", "arm").config == SHACConfig(gamma=0.9, lam=0.8)
    assert load_preset("shac", "odd").config == SHACConfig(gamma=0.25, lam=0.8)
    assert default_preset("shac", "reach_9").config == SHACConfig()


def test_a_reading_is_for_all_tasks(folder):
    (folder / "readings").mkdir()
    text = "[config]\ngamma = 0.8\nhorizon = 7\n[variants.ant.config]\nhorizon = 9\n"
    (folder / "readings" / "shac-mine.toml").write_text(text, "utf-8")
    assert list_readings() == [("shac", "mine")] and ("shac", "mine") not in list_presets()
    for task, horizon in [("reach_7", 7), ("reach", 7), ("my_robot", 7), ("ant", 9), ("brax:ant?backend=mjx", 9)]:
        preset = load_preset("shac", task, reading="mine")  # nothing of the task's own preset
        assert (preset.config, preset.num_envs) == (SHACConfig(gamma=0.8, horizon=horizon), 64)
        assert preset == default_preset("shac", task, "mine")
    for call in (load_preset, default_preset):
        with pytest.raises(UsageError, match="unknown reading of shac: 'min'; did you mean mine"):
            call("shac", "reach", "min")
        with pytest.raises(UsageError, match="unknown reading of rp: 'mine'; known: none"):
            call("rp", "reach", "mine")


def test_families_and_variants_are_listed(folder):
    assert list_presets() == [("shac", "odd"), ("shac", "reach"), ("shac", "reach_2"), ("shac", "reach_7")]


def test_every_preset_loads():
    for algorithm, task in list_presets():
        preset = load_preset(algorithm, task)
        assert isinstance(preset.config, get_algorithm(algorithm).config_class())
        assert (preset.algorithm, preset.task) == (algorithm, task)


def test_every_included_robot_has_a_shac_preset():
    """All the tasks of Xu et al. 2022 and Walker2d, which has Hopper's setting."""
    robots = {"cartpole", "hopper", "half_cheetah", "walker2d", "ant", "humanoid", "humanoid_mtu"}
    assert robots <= {task for algorithm, task in list_presets() if algorithm == "shac"}
    assert load_preset("shac", "walker2d").config == load_preset("shac", "hopper").config


def test_functions_of_64_variables_differ_in_the_actors_rate_at_most():
    """Appendix 7.4.2 of Son et al. 2023; see ``test_papers.py`` for the numbers."""
    for algorithm in ("gippo", "lr", "rp", "lrrp", "ppo"):
        for function in ("ackley", "dejong"):
            one, many = (load_preset(algorithm, task) for task in (function, f"{function}_64"))
            assert many.config == dataclasses.replace(one.config, actor_lr=many.config.actor_lr)
            assert dataclasses.replace(many, task=function, config=one.config) == one


def test_unknown_presets_name_the_nearest():
    with pytest.raises(UsageError, match="'shac-antt'; did you mean shac-ant"):
        load_preset("shac", "antt")
    with pytest.raises(UsageError, match="'shacc'; did you mean shac"):
        load_preset("shacc", "ant")
    assert default_preset("shac", "my_robot").config == SHACConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[config]\ngama = 0.9", "'gama'; did you mean gamma"),
        ("[confg]", "'confg'; did you mean config"),
        ("[config]\ngamma = '0.9'", "gamma of SHACConfig is '0.9'; it takes a number from 0 to 1"),
        ("[config]\ngamma = 1.5", "gamma of SHACConfig is 1.5; it takes a number from 0 to 1"),
        ("[config\n", "not valid TOML"),
        ("config = 3", "config of preset shac-mine is 3; it must be a table"),
        ("[env]\nnum_env = 3", r"key of \[env\] in preset shac-mine: 'num_env'; did you mean num_envs"),
        ("variants = 3", "variants of preset shac-mine is 3"),
        ("[variants]\nmine_2 = 3", "preset shac-mine, variant mine_2 is 3"),
        ("[variants.mine_2.confg]", "table of preset shac-mine, variant mine_2: 'confg'; did you mean config"),
        ("[variants.mine.config]\ngamma = 2.0", "gamma of SHACConfig is 2.0"),
    ],
)
def test_presets_that_are_wrong(text, words):
    with pytest.raises(UsageError, match=words):
        parse_preset("shac", "mine", text)
