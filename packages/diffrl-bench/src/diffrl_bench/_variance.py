"""``bench variance``: how much three estimators' gradients vary from world to world, step by step.

Figure 2 of Gao et al. 2024. Above: the empirical variance over 64 worlds (Definition 3.1) of the gradients of each of
128 steps. Below: at one step of low and one of high variance of the simulation gradient, the return
``r + gamma Q(x', u')`` while a random policy is improved by simulation gradients, always from the same states.

The paper does not say which two steps it took, nor with what optimiser and noise. Ours are the steps with the smallest
and the largest variance, the run's own optimiser, and the noise of the roll-out throughout, so that the return changes
by the policy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import gradest
from diffrl_algos.torch._adam import Adam, Optimizer
from diffrl_algos.torch._gate import gate

from ._machine import describe, machine, versions
from ._single_steps import Gradients, Step, Trained, draw, gradients, open_trained, ratio, roll_out, simulate
from ._stopwatch import Progress, spread, unseen
from ._text import count, magnitude, rounded, table

ESTIMATORS = ("sg", "qg", "pg")


def bench_variance(
    run: Path,
    *,
    steps: int = 128,
    num_envs: int = 64,
    iterations: int = 100,
    seed: int = 0,
    checkpoint: str = "last",
    progress: Progress = unseen,
) -> dict[str, Any]:
    """Variances of the gradients of every step of a roll-out, and returns under ascent at two of them.

    Args:
        run: run folder of AGPO in torch.
        steps: length of the roll-out [control steps].
        num_envs: worlds, at least 2.
        iterations: steps of the ascent; 0 for none.
        seed: names the worlds, the noise and the random policy.
        checkpoint: ``last``, ``best`` or an iteration.
        progress: told what is done.

    Returns:
        A report for JSON.

    Raises:
        RunError: ``run`` is not of AGPO in torch, or cannot be read.
        ValueError: a number is out of its range, or no step has a variance.
    """
    if iterations < 0:
        raise ValueError(f"iterations is {iterations}; expected at least 0")
    facts = machine()
    trained = open_trained(run, num_envs=num_envs, checkpoint=checkpoint)
    path = roll_out(trained, steps, seed=seed, progress=progress)
    rows: list[dict[str, Any]] = []
    for k, step in enumerate(path):
        progress("gradients", k / steps)
        rows.append({"step": k, **_row(trained, gradients(trained, step))})
    known = [row for row in rows if row["sg"] is not None]
    if not known:
        raise ValueError("no step has two worlds that go on with finite gradients; train longer or choose another task")
    ends = {name: pick(known, key=lambda row: row["sg"]) for name, pick in (("low", min), ("high", max))}
    ascents = {
        name: {
            "step": row["step"],
            "variance": row["sg"],
            **ascend(
                trained,
                path[row["step"]],
                iterations,
                seed=seed,
                progress=lambda part, name=name: progress(f"ascent, {name} variance", part),
            ),
        }
        for name, row in (ends.items() if iterations else ())
    }
    return {
        "benchmark": "variance",
        "run": trained.about,
        "steps": steps,
        "num_envs": num_envs,
        "seed": seed,
        "node": "action before tanh",
        "rows": rows,
        "summary": {name: spread([row[name] for row in known]) for name in ESTIMATORS},
        "ascent": {"iterations": iterations, "lr": trained.config.actor_lr, **ascents},
        "machine": facts,
        "versions": versions(),
    }


def _row(trained: Trained, found: Gradients) -> dict[str, Any]:
    """Figures of one step, of the worlds that count: variances, median lengths, worlds whose SG is over ten times as
    long as the median, and ratios. Variances and lengths are None where there are fewer than two worlds."""
    worlds = int(found.counts.sum())
    # In double precision: squares of long gradients overflow in single.
    each = {name: getattr(found, name)[found.counts].double() for name in ESTIMATORS}
    lengths = {name: g.norm(dim=1) for name, g in each.items()}
    return {
        **{name: float(gradest.empirical_variance(g)) if worlds > 1 else None for name, g in each.items()},
        **{f"{name}_length": float(x.quantile(0.5)) if worlds > 1 else None for name, x in lengths.items()},
        "outliers": int((lengths["sg"] > 10.0 * lengths["sg"].quantile(0.5)).sum()) if worlds > 1 else 0,
        "alpha_qg": ratio(trained, found, found.qg),
        "alpha_pg": ratio(trained, found, found.pg),
        "worlds": worlds,
        "not_finite": found.not_finite,
    }


def ascend(
    trained: Trained, step: Step, iterations: int, *, seed: int, progress: Any = lambda part: None
) -> dict[str, Any]:
    """Improve a random policy by simulation gradients, from the states of one step.

    The objective is the mean over the worlds of ``r + gamma Q(x', u')``, with ``u`` and ``u'`` from the learning policy
    and the noise of ``step``. As in training, a world whose gradient is not finite does not count, and an iteration
    whose gradient is not finite changes nothing. Both are counted.

    Returns:
        ``returns [iterations + 1]``, before each iteration and at the end; ``lost_gradients``, of single worlds; and
        ``refused`` iterations.
    """
    c = trained.config
    generator = torch.Generator().manual_seed(seed)
    flat = trained.actor.init(generator, logstd=c.logstd_init).to(trained.flat)
    adam, optimizer = Adam.init(flat), Optimizer(c.betas, c.max_grad_norm, c.weight_decay)
    returns: list[float] = []
    lost_gradients = refused = 0
    for k in range(iterations + 1):
        progress(k / (iterations + 1))
        leaf = flat.detach().requires_grad_()
        blocked = torch.zeros_like(step.eps[:, 0]).requires_grad_()
        u = gate(draw(trained.policy(leaf, step.obs), step.eps), blocked)
        value, valid, _ = simulate(trained, step, leaf, u)
        objective = value[valid].mean()
        returns.append(float(objective.detach()))
        if k == iterations:
            break
        grad, lost = torch.autograd.grad(-objective, [leaf, blocked])
        lost_gradients += int(lost.sum())
        if not torch.isfinite(grad).all():
            refused += 1
            continue
        flat, adam, _ = optimizer.step(flat, adam, grad, c.actor_lr)
    finite = [value if math.isfinite(value) else None for value in returns]
    return {"returns": finite, "lost_gradients": lost_gradients, "refused": refused}


def variance_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench variance`` without ``--json``."""
    names = {"sg": "simulation gradient", "qg": "Q gradient", "pg": "policy gradient"}
    rows = [
        (
            names[name],
            *(magnitude(found[key]) for key in ("median", "min", "max")),
            magnitude(found["max"] / found["median"] if found["median"] else None),
        )
        for name, found in report["summary"].items()
    ]
    about, lost = report["run"], sum(row["not_finite"] for row in report["rows"])
    outliers = sum(row["outliers"] for row in report["rows"]) / len(report["rows"])
    lines = [
        f"{about['algorithm']} on {about['task']}, iteration {about['iteration']:,}: "
        f"{count(report['steps'], 'step')} of {count(report['num_envs'], 'world')}",
        describe(report["machine"]),
        "",
        table(("variance over worlds", "median", "smallest", "largest", "largest / median"), rows),
        "",
        f"worlds whose simulation gradient is over ten times as long as the median: {rounded(outliers)} in a step",
        f"gradients of single worlds that were not finite: {lost}",
    ]
    return "\n".join([*lines, *_ascent_lines(report["ascent"])])


def _ascent_lines(ascent: Mapping[str, Any]) -> Sequence[str]:
    return [
        f"ascent at step {found['step']} ({name} variance, {magnitude(found['variance'])}): return "
        f"{rounded(found['returns'][0])} to {rounded(found['returns'][-1])} in {ascent['iterations']} iterations"
        for name in ("low", "high")
        if (found := ascent.get(name))
    ]
