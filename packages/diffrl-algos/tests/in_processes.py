"""Run as one of several processes: every algorithm that can share its worlds out, ten updates, states saved as arrays.

``python in_processes.py FOLDER WORLDS``, with the environment variables that torchrun sets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import diffsim_core
from diffrl_algos import RunError, UsageError, _processes, get_algorithm, list_algorithms

sys.path.insert(0, str(Path(__file__).parent))
import toy  # noqa: F401

NAMES = ("shac", "sapo", "apg", "ppo", "ppo-attempts")
UPDATES = 10
OPTIONS = {"limit": 0.9, "horizon": 5}


def build(name, **changes):
    """Small networks, random minibatches, and everything that is shared over worlds switched on."""
    name, _, variant = name.partition("-")
    cls = get_algorithm(name).config_class()
    values = {"iterations": 2 * UPDATES, "horizon": 8, "actor_hidden": (16, 8), "actor_lr": 1e-3}
    if name != "apg":
        values |= {"critic_hidden": (16,), "critic_iterations": 2, "critic_minibatches": 5, "critic_shuffle": True}
    if name == "apg":
        values |= {"restart": True}
    if name == "ppo":
        values |= {"actor_iterations": 2, "actor_minibatches": 3, "normalize_value": True}
        values |= {"attempts": 3, "adaptive_lr": False} if variant else {"adaptive_lr": True}
    return get_algorithm(name).build(cls(**{**values, **changes}))


def train(name, env, updates=UPDATES):
    algorithm = build(name)
    state = algorithm.init(env, 3)
    for _ in range(updates):
        state, metrics = algorithm.update(state)
    return algorithm, state, metrics


class Poisoned:
    """Worlds of which one process's give one reward that is not a number, in the second window of eight steps."""

    def __init__(self, env, rank):
        self.env, self.spec, self.num_envs, self.rank, self.steps = env, env.spec, env.num_envs, rank, 0

    def reset(self, seed):
        return self.env.reset(seed)

    def step(self, state, action):
        state, step = self.env.step(state, action)
        self.steps += 1
        bad = self.steps == 8 + 3 and self.rank == 1
        return state, step._replace(reward=step.reward * float("nan")) if bad else step


def main(folder, num_worlds):
    with _processes.started("cpu"):
        rank = _processes.rank()
        count, first = _processes.share(num_worlds)
        env = diffsim_core.make("toy", num_envs=count, world_offset=first, **OPTIONS)
        for name in NAMES:
            algorithm, state, metrics = train(name, env)
            arrays = algorithm.to_arrays(state)
            again = algorithm.from_arrays(algorithm.init(env, 0), arrays)
            assert np.array_equal(again.run.obs.numpy(), state.run.obs.numpy()), (
                "a checkpoint gives each its own worlds back"
            )
            numbers = {key: value for key, value in metrics.items() if isinstance(value, float)}
            if rank == 0:
                np.savez(folder / f"{name}.npz", **arrays, **{f"metrics/{key}": v for key, v in numbers.items()})
        _, state, metrics = train("shac", Poisoned(env, rank), 3)
        assert metrics["refused_updates"] == state.run.refused == 1, "what one process finds bad, all refuse"
        errors(env, rank)


def errors(env, rank):
    """What cannot be done is said in every process."""
    for entry in list_algorithms():
        if entry.arrays == "torch" and entry.name not in NAMES:
            with pytest.raises(ValueError, match="learns in one process; start it without torchrun"):
                entry.build(entry.config_class()()).init(env, 0)
    with pytest.raises(UsageError, match="num_envs is 5; 2 processes need a multiple of 2"):
        _processes.share(5)
    with pytest.raises(UsageError, match="with several processes it is cuda, which gives each its own, or cpu"):
        _processes.device("cuda:1")
    assert _processes.device("cuda") == f"cuda:{rank}"

    def fail():
        raise RunError("no space")

    with pytest.raises(RunError, match="no space" if rank == 0 else "process 0 could not go on"):
        _processes.lead(fail)
    assert _processes.lead(lambda: rank) == (0 if rank == 0 else None)
    assert _processes.same_text(f"path {rank}") == "path 0"
    assert _processes.any_of(rank == 1) and not _processes.any_of(False)
    assert _processes.agree(1.5 + rank, None if rank == 0 else 3.0) == (1.5, None)
    shac = build("shac")
    state = shac.init(env, 0)
    with pytest.raises(RunError, match="no longer agree on actor: are their machines"):
        shac.to_arrays(state.replace(actor=state.actor + rank))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
