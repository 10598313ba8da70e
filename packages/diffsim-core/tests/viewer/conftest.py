"""Motions that several tests look at."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_core.viewer import Contacts, Motion, MusclePaths, Shape


def shape(name: str, kind: str, body: int, *size: float, pos: tuple[float, ...] = (0.0, 0.0, 0.0)) -> Shape:
    three = (*size, 0.0, 0.0)[:3]
    return Shape(
        name=name, type=kind, body=body, pos=pos, quat=(1.0, 0.0, 0.0, 0.0), size=three, rgba=(0.8, 0.4, 0.2, 1.0)
    )


def made_up(frames=120, worlds=3, bodies=4, muscles=2, contacts=2, seed=0) -> Motion:
    """A walk through space of bodies that tumble, with every shape and every extra."""
    rng = np.random.default_rng(seed)
    root = np.cumsum(rng.normal(scale=0.05, size=(frames, worlds, 1, 3)), axis=0) + [0, 0, 1]
    quaternion = np.cumsum(rng.normal(scale=0.1, size=(frames, worlds, bodies, 4)), axis=0) + [3.0, 0, 0, 0]
    kinds = ("sphere", "capsule", "box", "cylinder", "ellipsoid", "mesh")
    moving = [shape(f"part {b}", kinds[b % len(kinds)], b, 0.1, 0.2, 0.15) for b in range(bodies)]
    begins = rng.random((frames, worlds)) < 0.02
    begins[0] = True
    reward = rng.normal(size=(frames, worlds))
    value = np.where(rng.random((frames, worlds)) < 0.1, np.nan, 3.0)
    rows = np.arange(frames * worlds).repeat(contacts)
    segments = 2 * muscles
    return Motion(
        name="made up",
        dt=1 / 60,
        bodies=tuple(f"body {b}" for b in range(bodies)),
        shapes=(shape("ground", "plane", -1, 50, 50, 1), *moving),
        position=root + rng.uniform(-0.5, 0.5, (1, 1, bodies, 3)),
        quaternion=quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True),
        begins=begins,
        curves={"reward": reward, "value": value},
        muscles=MusclePaths(
            names=tuple(f"muscle {m}" for m in range(muscles)),
            width=np.full(muscles, 0.01),
            muscle=np.arange(muscles).repeat(2),
            body=rng.integers(-1, bodies, (segments, 2)),
            pos=rng.normal(scale=0.2, size=(segments, 2, 3)),
        ),
        activation=rng.random((frames, worlds, muscles)),
        contacts=Contacts(
            frame=rows // worlds,
            world=rows % worlds,
            point=rng.normal(size=(len(rows), 3)).astype(np.float32),
            force=rng.normal(scale=300, size=(len(rows), 3)).astype(np.float32),
        ),
    )


@pytest.fixture(scope="session")
def motion() -> Motion:
    return made_up()
