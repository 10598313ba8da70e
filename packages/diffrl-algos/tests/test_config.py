"""Configurations, presets and the registry: typed values, and names that help when they are wrong."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffrl_algos
from diffrl_algos import (
    AGPOConfig,
    AlgorithmEntry,
    APGConfig,
    PPOConfig,
    SAPOConfig,
    SHACConfig,
    UsageError,
    get_algorithm,
    list_algorithms,
    list_presets,
    load_preset,
)
from diffrl_algos import _fields as fields
from diffrl_algos._registry import register_algorithm

# Tables 1 and 4 of Xu et al. 2022, and the released configurations for the tasks that they leave out; walker2d is
# ours. Worlds, updates, actor, critic, learning rates of both, target_alpha.
SHAC_PRESETS = {
    "cartpole": (64, 500, (64, 64), (64, 64), 1e-2, 1e-3, 0.2),
    "hopper": (256, 2000, (128, 64, 32), (64, 64), 2e-3, 2e-4, 0.2),
    "half_cheetah": (64, 2000, (128, 64, 32), (64, 64), 2e-3, 2e-3, 0.2),
    "walker2d": (256, 2000, (128, 64, 32), (64, 64), 2e-3, 2e-4, 0.2),
    "ant": (64, 2000, (128, 64, 32), (64, 64), 2e-3, 2e-3, 0.2),
    "humanoid": (64, 2000, (256, 128), (128, 128), 2e-3, 5e-4, 0.995),
    "humanoid_mtu": (64, 2000, (512, 256), (256, 256), 2e-3, 5e-4, 0.995),
}


@pytest.mark.parametrize("task", SHAC_PRESETS)
def test_shac_presets_are_the_papers_tables(task):
    preset = load_preset("shac", task)
    c = preset.config
    sizes = (preset.num_envs, c.iterations, c.actor_hidden, c.critic_hidden)
    assert (*sizes, c.actor_lr, c.critic_lr, c.target_alpha) == SHAC_PRESETS[task]
    assert (c.horizon, c.gamma, c.lam, c.betas) == (32, 0.99, 0.95, (0.7, 0.95))
    assert (c.critic_iterations, c.critic_minibatches) == (16, 4)
    assert (c.lr_end, c.lr_schedule, c.max_grad_norm, c.logstd_init, c.normalize_obs) == (1e-5, "linear", 1, -1, True)
    assert preset.eval_episodes == (64 if task == "cartpole" else 128)


def test_every_included_task_has_a_shac_preset():
    ours = {task for algorithm, task in list_presets() if algorithm == "shac"}
    assert {task for task in ours if not task.startswith(("pace_car", "newton_"))} == set(SHAC_PRESETS)


# Table 3 of Xing et al. 2024; cartpole is ours. Updates, actor, critics, learning rates of both.
SAPO_PRESETS = {
    "cartpole": (500, (64, 64), (64, 64), 1e-2, 1e-3),
    "hopper": (4883, (128, 64, 32), (64, 64), 2e-3, 5e-4),
    "ant": (4883, (128, 64, 32), (64, 64), 2e-3, 5e-4),
    "humanoid": (4883, (256, 128), (128, 128), 2e-3, 5e-4),
    "humanoid_mtu": (4883, (512, 256), (256, 256), 2e-3, 5e-4),
}


@pytest.mark.parametrize("task", SAPO_PRESETS)
def test_sapo_presets_are_the_papers_tables(task):
    preset = load_preset("sapo", task)
    c = preset.config
    networks = (c.iterations, c.actor_hidden, c.critic_hidden, c.actor_lr)
    if task == "ant":
        assert (*networks, 5e-4) == SAPO_PRESETS[task] and c.critic_lr == load_preset("shac", task).config.critic_lr
    else:
        assert (*networks, c.critic_lr) == SAPO_PRESETS[task]
    assert c.target_entropy_growth == (10.0 if task in ("ant", "hopper") else 1.0)
    # What a preset does not name is what the paper says in general, and the defaults are that too.
    names = ("iterations", "actor_hidden", "critic_hidden", "actor_lr", "critic_lr", "target_entropy_growth")
    assert dataclasses.replace(SAPOConfig(), **{name: getattr(c, name) for name in names}) == c
    assert preset.num_envs == 64
    assert (c.max_grad_norm, c.activation, c.num_critics, c.target_alpha) == (0.5, "silu", 2, 0.0)


# Table 1 of Gao et al. 2024. Learning rate of both, 1 - tau, passes, threshold.
AGPO_PRESETS = {
    "ant": (7e-4, 0.2, 16, 0.1),
    "humanoid": (7e-4, 0.8, 16, 0.1),
    "hopper": (2e-4, 0.2, 16, 0.1),
    "walker2d": (2e-4, 0.2, 16, 0.01),
    "half_cheetah": (2e-4, 0.8, 4, 0.1),
}


@pytest.mark.parametrize("task", AGPO_PRESETS)
def test_agpo_presets_are_the_papers_table(task):
    """But for the ratio and the entropy that goes with it; Ant and Hopper also have networks and rates like SHAC's."""
    preset = load_preset("agpo", task)
    lr, *rest = AGPO_PRESETS[task]
    own = dict(zip(("target_alpha", "critic_iterations", "threshold"), rest, strict=True))
    own |= {"ratio": "tolerant", "entropy_floor": 0.1, "actor_lr": lr, "critic_lr": lr}
    if task in ("ant", "hopper"):
        shac = load_preset("shac", task).config
        own |= {
            name: getattr(shac, name) for name in ("actor_hidden", "critic_hidden", "actor_lr", "critic_minibatches")
        }
        own |= {"critic_lr": shac.actor_lr, "state_dependent_std": False}
    if task == "hopper":
        own |= {"tolerance": 10.0, "entropy_floor": 0.0}
    assert preset.config == dataclasses.replace(AGPOConfig(), **own)
    assert preset.num_envs == 64


def test_agpo_defaults_are_the_papers():
    c = AGPOConfig()
    assert (c.ratio, c.entropy_floor, c.kl_coef, c.entropy_coef, c.reward_scale) == ("adaptive", 1.0, 0.3, 0.01, 0.1)
    assert (c.actor_lr, c.critic_lr, c.max_grad_norm, c.critic_max_grad_norm) == (7e-4, 7e-4, 1, 10)


@pytest.mark.parametrize(("algorithm", "defaults"), [("apg", APGConfig()), ("ppo", PPOConfig())])
@pytest.mark.parametrize("task", ["hopper", "ant", "humanoid", "humanoid_mtu"])
def test_presets_of_the_baselines_are_those_of_sapos_paper(algorithm, defaults, task):
    preset, sapo = load_preset(algorithm, task), load_preset("sapo", task).config
    own = {"actor_hidden": sapo.actor_hidden, "iterations": sapo.iterations}
    if algorithm == "ppo":
        own["critic_hidden"] = sapo.critic_hidden
    assert preset.config == dataclasses.replace(defaults, **own)
    assert preset.num_envs == 64


# Appendix 7.4.2 of Son et al. 2023. Worlds, actor, critic's rate, rate of PPO, of the fit, alpha_0, beta, delta_oorr,
# rates of RP and LR.
GIPPO_PRESETS = {
    "dejong": (64, (32, 32), 1e-3, 1e-4, 1e-3, 1e-5, 1.1, 0.5, 1e-2, 1e-3),
    "dejong_64": (64, (32, 32), 1e-3, 1e-2, 1e-3, 1e-5, 1.1, 0.5, 1e-2, 1e-3),
    "ackley": (64, (32, 32), 1e-3, 1e-4, 1e-3, 1e-5, 1.1, 0.5, 1e-3, 1e-4),
    "ackley_64": (64, (32, 32), 1e-3, 1e-2, 1e-3, 1e-5, 1.1, 0.5, 1e-3, 3e-4),
    "cartpole": (64, (64, 64), 1e-3, 3e-4, 1e-2, 0.5, 1.02, 0.75, 1e-2, 1e-4),
    "ant": (64, (128, 64, 32), 2e-3, 1e-4, 5e-4, 0.5, 1.02, 0.5, 2e-3, 1e-4),
    "hopper": (256, (128, 64, 32), 2e-4, 1e-4, 5e-3, 5e-3, 1.02, 0.75, 2e-3, 1e-4),
}


@pytest.mark.parametrize("task", GIPPO_PRESETS)
def test_presets_of_gippo_and_its_baselines_are_the_papers(task):
    preset, rp, lr = (load_preset(name, task) for name in ("gippo", "rp", "lr"))
    c = preset.config
    rates = (c.critic_lr, c.actor_lr, c.alpha_lr, c.alpha_init, c.alpha_factor, c.delta_oorr)
    assert (preset.num_envs, c.actor_hidden, *rates, rp.config.actor_lr, lr.config.actor_lr) == GIPPO_PRESETS[task]
    assert (c.alpha_iterations, c.alpha_max, c.delta_det, c.actor_iterations, c.clip) == (16, 1.0, 0.4, 5, 0.2)
    assert c.adaptive_lr == (task == "cartpole")
    function = "dejong" in task or "ackley" in task
    for other in (preset, rp, lr, *([load_preset("lrrp", task)] if function else [])):
        c = other.config
        assert (c.horizon, c.gamma, c.lam, c.betas, c.target_alpha) == (
            1 if function else 32,
            0.99,
            0.95,
            (0.7, 0.95),
            0.2,
        )
        assert (c.critic_iterations, c.critic_minibatches, c.normalize_value) == (16, 4, function)
        assert other.num_envs == preset.num_envs and c.iterations == (500 if task == "cartpole" else 2000)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("gamma", "0.98", 0.98),
        ("gamma", "1", 1.0),
        ("actor_lr", "2e-3", 2e-3),
        ("iterations", "12", 12),
        ("actor_hidden", "128,64,32", (128, 64, 32)),
        ("actor_hidden", "", ()),
        ("betas", "0.9, 0.99", (0.9, 0.99)),
        ("critic_shuffle", "True", True),
        ("lr_schedule", "constant", "constant"),
    ],
)
def test_text_becomes_typed_values(name, text, value):
    found = fields.parse(SHACConfig, name, text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gamma", "high", "gamma is 'high'; it takes a finite number"),
        ("gamma", "nan", "gamma is 'nan'; it takes a finite number"),
        ("iterations", "1.5", "iterations is '1.5'; it takes an integer"),
        ("actor_hidden", "64,x", "actor_hidden is '64,x'; it takes integers with commas between"),
        ("betas", "0.9", "betas is '0.9'; it takes 2 numbers"),
        ("critic_shuffle", "1", "critic_shuffle is '1'; it takes true or false"),
        ("lr_schedule", "cosine", "lr_schedule is 'cosine'; it takes linear or constant"),
    ],
)
def test_text_of_the_wrong_type(name, text, words):
    with pytest.raises(UsageError, match=words):
        fields.parse(SHACConfig, name, text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 0},
        {"lam": -0.1},
        {"actor_lr": 0.0},
        {"lr_end": -1.0},
        {"critic_hidden": [64, 0]},
        {"betas": [0.7, 1.0]},
        {"torch_threads": 0},
    ],
)
def test_values_out_of_range_are_named(wrong):
    with pytest.raises(UsageError, match=f"^{next(iter(wrong))} is"):
        fields.from_mapping(SHACConfig, wrong)


@given(
    st.builds(
        SHACConfig,
        iterations=st.integers(1, 10**6),
        gamma=st.floats(0, 1),
        actor_hidden=st.lists(st.integers(1, 512), max_size=4).map(tuple),
        betas=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        critic_shuffle=st.booleans(),
        lr_schedule=st.sampled_from(["linear", "constant"]),
    )
)
def test_configurations_survive_tables_and_text(config):
    assert fields.from_mapping(SHACConfig, fields.to_mapping(config)) == config
    spelled = {
        name: fields.parse(SHACConfig, name, ",".join(map(repr, value)) if isinstance(value, list) else str(value))
        for name, value in fields.to_mapping(config).items()
    }
    assert SHACConfig(**spelled) == config


def test_every_field_has_a_docstring():
    assert fields.field_docs(SHACConfig).keys() == fields.field_types(SHACConfig).keys()


@dataclasses.dataclass(frozen=True)
class OtherConfig:
    iterations: int = 3
    """Updates."""
    kind: Literal["a", "b"] = "a"


def test_other_algorithms_can_be_registered(monkeypatch):
    monkeypatch.setattr("diffrl_algos._registry._ENTRIES", dict(diffrl_algos._registry._ENTRIES))
    entry = AlgorithmEntry(
        name="other", algorithm="builtins:list", config=f"{__name__}:OtherConfig", arrays="torch", summary="a test"
    )
    register_algorithm(entry)
    register_algorithm(entry)
    assert entry in list_algorithms() and get_algorithm("other").build([1]) == [1]
    with pytest.raises(UsageError, match="'other' exists already"):
        register_algorithm(dataclasses.replace(entry, summary="another"))


def test_algorithms_say_where_they_are():
    entry = get_algorithm("shac")
    algorithm = entry.build(entry.config_class()(gamma=0.5))
    assert algorithm.name == "shac" and algorithm.config.gamma == 0.5
