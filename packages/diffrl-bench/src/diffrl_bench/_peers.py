"""``diffrl bench peers``: PPO, SAC and TD3 compared with Stable-Baselines3, everything else equal."""

from __future__ import annotations

import importlib.util
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._machine import describe, machine, versions
from ._text import rounded, table

ALGORITHMS = ("ppo", "sac", "td3")
_REWARD_SCALE = 0.05


@dataclass(frozen=True, kw_only=True)
class PeersBench:
    """Settings of the comparison."""

    algos: Sequence[str] = ALGORITHMS
    task: str = "cartpole"
    seeds: int = 5
    """Number of seeds 0, 1, ... of each algorithm, on each side."""
    iterations: int = 100
    """Updates of a run: windows of 32 steps in 64 worlds."""
    num_envs: int = 64
    episodes: int = 128
    """Episodes of the evaluation that ends a run."""

    def __post_init__(self) -> None:
        for name, least in (("seeds", 2), ("iterations", 2), ("num_envs", 1), ("episodes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if unknown := sorted(set(self.algos) - set(ALGORITHMS)):
            raise ValueError(f"algorithm {unknown[0]!r} has no counterpart; choose from {', '.join(ALGORITHMS)}")


def config_of(algo: str, iterations: int) -> Any:
    """Hyper-parameters that both sides support: no layer normalisation, clipping, decay or statistics."""
    from diffrl_algos import get_algorithm

    shared: dict[str, Any] = {
        "iterations": iterations,
        "horizon": 32,
        "gamma": 0.99,
        "actor_hidden": (64, 64),
        "critic_hidden": (64, 64),
        "actor_lr": 1e-3,
        "critic_lr": 1e-3,
        "lr_schedule": "constant",
        "max_grad_norm": 1e9,
        "weight_decay": 0.0,
        "activation": "tanh" if algo == "ppo" else "relu",
        "layer_norm": False,
        "normalize_obs": False,
    }
    own: dict[str, dict[str, Any]] = {
        "ppo": {
            "adaptive_lr": False,
            "lam": 0.95,
            "actor_iterations": 10,
            "actor_minibatches": 1,
            "critic_iterations": 10,
            "critic_minibatches": 1,
            "normalize_value": False,
        },
        "sac": {"logstd_min": -20.0, "logstd_max": 2.0, "temperature_lr": 1e-3, "temperature_init": 0.1},
        "td3": {},
    }
    if algo != "ppo":
        shared |= {"batch_size": 256, "updates": 32, "n_step": 1, "target_alpha": 0.98, "replay_size": 1_000_000}
    return get_algorithm(algo).config_class()(**shared, **own[algo])


class Scaled:
    """Worlds whose rewards are multiplied by 0.05 for learning, on both sides."""

    def __init__(self, env: Any) -> None:
        self._env, self.spec, self.num_envs = env, env.spec, env.num_envs

    def reset(self, seed: int) -> Any:
        return self._env.reset(seed)

    def step(self, state: Any, action: Any) -> Any:
        state, step = self._env.step(state, action)
        return state, step._replace(reward=_REWARD_SCALE * step.reward)


def bench_peers(bench: PeersBench, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Train every algorithm on both sides with every seed, by turns, and return the report of ``--json``.

    Both sides begin a seed with the same weights and the same worlds. After that each draws its own random numbers.

    Raises:
        ImportError: Stable-Baselines3 is not installed.
    """
    if importlib.util.find_spec("stable_baselines3") is None:
        raise ImportError("bench peers needs Stable-Baselines3; install diffrl-bench[peers]")
    began, facts = time.perf_counter(), machine()
    rows = []
    for algo, seed in itertools.product(bench.algos, range(bench.seeds)):
        sides = {"ours": _ours, "stable-baselines3": _theirs}
        # The side that begins alternates between seeds.
        for side in sorted(sides, reverse=bool(seed % 2)):
            returns, steps, seconds = sides[side](bench, algo, seed)
            row = {"algo": algo, "side": side, "seed": seed, "return_mean": returns, "env_steps": steps}
            rows.append({**row, "steps_per_s": steps / seconds})
            say(f"{algo} {side} seed {seed}: return {returns:.1f}, {steps / seconds:,.0f} steps/s")
    return {
        "benchmark": "peers",
        "task": bench.task,
        "num_envs": bench.num_envs,
        "iterations": bench.iterations,
        "seeds": bench.seeds,
        "reward_scale": _REWARD_SCALE,
        "rows": rows,
        "comparisons": [compare(algo, rows) for algo in bench.algos],
        "env_steps": sum(row["env_steps"] for row in rows),
        "wall_s": time.perf_counter() - began,
        "machine": facts,
        "versions": versions(),
    }


def compare(algo: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Final returns of both sides: means, their difference with a 95 % bootstrap interval, and a permutation test."""
    found: dict[str, Any] = {"algo": algo}
    returns = {}
    for side in ("ours", "stable-baselines3"):
        mine = [row for row in rows if row["algo"] == algo and row["side"] == side]
        returns[side] = [math.nan if row["return_mean"] is None else row["return_mean"] for row in mine]
        found[side] = {
            "mean": statistics.mean(returns[side]),
            "std": statistics.stdev(returns[side]),
            "min": min(returns[side]),
            "max": max(returns[side]),
            "steps_per_s": statistics.median(row["steps_per_s"] for row in mine),
        }
    a, b = returns.values()
    low, high = bootstrap_interval(a, b)
    p = permutation_test(a, b)
    return {**found, "difference": found["ours"]["mean"] - found["stable-baselines3"]["mean"]} | {
        "interval": [low, high],
        "p": p,
        "same": p > 0.05,
    }


def permutation_test(a: Sequence[float], b: Sequence[float]) -> float:
    """Exact two-sided p-value of the difference of means: the share of all splits with a difference as large."""
    values, total = np.asarray([*a, *b]), sum(a) + sum(b)
    observed = abs(np.mean(a) - np.mean(b))
    sums = np.array([values[list(chosen)].sum() for chosen in itertools.combinations(range(len(values)), len(a))])
    differences = np.abs(sums / len(a) - (total - sums) / len(b))
    return float(np.mean(differences >= observed * (1 - 1e-12) - 1e-12))


def bootstrap_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """95 % percentile interval of ``mean(a) - mean(b)`` over 10,000 resamples of both sides."""
    rng = np.random.default_rng(0)
    means = [rng.choice(np.asarray(x), (10_000, len(x))).mean(1) for x in (a, b)]
    low, high = np.percentile(means[0] - means[1], [2.5, 97.5])
    return float(low), float(high)


def peers_text(report: dict[str, Any], *, markdown: bool = False) -> str:
    """The text of ``bench peers`` without ``--json``."""
    head = ("", "ours", "Stable-Baselines3", "difference, 95 % interval", "p", "steps/s, ours", "theirs")
    rows = []
    for row in report["comparisons"]:
        ours, theirs = row["ours"], row["stable-baselines3"]
        sides = [f"{side['mean']:.0f} ± {side['std']:.0f}" for side in (ours, theirs)]
        interval = f"{row['difference']:.0f}, {row['interval'][0]:.0f} to {row['interval'][1]:.0f}"
        speeds = [rounded(side["steps_per_s"]) for side in (ours, theirs)]
        rows.append((row["algo"], *sides, interval, f"{row['p']:.2f}", *speeds))
    title = (
        f"{report['task']}: {report['seeds']} seeds, {report['iterations']} updates of {report['num_envs']} worlds; "
        "final return, mean ± deviation over seeds"
    )
    return "\n".join([title, describe(report["machine"]), "", table(head, rows, markdown=markdown)])


def _make(bench: PeersBench, num_envs: int) -> Any:
    import diffsim_core

    return diffsim_core.make(bench.task, num_envs=num_envs, threads=1)


def _ours(bench: PeersBench, algo: str, seed: int) -> tuple[float, int, float]:
    """Final return, control steps, seconds of training."""
    from diffrl_algos import get_algorithm, train

    config = config_of(algo, bench.iterations)
    algorithm, env = get_algorithm(algo).build(config), Scaled(_make(bench, bench.num_envs))
    began = time.perf_counter()
    state = train(algorithm, env, seed=seed).state
    seconds = time.perf_counter() - began
    return _evaluate(bench, algorithm.policy(state)), state.env_steps, seconds


def _theirs(bench: PeersBench, algo: str, seed: int) -> tuple[float, int, float]:
    import torch

    from diffrl_algos import get_algorithm

    from ._sb3 import copy_weights, model, policy_of

    config = config_of(algo, bench.iterations)
    env: Any = Scaled(_make(bench, bench.num_envs))
    first = get_algorithm(algo).build(replace(config, iterations=2)).init(env, seed)
    theirs = model(algo, config, env, seed)
    copy_weights(algo, theirs, first)
    steps, threads = bench.iterations * config.horizon * bench.num_envs, torch.get_num_threads()
    torch.set_num_threads(config.torch_threads)
    try:
        began = time.perf_counter()
        theirs.learn(steps)
        seconds = time.perf_counter() - began
    finally:
        torch.set_num_threads(threads)
    return _evaluate(bench, policy_of(algo, theirs)), theirs.num_timesteps, seconds


def _evaluate(bench: PeersBench, policy: Any) -> float:
    from diffrl_algos import evaluate

    env = _make(bench, bench.episodes)
    return evaluate(env, policy, episodes=bench.episodes, seed=1_000_003).return_mean
