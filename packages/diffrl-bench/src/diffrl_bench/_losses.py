"""``bench losses``: what backpropagation through whole episodes descends, and what SHAC descends instead.

Figures 2, 11, 12 and 13 of Xu et al. 2022, for the policy of a run:

- the loss of an *episode*: minus the rewards of the steps of an episode, up to where the task ends it, without a
  discount, in the mean over steps and worlds. Its gradient is that of backpropagation through time (BPTT);
- the loss of a *window*: Eq. 5, by ``SHAC`` itself, of one window that begins where the policy is after some steps.

Both are drawn along one parameter and in the plane of two random directions. Worlds, starts and noise are the same at
all parameters, as the paper's are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import gradest
from diffrl_algos import RunError
from diffrl_algos._run import Run
from diffrl_algos._states import restore
from diffrl_algos.torch import SHAC
from diffrl_algos.torch._account import settings
from diffsim_core import require_memory

from ._machine import describe, machine, versions
from ._stopwatch import Progress, unseen
from ._text import count, magnitude, rounded, table
from ._two_losses import LOSSES, Losses, open_losses

QUANTILES = (0.5, 0.9, 0.99, 1.0)
"""Of the absolute entries of a gradient."""


@dataclass(frozen=True, kw_only=True)
class LossesBench:
    """What to evaluate; every number is checked."""

    steps: int | None = None
    """Control steps of an episode; None for the task's."""
    num_envs: int = 128
    """Worlds of a loss."""
    begin: int = 64
    """Control steps of the policy before the window."""
    points: int = 41
    """Along the parameter; odd, so that the policy is one of them."""
    plane: int = 15
    """Points along each direction of the plane, odd; 0 for no plane."""
    radius: float = 1.0
    """Distance from the policy to the ends of the line and of the plane."""
    weight: int | None = None
    """Index of the parameter; None for the one on which the loss of the window depends most."""
    graph_envs: int = 16
    """Worlds whose episodes are differentiated at a time; they divide ``num_envs``. 0 for no such gradient."""
    seed: int = 0
    """Names the worlds, the noise and the directions."""

    def __post_init__(self) -> None:
        for name, least in {"num_envs": 1, "begin": 0, "graph_envs": 0, "seed": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps is {self.steps}; expected at least 1")
        for name, value in (("points", self.points), ("plane", self.plane)):
            if (name, value) != ("plane", 0) and (value < 3 or value % 2 == 0):
                raise ValueError(f"{name} is {value}; expected an odd number from 3 on, so that the policy is a point")
        if not 0.0 < self.radius < math.inf:
            raise ValueError(f"radius is {self.radius}; expected a finite number above 0")
        if self.graph_envs and self.num_envs % self.graph_envs:
            raise ValueError(f"graph_envs is {self.graph_envs}; expected 0, or a divisor of num_envs, {self.num_envs}")


def bench_losses(
    run: Path, bench: LossesBench, *, checkpoint: str = "last", progress: Progress = unseen
) -> dict[str, Any]:
    """Evaluate both losses and their gradients around the policy of a run.

    Args:
        run: run folder of SHAC in torch.
        bench: what to evaluate.
        checkpoint: ``last``, ``best`` or an iteration.
        progress: told what is done.

    Returns:
        A report for JSON. ``line`` has both losses along the parameter ``weight``, and the slope of the window's there,
        by its gradient (``slope``) and by differences of neighbours (``difference``). ``plane`` has both losses in the
        plane, and ``gradients`` the sizes of their gradients at the policy.

    Raises:
        RunError: ``run`` is not of SHAC in torch, or cannot be read.
        ValueError: a number is out of its range, or the memory of a graph is larger than the machine's.
    """
    facts = machine()
    opened = Run.open(run)
    spec = opened.spec
    if spec.algorithm != SHAC.name or spec.entry.arrays != "torch":
        raise RunError(
            f"{run} was trained with {spec.algorithm} in {spec.entry.arrays}; this takes the policy and the target "
            f"critic of shac in torch: diffrl train shac {spec.task} --out RUN"
        )
    state, manifest = restore(opened, checkpoint)
    shac = spec.build()

    def losses(num_envs: int, seed: int) -> Losses:
        return open_losses(shac, state, spec.make_env(num_envs), steps=bench.steps, begin=bench.begin, seed=seed)

    with settings(spec.config):
        found = evaluate(losses, bench, progress)
    described = spec.to_json()
    about = {key: described[key] for key in ("algorithm", "task", "task_options", "seed")}
    return {
        "benchmark": "losses",
        "run": {**about, "iteration": manifest.iteration, "horizon": spec.config.horizon},
        "settings": vars(bench),
        "parameters": state.actor.numel(),
        "parameters_norm": float(state.actor.norm()),
        **found,
        "machine": facts,
        "versions": versions(),
    }


def evaluate(losses: Callable[[int, int], Losses], bench: LossesBench, progress: Progress = unseen) -> dict[str, Any]:
    """The line, the plane and the gradients, of the losses of ``(num_envs, seed)``."""
    whole = losses(bench.num_envs, bench.seed)
    theta = whole.actor
    window_grad, lost = whole.gradient("window", theta)
    weight = bench.weight
    if weight is None:
        weight = int(window_grad.nan_to_num().abs().argmax())
    if not 0 <= weight < theta.numel():
        raise ValueError(f"weight is {weight}; expected 0 to {theta.numel() - 1}, an index of the actor's parameters")
    found = {"gradients": {"window": sizes(window_grad, lost)}}
    if bench.graph_envs:
        found["gradients"]["episode"] = sizes(*_episode_gradient(losses, bench, progress))
    axis = torch.zeros_like(theta)
    axis[weight] = 1.0
    radii = np.linspace(-bench.radius, bench.radius, bench.points).tolist()
    line: dict[str, Any] = {"weight": weight, "radii": radii}
    for name in LOSSES:
        values = []
        for k, r in enumerate(radii):
            progress(f"line of the {name}", k / len(radii))
            values.append(whole.of(name, theta + r * axis))
        line[name] = _numbers(values)
        line[f"{name}_roughness"] = roughness(values)
    slopes = []
    for k, r in enumerate(radii):
        progress("slopes", k / len(radii))
        slopes.append(float(whole.gradient("window", theta + r * axis)[0][weight]))
    values = np.array(line["window"], dtype=float)
    line["slope"] = _numbers(slopes)
    line["difference"] = _numbers(np.gradient(values, radii[1] - radii[0]).tolist())
    plane = _plane(whole, bench, progress) if bench.plane else None
    return {**found, "line": line, "plane": plane}


def roughness(values: list[float]) -> float | None:
    """The length of the way up and down, as a multiple of the span: 1 for a slope, at most 2 for one valley or hill."""
    y = np.array(values, dtype=float)
    span = float(np.ptp(y))
    return float(np.abs(np.diff(y)).sum() / span) if np.isfinite(y).all() and span > 0 else None


def sizes(grad: Tensor, lost: float) -> dict[str, Any]:
    """How large the entries of a gradient are; ``lost`` is kept."""
    size = grad.detach().double().abs().cpu().numpy()
    finite = size[np.isfinite(size)]
    quantiles = np.quantile(finite, QUANTILES).tolist() if len(finite) else [None] * len(QUANTILES)
    powers = np.floor(np.log10(finite[finite > 0])).astype(int)
    return {
        "norm": float(np.linalg.norm(size)) if len(finite) == len(size) else None,
        "quantiles": dict(zip(map(str, QUANTILES), quantiles, strict=True)),
        "zero": int((size == 0).sum()),
        "not_finite": len(size) - len(finite),
        "powers_of_ten": {str(power): int((powers == power).sum()) for power in sorted(set(powers.tolist()))},
        "lost": lost,
    }


def losses_text(report: Mapping[str, Any]) -> str:
    """The text of ``bench losses`` without ``--json``."""
    about, chosen, line = report["run"], report["settings"], report["line"]
    rows = []
    for name in LOSSES:
        size = report["gradients"].get(name)
        values = [value for value in line[name] if value is not None]
        span = (min(values), max(values)) if values else (None, None)
        large = (size["norm"], size["quantiles"]["0.5"], size["quantiles"]["1.0"]) if size else (None,) * 3
        rows.append((name, *map(magnitude, (*span, line[f"{name}_roughness"], *large))))
    head = ("loss", "least", "largest", "roughness", "norm of gradient", "median entry", "largest entry")
    pairs = [(a, b) for a, b in zip(line["slope"], line["difference"], strict=True) if a is not None and b is not None]
    a, b = np.array(pairs).T if pairs else (np.zeros(0), np.zeros(0))
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    cosine = rounded(float(a @ b / norms), 4) if norms else "-"
    return "\n".join(
        [
            f"{about['algorithm']} on {about['task']}, iteration {about['iteration']:,}: "
            f"{count(chosen['num_envs'], 'world')}, windows of {about['horizon']} steps, "
            f"parameter {line['weight']:,} of {report['parameters']:,}, up to {rounded(chosen['radius'])} from it",
            describe(report["machine"]),
            "",
            table(head, rows),
            "",
            f"slope of the window's loss along the line: cosine of its gradient and of differences {cosine}",
            "roughness: way up and down over the span; 1 for a slope, at most 2 for one valley",
        ]
    )


def _episode_gradient(
    losses: Callable[[int, int], Losses], bench: LossesBench, progress: Progress
) -> tuple[Tensor, float]:
    """The mean over parts of ``graph_envs`` worlds; the first has the worlds of ``seed``."""
    parts: list[tuple[Tensor, float]] = []
    number = bench.num_envs // bench.graph_envs
    for k in range(number):
        progress("gradient of the episode", k / number)
        part = losses(bench.graph_envs, bench.seed + k)
        require_memory(part.state.env, len(part.eps))
        parts.append(part.gradient("episode", part.actor))
    grads, lost = zip(*parts, strict=True)
    return torch.stack(grads).mean(0), sum(lost) / number


def _plane(losses: Losses, bench: LossesBench, progress: Progress) -> dict[str, Any]:
    directions = gradest.random_directions(np.random.default_rng(bench.seed), losses.actor)
    radii = np.linspace(-bench.radius, bench.radius, bench.plane).tolist()
    plane: dict[str, Any] = {"radii": radii}
    for name in LOSSES:
        done = 0

        def counted(flat: Tensor, name: str = name) -> float:
            nonlocal done
            progress(f"plane of the {name}", done / bench.plane**2)
            done += 1
            return losses.of(name, flat)

        values = gradest.landscape_plane(counted, losses.actor, directions, radii).double().cpu().numpy()
        plane[name] = [_numbers(row) for row in values]
    return plane


def _numbers(values: Any) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
