"""Presets of the pace car are the settings of GI-PPO's paper, and the tasks that they name exist."""

from __future__ import annotations

import pytest

from diffrl_algos import list_presets, load_preset
from diffrl_algos.cli import _list
from diffsim_traffic.tasks import PACE_CAR_PRESETS
from diffsim_traffic.tasks.pace_car import DRIVERS_PER_LANE

# Appendix 7.4.2 of Son et al. 2023; SHAC's is ours. Rate of the actor and how it goes.
ACTOR = {
    "gippo": (3e-4, "linear"),  # the critic's schedule
    "lr": (3e-4, "linear"),
    "rp": (1e-3, "linear"),
    "lrrp": (3e-4, "linear"),
    "ppo": (3e-4, "constant"),
    "shac": (1e-3, "linear"),
}
TASKS = [f"pace_car_{lanes}" for lanes in DRIVERS_PER_LANE]


def test_one_serves_every_road():
    wanted = {(algorithm, "pace_car") for algorithm in ACTOR}
    assert {pair for pair in list_presets() if pair[1].startswith("pace_car")} == wanted
    rows = {row["name"]: row["tasks"] for row in _list.run(["presets"]).value}
    assert all(set(rows[f"{algorithm}-pace_car"]) == set(TASKS) for algorithm in ACTOR)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", ACTOR)
def test_they_are_the_papers(algorithm, task):
    preset = load_preset(algorithm, task)
    c = preset.config
    assert (c.actor_lr, c.lr_schedule) == ACTOR[algorithm]
    assert (preset.num_envs, c.iterations, c.horizon, c.gamma, c.lam) == (64, 500, 32, 0.99, 0.95)
    assert (c.actor_hidden, c.critic_hidden, c.critic_lr) == ((512, 64, 64), (64, 64), 1e-3)
    assert (c.critic_iterations, c.critic_minibatches, c.max_grad_norm) == (16, 4, 1.0)
    assert preset.task_options == {"preset": "paper"} and preset.task_options["preset"] in PACE_CAR_PRESETS
    if algorithm != "shac":
        assert (c.activation, c.state_dependent_std, c.normalize_value) == ("elu", True, False)
    if algorithm in ("gippo", "ppo"):
        assert (c.actor_iterations, c.actor_minibatches, c.clip, c.adaptive_lr) == (5, 1, 0.2, False)
    if algorithm == "gippo":
        assert (c.alpha_lr, c.alpha_init, c.alpha_factor, c.alpha_max) == (1e-5, 0.1, 1.1, 1.0)
        assert (c.delta_det, c.delta_oorr, c.alpha_iterations, c.attempts) == (0.4, 0.5, 16, 8)
