"""What ``diffrl bench mpm`` simulates: its settings, the scene, and our simulator of it, which needs NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_PEERS = ("fixed_corotated", "neo_hookean", "von_mises")
"""Materials of ``_warp_mpm.py``."""
WINDOW = 32
"""Worlds, and control steps, of the window whose memory is measured."""
_CLOUDS = ("disc", "cube")


@dataclass(frozen=True, kw_only=True)
class MpmBench:
    """Settings of the measurement. The comparison runs on one thread."""

    material: str = "fixed_corotated"
    cloud: str = "disc"
    """``"disc"``, the dough of HandFlip, or ``"cube"``, that of RollingPin."""
    num_particles: int = 2500
    num_envs: int = 2
    """Worlds of the comparison."""
    substeps: int = 40
    """Sub-steps of the comparison; Warp's memory is in proportion to them."""
    repeats: int = 9
    memory: bool = True
    """Measure the memory of a window of 32 worlds and 32 control steps of 40 sub-steps, which takes a minute."""

    def __post_init__(self) -> None:
        for name in ("num_particles", "num_envs", "substeps", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name, known in (("material", _PEERS), ("cloud", _CLOUDS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(known)}")


def cloud(kind: str, n: int, seed: int = 0) -> Any:
    """Particles of a dough on the ground, in a unit cube of 48 cells ``[n, 3]`` [m]."""
    import numpy as np

    random = np.random.default_rng(seed)
    if kind == "cube":
        return random.uniform([0.35, 0.35, 0.05], [0.65, 0.65, 0.175], (n, 3))
    r, angle = 0.1 * np.sqrt(random.uniform(size=n)), random.uniform(0, 2 * np.pi, n)
    z = 0.06 + random.uniform(-0.003, 0.003, n)
    return np.stack([0.5 + r * np.cos(angle), 0.5 + r * np.sin(angle), z], axis=1)


def engine(scene: Any, threads: int = 1) -> tuple[Any, Any]:
    """The simulator of a scene, and the state that it begins with, as NumPy arrays."""
    import numpy as np

    from diffsim_mpm.dynamics import MpmDynamics
    from diffsim_mpm.materials import MATERIALS
    from diffsim_mpm.model import MpmBody, MpmModel

    known = {"E": scene.E, "nu": scene.nu, "yield_stress": scene.yield_stress}
    names = MATERIALS[scene.material].parameter_names
    dough = MpmBody(
        name="dough",
        particles=scene.x[0],
        volume=scene.volume,
        density=scene.density,
        material=scene.material,
        parameters={name: known[name] for name in names},
    )
    model = MpmModel(bodies=[dough], cells=(scene.cells,) * 3, dx=1 / scene.cells, gravity=scene.gravity)
    dynamics = MpmDynamics(model, dt=scene.dt * scene.substeps, substeps=scene.substeps, threads=threads)
    rest = dynamics.rest(len(scene.x))._replace(x=scene.x, v=scene.v)
    return dynamics, [np.ascontiguousarray(array, dtype=np.float32) for array in rest]


def scene_of(bench: MpmBench, worlds: int, substeps: int) -> Any:
    import numpy as np

    from ._warp_mpm import Scene

    x = np.broadcast_to(cloud(bench.cloud, bench.num_particles), (worlds, bench.num_particles, 3))
    v = 0.1 * np.random.default_rng(1).standard_normal(x.shape)
    return Scene(x=x, v=v, material=bench.material, substeps=substeps)
