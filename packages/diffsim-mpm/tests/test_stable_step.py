"""The longest sub-step that is accepted is stable: materials, particles a cell, places between nodes, impacts."""

from __future__ import annotations

import math
from typing import Any

import pytest

from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.materials import MARGIN
from diffsim_mpm.stability import speed_after_impact

from .host import block, some_model, step

CASES: dict[str, tuple[str, dict[str, float]]] = {
    "fixed corotated, nu 0": ("fixed_corotated", {"E": 1e5, "nu": 0.0}),
    "fixed corotated, nu 0.45": ("fixed_corotated", {"E": 1e5, "nu": 0.45}),
    "fixed corotated, nu -0.3": ("fixed_corotated", {"E": 1e5, "nu": -0.3}),
    "Neo-Hookean": ("neo_hookean", {"E": 1e5, "nu": 0.3}),
    "Hencky": ("von_mises", {"E": 1e5, "nu": 0.3, "yield_stress": math.inf}),
    "plasticine": ("von_mises", {"E": 1e5, "nu": 0.2, "yield_stress": 1e3}),
    "sand": ("drucker_prager", {"E": 1e5, "nu": 0.3}),
    "water": ("fluid", {"bulk_modulus": 1e5, "gamma": 7.0}),
    "linear fluid": ("fluid", {"bulk_modulus": 1e5, "gamma": 1.0}),
    "oil": ("fluid", {"bulk_modulus": 1e5, "gamma": 1.0, "viscosity": 100.0}),
}
SHORT: dict[str, Any] = {"wide": 3, "crossings": 9}


@pytest.mark.parametrize("case", CASES)
def test_the_longest_accepted_sub_step_is_stable(case: str) -> None:
    """At rest, and in impacts up to a fifth of the speed of sound."""
    for per_cell in (1, 2):
        for mach in (0.0, 0.05, 0.2):
            found = speed_after_impact(*CASES[case], share=MARGIN, per_cell=per_cell, mach=mach, seed=per_cell, **SHORT)
            assert found < 2.5, (per_cell, mach)


@pytest.mark.parametrize("case", [case for case in CASES if case != "sand"])
def test_it_is_not_far_from_what_is_not(case: str) -> None:
    """Sub-steps 1.7 times as long as the stable ones without margin blow up; but for sand, which comes apart."""
    assert speed_after_impact(*CASES[case], share=1.7, per_cell=1, mach=0.05, **SHORT) > 1e3


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_particle_that_skips_a_cell_is_lost(where: str, monkeypatch: Any) -> None:
    """What depends on the velocity is seen when it happens: the world is masked, its state stays, the others go on."""
    if where == "cuda":
        monkeypatch.setattr(MpmDynamics, "_build", lambda self, _, build=MpmDynamics._build: build(self, True))
    dynamics = MpmDynamics(some_model(block(), gravity=(0, 0, 0)), dt=1e-4, substeps=1, dtype="float64", threads=1)
    state = dynamics.rest(3)
    cell = dynamics.model.dx / dynamics.sub_dt
    for world, speed in enumerate((0.99, 1.01, -1.01)):
        state.v[world] = (0.0, speed * cell, 0.0)
    out, ok = step(dynamics, state)
    assert ok.tolist() == [1, 0, 0]
    assert (out.x[1:] == state.x[1:]).all() and (out.x[0] != state.x[0]).any()
