"""``bench bundles``: by how much bundles of perturbed branches lower the variance of a gradient.

Given the start, the actions and everything else but the perturbations, a world's gradient is the mean of those of ``n``
independent branches. If one of them has the finite variance ``W_1``, the mean has ``W_n = W_1 / n``.
What differs between worlds is not averaged. By the law of total variance, a gradient of a random world has the variance
``B + W_1 / n``, with ``B`` that of the expected gradients: the floor.

The command measures both. Worlds begin in heavy contact, each many times with other perturbations. The gradient is that
of the rewards of a window with respect to all of its actions. For the length of one bundle the law is exact; in longer
windows later perturbations depend on earlier ones, and it is an approximation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import diffsim_core
from diffrl_algos import Bundle
from diffrl_algos.torch import BundledEnv
from diffsim_core import EnvState, tree_map

from ._machine import describe, machine, versions
from ._stopwatch import Progress, unseen
from ._text import count, magnitude, rounded, table

STIFF: dict[str, Any] = {
    "randomize": {"contact_kn": [10, 10], "contact_kd": [10, 10], "contact_kt": [10, 10]},
    "substeps": 32,
}
"""Options of the Ant of suite ``agpo-stiff-contact``."""
_EARLY, _LATEST = 5, 200
"""Control steps under random actions before a world may begin, and in which it has to be in heavy contact."""
_RESAMPLED = 2000


def bench_bundles(
    *,
    task: str = "ant",
    task_options: Mapping[str, Any] | None = None,
    branches: Sequence[int] = (1, 2, 5, 10, 20),
    num_envs: int = 16,
    repeats: int = 32,
    horizon: int = 2,
    seed: int = 0,
    progress: Progress = unseen,
) -> dict[str, Any]:
    """Variances of gradients in double precision, over perturbations and over worlds.

    Args:
        task: a rigid-body task on level ground.
        task_options: its options; those of the stiff Ant for ``ant``, by default.
        branches: sizes of bundles; the first is what the others are compared with.
        num_envs: worlds, at least 2.
        repeats: perturbations of each, at least 2.
        horizon: control steps of the window.
        seed: names the worlds and the actions.
        progress: told what is done.

    Returns:
        A report for JSON.

    Raises:
        ValueError: a number is out of its range, the task has no contacts, or a world was never in heavy contact.
    """
    for name, value, least in (("num_envs", num_envs, 2), ("repeats", repeats, 2), ("horizon", horizon, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}; expected at least {least}")
    if not branches or min(branches) < 1:
        raise ValueError(f"branches is {tuple(branches)}; expected numbers of at least 1")
    facts = machine()
    options = dict(STIFF if task_options is None and task == "ant" else task_options or {})
    options["dtype"] = "float64"
    generator = torch.Generator().manual_seed(seed)
    start = _in_contact(diffsim_core.make(task, num_envs=num_envs, **options), generator, seed)
    many: Any = diffsim_core.make(task, num_envs=num_envs * repeats, **options)
    start = tree_map(lambda x: x.repeat_interleave(repeats, 0) if x.ndim else x, start)
    actions = _random(generator, (horizon, num_envs, many.spec.num_actions)).repeat_interleave(repeats, 1)
    plain, _ = _gradients(many, start, actions)
    found, shares = {}, {}
    for k, n in enumerate(branches):
        progress(f"bundles of {n}", k / len(branches))
        env = BundledEnv(many, Bundle(branches=n))
        begin = start._replace(task=env.memory(start))
        gradients, shares[n] = _gradients(env, begin, actions)
        found[n] = gradients.reshape(num_envs, repeats, -1)
    return {
        "benchmark": "bundles",
        "task": task,
        "task_options": options,
        "bundle": {name: value for name, value in vars(Bundle()).items() if name != "branches"},
        "num_envs": num_envs,
        "repeats": repeats,
        "horizon": horizon,
        "seed": seed,
        "plain_variance": float(plain[::repeats].var(axis=0, ddof=1).sum()),
        "bundled": shares[branches[0]],
        "rows": rows_of(found, seed=seed),
        "machine": facts,
        "versions": versions(),
    }


def rows_of(gradients: Mapping[int, np.ndarray[Any, Any]], *, seed: int = 0) -> list[dict[str, Any]]:
    """Variances of gradients ``[worlds, repeats, P]`` for each number of branches, all sums over ``P``.

    ``within`` is the mean over worlds of the variance over perturbations, ``between`` the variance over worlds of the
    expected gradients, without the share of the finite number of perturbations in it, and ``total`` their sum.
    ``ratio`` is ``within`` of the first row over that of this one, with a 95 % interval by resampling worlds, and
    ``theory`` what the law says. ``predicted`` is the total of the law, from ``within`` of the first row and the mean
    of ``between`` over all rows, at least 0.
    """
    rng = np.random.default_rng(seed)
    within = {n: x.var(axis=1, ddof=1).sum(-1) for n, x in gradients.items()}
    rows: list[dict[str, Any]] = []
    first = next(iter(gradients))
    worlds = len(within[first])
    picked = rng.integers(0, worlds, (_RESAMPLED, worlds))
    for n, x in gradients.items():
        own = float(within[n].mean())
        between = float(x.mean(axis=1).var(axis=0, ddof=1).sum()) - own / x.shape[1]
        resampled = within[first][picked].mean(1) / within[n][picked].mean(1)
        low, high = np.quantile(resampled, [0.025, 0.975])
        lengths = np.linalg.norm(x, axis=-1)
        rows.append(
            {
                "branches": n,
                "within": own,
                "between": between,
                "total": own + between,
                "ratio": float(within[first].mean()) / own,
                "ratio_low": float(low),
                "ratio_high": float(high),
                "ratio_median": float(np.median(within[first] / within[n])),
                "theory": n / first,
                "length_median": float(np.median(lengths)),
                "length_max": float(lengths.max()),
            }
        )
    floor = max(0.0, float(np.mean([row["between"] for row in rows])))
    return [{**row, "predicted": floor + rows[0]["within"] * first / row["branches"]} for row in rows]


def bundles_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench bundles`` without ``--json``."""
    rows = [
        (
            str(row["branches"]),
            magnitude(row["within"]),
            f"{rounded(row['ratio'])} ({rounded(row['ratio_low'])} to {rounded(row['ratio_high'])})",
            rounded(row["theory"]),
            magnitude(row["total"]),
            magnitude(row["predicted"]),
            f"{magnitude(row['length_median'])}, {magnitude(row['length_max'])}",
        )
        for row in report["rows"]
    ]
    head = ("branches", "within a world", "lower by (95 %)", "theory", "total", "theory", "length: median, largest")
    lines = [
        f"{report['task']}: {count(report['num_envs'], 'world')} of {count(report['repeats'], 'perturbation')}, "
        f"windows of {count(report['horizon'], 'step')}; variance over plain worlds "
        f"{magnitude(report['plain_variance'])}",
        describe(report["machine"]),
        "",
        table(head, rows),
    ]
    return "\n".join(lines)


def _random(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return 2 * torch.rand(shape, generator=generator, dtype=torch.float64) - 1


def _in_contact(env: Any, generator: torch.Generator, seed: int) -> EnvState:
    """Every world at a step in which it is in heavy contact, under random actions."""
    bundled = BundledEnv(env, Bundle(branches=1))
    state, _ = env.reset(seed)
    chosen, found = state, torch.zeros(env.num_envs, dtype=torch.bool)
    with torch.no_grad():
        for _ in range(_LATEST):
            now = torch.from_numpy(bundled.heavy(state)) & (state.t >= _EARLY) & ~found
            chosen = _where(now, state, chosen)
            found |= now
            if bool(found.all()):
                return chosen
            state, _ = env.step(state, _random(generator, (env.num_envs, env.spec.num_actions)))
    missing = int((~found).sum())
    raise ValueError(f"{missing} of {env.num_envs} worlds were never in heavy contact in {_LATEST} random steps")


def _where(now: Tensor, new: EnvState, old: EnvState) -> EnvState:
    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(now.reshape(-1, *[1] * (a.ndim - 1)), a, b) if a.ndim else a

    return tree_map(pick, new, old)


def _gradients(env: Any, state: EnvState, actions: Tensor) -> tuple[np.ndarray[Any, Any], float]:
    """Gradient ``[N, T na]`` of each world's rewards up to its end, by its actions; and the share of bundled steps."""
    leaf = actions.clone().requires_grad_()
    total, going = torch.zeros((), dtype=actions.dtype), torch.ones(env.num_envs, dtype=torch.bool)
    share = 0.0
    for action in leaf.unbind(0):
        state, step = env.step(state, action)
        total = total + torch.where(going, step.reward, 0.0).sum()
        going = going & ~(step.terminated | step.truncated)
        if "bundled" in step.metrics:
            share += float(step.metrics["bundled"].mean()) / len(actions)
    (grad,) = torch.autograd.grad(total, leaf)
    return grad.transpose(0, 1).flatten(1).numpy(), share
