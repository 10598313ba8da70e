"""Draws docs/figures/traffic-ring.png: ``python docs/figures/draw/traffic.py``."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import matplotlib as mpl
import torch

import diffsim_core
from diffsim_traffic import plot_space_time, record_scene

mpl.use("Agg")
env = diffsim_core.make("ring", num_envs=1)
a, b, T, s0, v0 = env.task.drivers[0].tolist()


def like_everybody(obs: torch.Tensor) -> torch.Tensor:
    """The Intelligent Driver Model, from the gap ahead and both speeds."""
    gap = obs[:, :1] * env.task.mean_gap
    v, lead = (obs[:, k : k + 1] * env.task.uniform_speed for k in (22, 43))
    wish = s0 + torch.clamp(v * T + v * (v - lead) / (2 * math.sqrt(a * b)), min=0)
    return (a * (1 - (v / v0) ** 4 - (wish / gap) ** 2)).clamp(-1, 1)


scene = record_scene(env, like_everybody, 1700)
every = slice(None, None, 5)
thinned = {name: getattr(scene, name)[every] for name in ("x", "v", "y", "psi")}
figure = plot_space_time(dataclasses.replace(scene, dt=scene.dt * 5, **thinned)).get_figure()
assert figure is not None
figure.savefig(Path(__file__).parents[1] / "traffic-ring.png", dpi=80, metadata={"Software": None})
