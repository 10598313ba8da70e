"""Draws one stride of a trained ``humanoid_mtu`` and measures its gait: ``python docs/figures/draw/gait.py RUN``.

``RUN`` is a run folder. Writes ``docs/figures/gait.svg`` and prints a JSON object: speed, duration of a stride and
activation over the worlds that stay up. Muscles are drawn darker the more they are activated. Needs matplotlib and
diffrl-algos.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from robots import camera, hull, surface

from diffrl_algos import get_algorithm
from diffrl_algos._run import Run
from diffrl_algos._states import restore
from diffsim_core.rigid import RigidModel, twin

FIGURES = Path(__file__).parents[1]
STEPS, SETTLED, SEED, FRAMES = 600, 200, 12_345, 8
BONE, FAR, RELAXED, TENSE = "#efeae2", "#d5d0c8", np.array([0.85, 0.72, 0.66]), np.array([0.62, 0.05, 0.05])


def play(folder: Path) -> tuple[RigidModel, np.ndarray, np.ndarray, np.ndarray]:
    """The model; coordinates ``[T, N, nq]``, activations ``[T, N, 152]``, and which worlds never fell ``[N]``."""
    run = Run.open(folder)
    state, _ = restore(run, "last")
    env = state.env
    policy = get_algorithm(run.spec.algorithm).build(run.spec.config).policy(state, deterministic=True)
    world, obs = env.reset(SEED)
    up = np.ones(env.num_envs, dtype=bool)
    q, activation = [], []
    for _ in range(STEPS):
        action = policy(obs)
        world, transition = env.step(world, action)
        obs = transition.obs
        up &= ~transition.terminated.numpy()
        q.append(world.physics.q.numpy().copy())
        activation.append((action.clip(-1, 1).numpy() + 1) / 2)
    return env.task.dynamics.model, np.stack(q), np.stack(activation), up


def draw(axes: Axes, model: RigidModel, q: np.ndarray, activation: np.ndarray, at: float) -> None:
    """The legs from the right, the left one behind, moved to ``at`` along the strip."""
    kin, view = twin.kinematics(model, q), camera(0)
    shift = np.array([at - q[0], 0.0])
    order = sorted((g for g in model.geoms if g.link >= 0), key=lambda g: -kin.position[g.link][1])
    for geom in order:
        points, _ = surface(geom)
        local = geom.pos + points @ twin.rotation_matrix(geom.quat).T
        flat = (kin.position[geom.link] + local @ kin.rotation[geom.link].T) @ view[:2].T + shift
        color = FAR if geom.name.endswith("left") else BONE
        axes.add_patch(Polygon(hull(flat), facecolor=color, edgecolor="#555555", lw=0.5, zorder=2))
    muscles = model.muscles
    for i in range(muscles.n):
        if muscles.name[i].endswith("left"):
            continue
        for s in muscles.segments(i):
            ends = [
                (kin.position[link] + kin.rotation[link] @ pos) @ view[:2].T + shift
                for link, pos in zip(muscles.segment_link[s], muscles.segment_pos[s], strict=True)
            ]
            color = RELAXED + activation[i] * (TENSE - RELAXED)
            axes.plot(*zip(*ends, strict=True), color=color, lw=0.2 + abs(muscles.gear[i]) / 350, zorder=3)


def stride(q: np.ndarray, model: RigidModel) -> tuple[int, int]:
    """First and last step of a stride: the right thigh passes the left one forwards, twice."""
    dof = dict(zip(model.joint_name, model.joint_q, strict=True))
    swing = q[:, dof["femur_left"] + 2] - q[:, dof["femur_right"] + 2]  # y of the hips' quaternions
    passes = np.flatnonzero((swing[:-1] < 0) & (swing[1:] >= 0))
    passes = passes[passes > SETTLED]
    return int(passes[0]), int(passes[1])


def main(folder: Path) -> None:
    """Print the figures of the gait and draw one stride."""
    model, q, activation, up = play(folder)
    speed = (q[-1, up, 0] - q[SETTLED, up, 0]) * 60 / (STEPS - 1 - SETTLED)
    lengths = [np.diff(stride(q[:, world], model))[0] / 60 for world in np.flatnonzero(up)]
    world = np.flatnonzero(up)[int(np.argsort(speed)[len(speed) // 2])]
    first, last = stride(q[:, world], model)
    report = {
        "worlds": len(up),
        "worlds_up": int(up.sum()),
        "steps": STEPS,
        "speed_median_m_s": round(float(np.median(speed)), 3),
        "speed_range_m_s": [round(float(x), 3) for x in (speed.min(), speed.max())],
        "stride_median_s": round(float(np.median(lengths)), 3),
        "activation_mean": round(float(activation[SETTLED:, up].mean()), 4),
    }
    print(json.dumps(report))
    frames = np.linspace(first, last, FRAMES).round().astype(int)
    figure, axes = plt.subplots(figsize=(9.6, 2.3), layout="constrained")
    for k, t in enumerate(frames):
        draw(axes, model, q[t, world], activation[t, world], 0.95 * k)
        axes.text(0.95 * k, -0.16, f"{(t - first) / 60:.2f} s", ha="center", fontsize=8)
    axes.axhline(0, color="#333333", lw=0.8, zorder=1)
    axes.set(xlim=(-0.7, 0.95 * (FRAMES - 1) + 0.7), ylim=(-0.22, 1.25), aspect="equal")
    axes.axis("off")
    figure.savefig(FIGURES / "gait.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    plt.rcParams.update({"figure.facecolor": "white", "font.size": 9, "svg.hashsalt": "diffsim"})
    main(Path(sys.argv[1]))
