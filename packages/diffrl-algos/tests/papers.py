"""The hyper-parameters that the four papers print, copied from their tables and lists by hand.

Numbers are the papers'; names are those of our configuration. Where a paper counts in another way (``tau`` for the part
of a target network that is new, the size of a batch for the number of batches), the number is converted here, in sight.
Rows without a field of ours (the bounds of PPO's deviation, critic_buffer_size) are left out. What only the authors'
published configurations have stands under "released".

Xu et al. 2022 is SHAC's paper, Xing et al. 2024 SAPO's, Gao et al. 2024 AGPO's, Son et al. 2023 GI-PPO's.
"""

from __future__ import annotations

from typing import Any

Values = dict[str, Any]


class Each(tuple[Any, ...]):
    """One value for each column; any other value stands for all columns."""


def each(*values: Any) -> Each:
    return Each(values)


def columns(tasks: tuple[str, ...], rows: Values) -> dict[str, Values]:
    """A table by its columns: ``{task: {field: value}}``."""
    return {
        task: {field: value[k] if isinstance(value, Each) else value for field, value in rows.items()}
        for k, task in enumerate(tasks)
    }


WORLDS, STEPS = 64, 32
"""Of one window in all four papers, unless a table says otherwise."""

# ---------------------------------------------------------------------------------------------------- Xu et al. 2022
SHAC_TASKS = ("cartpole", "ant", "humanoid", "humanoid_mtu")
SHAC = {
    "Table 1": columns(
        SHAC_TASKS,
        {
            "actor_hidden": each((64, 64), (128, 64, 32), (256, 128), (512, 256)),
            "critic_hidden": each((64, 64), (64, 64), (128, 128), (256, 256)),
        },
    ),
    "Table 4": columns(
        SHAC_TASKS,
        {
            "horizon": 32,
            "num_envs": 64,
            "actor_lr": each(0.01, 0.002, 0.002, 0.002),
            "critic_lr": each(0.001, 0.002, 0.0005, 0.0005),
            "target_alpha": each(0.2, 0.2, 0.995, 0.995),
            "gamma": 0.99,
            "lam": 0.95,
            "betas": (0.7, 0.95),
            "critic_iterations": 16,
            "critic_minibatches": 4,
            "iterations": each(500, 2000, 2000, 2000),
        },
    ),
    "Table 5": {  # a general setting, for every task
        "": {
            "horizon": 32,
            "num_envs": 64,
            "actor_lr": 0.002,
            "critic_lr": 0.0005,
            "gamma": 0.99,
            "lam": 0.95,
            "target_alpha": 0.995,
            "critic_iterations": 16,
            "critic_minibatches": 4,
        }
    },
    "A.2.3": {"": {"lr_schedule": "linear"}},
    "section 3.3": {"": {"normalize_obs": True}},
    "released": {"": {"lr_end": 1e-5, "max_grad_norm": 1.0, "logstd_init": -1.0}}
    | columns(
        ("hopper", "half_cheetah"),
        {
            "num_envs": each(256, 64),
            "iterations": 2000,
            "actor_hidden": (128, 64, 32),
            "critic_hidden": (64, 64),
            "actor_lr": 2e-3,
            "critic_lr": each(2e-4, 2e-3),
            "target_alpha": 0.2,
            "horizon": 32,
            "gamma": 0.99,
            "lam": 0.95,
            "betas": (0.7, 0.95),
            "critic_iterations": 16,
            "critic_minibatches": 4,
        },
    ),
}

# --------------------------------------------------------------------------------------------------- Xing et al. 2024
SAPO_TASKS = ("hopper", "ant", "humanoid", "humanoid_mtu")
NETWORKS = {
    "actor_hidden": each((128, 64, 32), (128, 64, 32), (256, 128), (512, 256)),
    "critic_hidden": each((64, 64), (64, 64), (128, 128), (256, 256)),
}
SHARED = {"num_envs": 64, "horizon": 32, "gamma": 0.99}  # the column "shared" of Table 2
BATCH = 2048
ADAMW = {"weight_decay": 0.01, "max_grad_norm": 0.5}  # Table 2 names AdamW and no decay, which is torch's default then
TABLE_5 = {"": {"eval_episodes": 128}}
COMMANDS = columns(SAPO_TASKS, {"iterations": -(-10_000_000 // (WORLDS * STEPS))})  # 10 million steps
SAPO = {
    "Table 2": {
        "": SHARED
        | ADAMW
        | {
            "critic_iterations": 16,
            "critic_minibatches": WORLDS * STEPS // BATCH,
            "lam": 0.95,
            "actor_lr": 2e-3,
            "critic_lr": 5e-4,
            "temperature_lr": 5e-3,
            "lr_schedule": "linear",
            "betas": (0.7, 0.95),
            "activation": "silu",
            "state_dependent_std": True,
            "logstd_min": -5.0,
            "logstd_max": 2.0,
            "num_critics": 2,
            "target_entropy": 0.5,  # -dim(A) / 2
            "temperature_init": 1.0,
        }
    },
    "Table 3": columns(SAPO_TASKS, NETWORKS),
    "Table 5": TABLE_5,
    "released": COMMANDS,
    "B.1": {"": {"target_alpha": 0.0, "actor_value": "mean", "target_value": "min", "normalize_entropy": True}},
    "Algorithm 1": {"": {"critic_shuffle": True}},
}
APG = {
    "Table 2": {
        "": SHARED
        | {
            "actor_lr": 2e-3,
            "lr_schedule": "linear",
            "betas": (0.7, 0.95),
            "max_grad_norm": 1.0,
            "activation": "elu",
        }
    },
    "Table 3": columns(SAPO_TASKS, {"actor_hidden": NETWORKS["actor_hidden"]}),
    "Table 5": TABLE_5,
    "released": COMMANDS,
}
PPO = {
    "Table 2": {
        "": SHARED
        | ADAMW
        | {
            "actor_iterations": 5,
            "critic_iterations": 5,
            "actor_minibatches": WORLDS * STEPS // BATCH,
            "critic_minibatches": WORLDS * STEPS // BATCH,
            "lam": 0.95,
            "actor_lr": 5e-4,
            "critic_lr": 5e-4,
            "adaptive_lr": True,
            "kl_target": 0.008,
            "betas": (0.9, 0.999),
            "layer_norm": True,
            "activation": "silu",
            "state_dependent_std": True,
        }
    },
    "Table 3": columns(SAPO_TASKS, NETWORKS),
    "Table 5": TABLE_5,
    "released": COMMANDS,
}
SAC = {
    "Table 2": {
        "": SHARED
        | ADAMW
        | {
            "batch_size": BATCH,
            "updates": 8,
            "actor_lr": 5e-4,
            "critic_lr": 5e-4,
            "temperature_lr": 5e-3,
            "lr_schedule": "constant",
            "betas": (0.9, 0.999),
            "layer_norm": True,
            "activation": "silu",
            "logstd_min": -5.0,
            "logstd_max": 2.0,
            "num_critics": 2,
            "target_alpha": 0.995,
            "replay_size": 10**6,
            "target_entropy": 0.5,
            "temperature_init": 1.0,
        }
    },
    "Table 3": columns(SAPO_TASKS, NETWORKS),
    "Table 5": TABLE_5,
    "released": COMMANDS,
}
TRAJOPT = {
    "Appendix E": {
        "": {
            "num_envs": 16,
            "iterations": 50,
            "horizon": 32,
            "action_lr": 0.01,
            "betas": (0.7, 0.95),
            "max_grad_norm": 0.5,
            "weight_decay": 0.01,  # AdamW, as above
        }
    }
}

DEFORMABLE = ("soft_jumper", "hand_flip", "rolling_pin", "fluid_move")
"""The paper's tasks in Rewarped, and two that only the released code has; small versions have the same Table 2."""
DEFORMABLE_BATCH = 1024
_TABLE_4 = {"num_envs": 32, "actor_hidden": (512, 256), "critic_hidden": (256, 128)}


def _deformable(
    tables: dict[str, dict[str, Values]], *, critic: bool = True, **own: Any
) -> dict[str, dict[str, Values]]:
    """An algorithm's tables for deformables: Table 2 without the shared column that Table 4 replaces."""
    table_2 = {name: value for name, value in tables.get("Table 2", {}).get("", {}).items() if name != "num_envs"}
    batches = {name: 32 * STEPS // DEFORMABLE_BATCH for name in table_2 if name.endswith("minibatches")}
    fits = {name: value for name, value in _TABLE_4.items() if name != "critic_hidden" or critic}
    table_2 = {name: value for name, value in table_2.items() if name not in batches and name not in own}
    return {
        "Table 2": {"": table_2},
        "Table 4": columns(DEFORMABLE, {**fits, **batches}) | {"": own},
        "Table 1": columns(DEFORMABLE, {"eval_episodes": 64}),
        **{name: table for name, table in tables.items() if name in ("B.1", "Algorithm 1", "Appendix E")},
    }


SHAC_BASELINE = {
    "Table 2": {
        "": APG["Table 2"][""]
        | {"critic_iterations": 16, "critic_minibatches": 1, "lam": 0.95, "critic_lr": 5e-4, "target_alpha": 0.995}
    }
}
"""Xing et al.'s SHAC, which only the deformable tasks have presets for."""
REWARPED = {
    "sapo": _deformable(SAPO),
    "shac": _deformable(SHAC_BASELINE),
    "apg": _deformable(APG, critic=False),
    "ppo": _deformable(PPO),
    "sac": _deformable(SAC, batch_size=DEFORMABLE_BATCH),
    "trajopt": {**TRAJOPT, "Table 1": columns(DEFORMABLE, {"eval_episodes": 64})},
}

# ---------------------------------------------------------------------------------------------------- Gao et al. 2024
AGPO_TASKS = ("ant", "humanoid", "hopper", "walker2d", "half_cheetah")
AGPO = {
    "Table 1": columns(
        AGPO_TASKS,
        {
            "num_envs": 64,
            "eval_episodes": 128,
            "horizon": 32,
            "actor_hidden": (256, 128, 64),
            "critic_hidden": (256, 128, 64),
            "reward_scale": 0.1,
            "gamma": 0.99,
            "target_alpha": each(1 - 0.8, 1 - 0.2, 1 - 0.8, 1 - 0.8, 1 - 0.2),  # soft_update_rate, of the new network
            "actor_lr": each(7e-4, 7e-4, 2e-4, 2e-4, 2e-4),  # learning_rate, one for both
            "critic_lr": each(7e-4, 7e-4, 2e-4, 2e-4, 2e-4),
            "max_grad_norm": 1.0,
            "critic_max_grad_norm": 10.0,
            "kl_coef": 0.3,
            "entropy_coef": 0.01,
            "critic_minibatches": 8,
            "critic_iterations": each(16, 16, 16, 16, 4),
            "threshold": each(0.1, 0.1, 0.1, 0.01, 0.1),
        },
    ),
    "Algorithm 1": {"": {"lam": 0.0, "lr_schedule": "constant"}},  # Bellman targets of one step, and one rate, eta
    # The norm of gradients "along the action dimension"; Eq. 4 for the trajectory that is truncated early.
    "section 4": {"": {"variance": "norm", "truncation": "bootstrap"}},
    "section 4.2": {"": {"num_critics": 2, "entropy_floor": 1.0}},
    "Eq. 3": {"": {"ratio": "adaptive"}},
    "Appendix B": {"": {"state_dependent_std": True}},
}

# ---------------------------------------------------------------------------------------------------- Son et al. 2023
FUNCTIONS = ("dejong", "dejong_64", "ackley", "ackley_64")
PHYSICS = ("cartpole", "ant", "hopper")
ROADS = ("pace_car_1", "pace_car_2", "pace_car_4", "pace_car_10")
COMMON = {"critic_iterations": 16, "critic_minibatches": 4, "gamma": 0.99, "lam": 0.95, "activation": "elu"}
"""Of all problems in 7.4.2; "Batch Size = 4" of the critic is read as four minibatches, as in the released code."""


def _problems(functions: Values | None, physics: Values | None, roads: Values | None) -> dict[str, dict[str, Values]]:
    """What an algorithm has on the problems it is compared on, with what all algorithms have there."""
    on_functions = {
        "actor_hidden": (32, 32),
        "critic_hidden": (32, 32),
        "critic_lr": 1e-3,
        "num_envs": 64,
        "horizon": 1,
    }
    on_physics = {
        "actor_hidden": each((64, 64), (128, 64, 32), (128, 64, 32)),
        "critic_hidden": (64, 64),
        "critic_lr": each(1e-3, 2e-3, 2e-4),
        "num_envs": each(64, 64, 256),
        "horizon": 32,
    }
    on_roads = {
        "actor_hidden": (512, 64, 64),
        "critic_hidden": (64, 64),
        "critic_lr": 1e-3,
        "num_envs": 64,
        "horizon": 32,
    }
    found: dict[str, Values] = {}
    for tasks, common, own in (
        (FUNCTIONS, on_functions, functions),
        (PHYSICS, on_physics, physics),
        (ROADS, on_roads, roads),
    ):
        if own is not None:
            found |= columns(tasks, COMMON | common | own)
    epochs = dict.fromkeys(FUNCTIONS, 2000) | {"cartpole": 500, "ant": 2000, "hopper": 2000} | dict.fromkeys(ROADS, 500)
    released = {"max_grad_norm": 1.0, "normalize_obs": True}
    return {
        "7.4.2": found,
        "released": {
            task: {**released, "iterations": epochs[task], "normalize_value": task in FUNCTIONS} for task in found
        },
    }


TARGET = {"target": {"": {"target_alpha": 0.2}}}  # released, of all that have a target critic
LR = (
    _problems(
        {"actor_lr": each(1e-3, 1e-3, 1e-4, 3e-4), "lr_schedule": "linear"},
        {"actor_lr": 1e-4, "lr_schedule": "linear"},
        {"actor_lr": 3e-4, "lr_schedule": "linear"},
    )
    | TARGET
)
RP = (
    _problems(
        {"actor_lr": each(1e-2, 1e-2, 1e-3, 1e-3), "lr_schedule": "linear"},
        {"actor_lr": each(1e-2, 2e-3, 2e-3), "lr_schedule": "linear"},
        {"actor_lr": 1e-3, "lr_schedule": "linear"},
    )
    | TARGET
)
LRRP = (
    _problems(
        {"actor_lr": each(1e-3, 1e-3, 1e-4, 3e-4), "lr_schedule": "linear"},
        None,
        {"actor_lr": 3e-4, "lr_schedule": "linear"},
    )
    | TARGET
    | {"7.4.1": {"": {"variance_samples": 16}}}
)
PPO_PASSES = {"actor_iterations": 5, "clip": 0.2}
PPO_ON = (
    {"actor_lr": each(1e-4, 1e-2, 1e-4, 1e-2), "adaptive_lr": False, "actor_minibatches": 64 // 64, **PPO_PASSES},
    {
        "actor_lr": each(3e-4, 1e-4, 1e-4),
        "adaptive_lr": each(True, False, False),
        "kl_target": 0.008,  # footnote 2
        "actor_minibatches": each(64 * 32 // 2048, 64 * 32 // 2048, 256 * 32 // 2048),
        **PPO_PASSES,
    },
    {"actor_lr": 3e-4, "adaptive_lr": False, "actor_minibatches": 64 * 32 // 2048, **PPO_PASSES},
)
CONSTANT = {"lr_schedule": "constant"}  # of PPO alone; in GI-PPO this field is the critic's, of which nothing is said
PPO_BASELINE = _problems(PPO_ON[0] | CONSTANT, PPO_ON[1], PPO_ON[2] | CONSTANT)
ALPHA = {"alpha_iterations": 16, "alpha_max": 1.0, "delta_det": 0.4}
GIPPO = (
    _problems(
        {**PPO_ON[0], **ALPHA, "alpha_lr": 1e-3, "alpha_init": 1e-5, "alpha_factor": 1.1, "delta_oorr": 0.5},
        {
            **PPO_ON[1],
            **ALPHA,
            "alpha_lr": each(1e-2, 5e-4, 5e-3),
            "alpha_init": each(0.5, 0.5, 5e-3),
            "alpha_factor": 1.02,
            "delta_oorr": each(0.75, 0.5, 0.75),
        },
        {**PPO_ON[2], **ALPHA, "alpha_lr": 1e-5, "alpha_init": 0.1, "alpha_factor": 1.1, "delta_oorr": 0.5},
    )
    | TARGET
)

ALGORITHMS = {
    "shac": SHAC,
    "sapo": SAPO,
    "apg": APG,
    "sac": SAC,
    "trajopt": TRAJOPT,
    "agpo": AGPO,
    "gippo": GIPPO,
    "lr": LR,
    "rp": RP,
    "lrrp": LRRP,
}
"""``{algorithm: {source: {task: values}}}``; the task ``""`` stands for all. PPO's depends on the task: ``sources``."""


def sources(algorithm: str, task: str) -> dict[str, Values]:
    """What the algorithm's paper prints for the task: ``{source: {field: value}}``; empty where it has nothing."""
    tables = ALGORITHMS.get(algorithm, {})
    if task.removesuffix("_small") in DEFORMABLE:
        return {source: {**table.get("", {}), **table.get(task, {})} for source, table in REWARPED[algorithm].items()}
    if algorithm == "ppo":  # the baseline of two papers
        tables = PPO_BASELINE if task in (*FUNCTIONS, *ROADS, "cartpole") else PPO
    return {source: {**table.get("", {}), **table.get(task, {})} for source, table in tables.items()}
