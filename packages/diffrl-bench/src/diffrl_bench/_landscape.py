"""``bench landscape``: what three estimators descend, in planes of the policy's parameters.

Figure 3 of Gao et al. 2024: landscapes of six random steps of a roll-out of 64 worlds, along two random directions of
the policy's parameters, for the simulation gradient (SG) and its adaptive mixtures with the policy gradient (PG) and
with the Q gradient (QG). The paper does not say what the surfaces are. Here each is the objective of one step whose
gradient the estimator is, the mean over the worlds at parameters ``theta``:

- SG: ``r + gamma Q(x', u')``, with ``u`` and ``u'`` from the policy of ``theta`` (Eq. 1);
- QG: ``Q(x, u)``, with ``u`` from it;
- PG: ``Q(x, mu) + w (Q(x, u) - Q(x, mu))`` with ``w = pi_theta(u | x) / pi(u | x)``, ``mu`` and ``u`` of the trained
  policy: the return that its samples predict. Its gradient at the trained policy is Appendix B's;
- SG+QG and SG+PG: ``alpha SG + (1 - alpha) QG`` or ``PG``, which is Eq. 4 for one step. ``alpha`` (Eq. 3) is that of
  the trained policy: in AGPO too it is a number, through which no gradient flows.

States, and the noise of the actions, are the same at all parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradest

from ._machine import describe, machine, versions
from ._single_steps import Gradients, Step, Trained, draw, gradients, open_trained, ratio, roll_out, simulate
from ._stopwatch import Progress, unseen
from ._text import count, magnitude, rounded, table

SURFACES = ("sg", "sg+pg", "sg+qg")


def bench_landscape(
    run: Path,
    *,
    steps: int = 128,
    num_envs: int = 64,
    panels: int = 6,
    points: int = 25,
    radius: float = 1.0,
    seed: int = 0,
    checkpoint: str = "last",
    progress: Progress = unseen,
) -> dict[str, Any]:
    """Landscapes of random steps of a roll-out.

    Args:
        run: run folder of AGPO in torch.
        steps: length of the roll-out [control steps].
        num_envs: worlds, at least 2.
        panels: random steps of it, each with directions of its own.
        points: points along each direction, an odd number, so that the trained policy is one of them.
        radius: distance from the trained policy to the edge of the plane, in the Euclidean norm of the parameters.
        seed: names the worlds, the noise, the steps and the directions.
        checkpoint: ``last``, ``best`` or an iteration.
        progress: told what is done.

    Returns:
        A report for JSON.

    Raises:
        RunError: ``run`` is not of AGPO in torch, or cannot be read.
        ValueError: a number is out of its range.
    """
    if not 1 <= panels <= steps:
        raise ValueError(f"panels is {panels}; expected 1 to {steps}, the steps of the roll-out")
    if points < 3 or points % 2 == 0:
        raise ValueError(f"points is {points}; expected an odd number from 3 on, so that the policy is one of them")
    if not 0.0 < radius < np.inf:
        raise ValueError(f"radius is {radius}; expected a finite number above 0")
    facts = machine()
    trained = open_trained(run, num_envs=num_envs, checkpoint=checkpoint)
    path = roll_out(trained, steps, seed=seed, progress=progress)
    rng = np.random.default_rng(seed)
    radii = np.linspace(-radius, radius, points).tolist()
    rows: list[dict[str, Any]] = []
    for k, at in enumerate(sorted(rng.choice(steps, panels, replace=False).tolist())):
        directions = gradest.random_directions(rng, trained.flat)
        told = _part(progress, k, panels)
        rows.append({"step": at, **surfaces(trained, path[at], directions, radii, told)})
    return {
        "benchmark": "landscape",
        "run": trained.about,
        "steps": steps,
        "num_envs": num_envs,
        "seed": seed,
        "radii": radii,
        "parameters_norm": float(trained.flat.norm()),
        "rows": rows,
        "machine": facts,
        "versions": versions(),
    }


@torch.no_grad()
def surfaces(
    trained: Trained,
    step: Step,
    directions: Tensor,
    radii: list[float],
    progress: Callable[[float], None] = lambda part: None,
) -> dict[str, Any]:
    """The surfaces of one step along ``directions [2, P]``, as rows of rows, and the ratios in them.

    ``slope`` is the gradient of SG at the trained policy along both directions, and ``difference`` the quotient of the
    differences of the two points next to it. Where they are far apart, the surface is rough between the points.
    Values that are not finite are None.
    """
    with torch.enable_grad():
        found, leaf = gradients(trained, step), trained.flat.detach().requires_grad_()
        (slope,) = torch.autograd.grad(objectives(trained, step, found)[0](leaf), leaf)
    alphas = {"alpha_pg": ratio(trained, found, found.pg), "alpha_qg": ratio(trained, found, found.qg)}
    count, done = len(radii) ** 2, 0

    def plane(objective: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        return gradest.landscape_plane(objective, trained.flat, directions, radii).double().numpy()

    of_sg, of_qg, of_pg = objectives(trained, step, found)

    def counted(flat: Tensor) -> Tensor:
        nonlocal done
        progress(done / count)
        done += 1
        return of_sg(flat)

    sg, pg, qg = plane(counted), plane(of_pg), plane(of_qg)
    values = {"sg": sg, "sg+pg": _mixed(alphas["alpha_pg"], sg, pg), "sg+qg": _mixed(alphas["alpha_qg"], sg, qg)}
    k, width = len(radii) // 2, radii[len(radii) // 2 + 1] - radii[len(radii) // 2 - 1]
    difference = np.array([sg[k + 1, k] - sg[k - 1, k], sg[k, k + 1] - sg[k, k - 1]]) / width
    slopes = {"slope": _numbers((directions @ slope).double().numpy()), "difference": _numbers(difference)}
    return {**alphas, **slopes, **{name: [_numbers(row) for row in surface] for name, surface in values.items()}}


def objectives(trained: Trained, step: Step, found: Gradients) -> tuple[Callable[[Tensor], Tensor], ...]:
    """The objectives of SG, QG and PG as functions of the actor's parameters; see the module."""
    behind = trained.policy(trained.flat, step.obs)
    u = draw(behind, step.eps)
    baseline = trained.q(step.obs, torch.tanh(behind.mean))
    advantage = trained.q(step.obs, torch.tanh(u)) - baseline
    before = behind.log_prob(u)

    def sg(flat: Tensor) -> Tensor:
        value, valid, _ = simulate(trained, step, flat, draw(trained.policy(flat, step.obs), step.eps))
        return value[valid & found.counts].mean()

    def qg(flat: Tensor) -> Tensor:
        action = torch.tanh(draw(trained.policy(flat, step.obs), step.eps))
        return trained.q(step.obs, action)[found.counts].mean()

    def pg(flat: Tensor) -> Tensor:
        weight = torch.exp(trained.policy(flat, step.obs).log_prob(u) - before)
        return (baseline + weight * advantage)[found.counts].mean()

    return sg, qg, pg


def landscape_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench landscape`` without ``--json``."""
    about, rows = report["run"], []
    for row in report["rows"]:
        found = [np.array(row[name], dtype=float) for name in SURFACES]
        spans = [float(np.nanmax(surface) - np.nanmin(surface)) for surface in found]
        slopes = (row["slope"][0], row["difference"][0])
        rows.append((str(row["step"]), *map(magnitude, (row["alpha_pg"], row["alpha_qg"], *spans, *slopes))))
    return "\n".join(
        [
            f"{about['algorithm']} on {about['task']}, iteration {about['iteration']:,}: "
            f"{count(len(rows), 'step')} of {count(report['num_envs'], 'world')}, "
            f"{len(report['radii'])} x {len(report['radii'])} points, up to {rounded(report['radii'][-1])} "
            f"from parameters of norm {rounded(report['parameters_norm'])}",
            describe(report["machine"]),
            "",
            table(
                ("step", "alpha, PG", "alpha, QG", "span of SG", "of SG+PG", "of SG+QG", "slope of SG", "of points"),
                rows,
            ),
            "",
            "slope of SG: its gradient along the first direction; of points: between the two next to the policy",
        ]
    )


def _mixed(alpha: float, first: np.ndarray[Any, Any], zeroth: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A mixture, in which a part without weight counts for nothing, even where it is not finite."""
    parts = [weight * part for weight, part in ((alpha, first), (1.0 - alpha, zeroth)) if weight]
    return np.sum(parts, axis=0)


def _numbers(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _part(progress: Progress, k: int, parts: int) -> Callable[[float], None]:
    """Progress of the ``k``-th of equal parts."""
    return lambda part: progress("landscapes", (k + part) / parts)
