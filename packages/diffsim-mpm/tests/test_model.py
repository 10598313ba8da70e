"""Bad input is refused before anything runs, with a message that says what and where."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diffsim_mpm._check_model import stable_sub_dt
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.model import MpmBody, MpmModel

from .host import block, box, some_model


def simulator(model, **options):
    return MpmDynamics(model, **{"dt": 1e-3, "substeps": 2, "threads": 1} | options)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"dx": 0.0}, "dx=0.0 must be positive metres"),
        ({"wall": 0}, "wall=0 must be at least 1 cell"),
        ({"cells": (16, 16, 6)}, "three numbers of at least 7"),
        ({"gravity": (0, 0, math.nan)}, "gravity="),
        ({"ground_friction": -1.0}, "ground_friction=-1.0"),
        ({"max_box": 10}, "max_box=10 must be at least 64 nodes"),
        ({"max_box": 100}, r"max_box=100 is too small for the bodies at rest, whose box has \d+ nodes"),
        ({"bodies": ()}, "there are no bodies"),
        ({"cells": (300, 300, 300), "dx": 1 / 300}, "set max_box"),
        ({"bodies": (block(), block())}, "two bodies are called 'block'"),
        ({"bodies": (block(particles=np.zeros((0, 3))),)}, r"particles have shape \(0, 3\); give at least one"),
        ({"bodies": (block(low=(0.9, 0.3, 0.3)),)}, "particles are outside of the grid"),
        ({"bodies": (block(volume=0.0),)}, "volume must be positive"),
        ({"bodies": (block(volume=[1e-3, 1e-3]),)}, r"volume has shape \(2,\); give one number, or 216"),
        ({"bodies": (block(density=-1.0),)}, r"density=-1.0 must be positive \[kg/m\^3\]"),
        ({"bodies": (block(material="doug"),)}, "unknown material 'doug'"),
        ({"bodies": (block(parameters={"nu": 0.5}),)}, "nu = 0.5 is out of range"),
        ({"bodies": (block(parameters={"Q": 0.5}),)}, "parameter of material 'fixed_corotated'"),
    ],
)
def test_refused_model(model, message):
    with pytest.raises(ValueError, match=message):
        simulator(MpmModel(**{"bodies": (block(),), "cells": (16, 16, 16), "dx": 1 / 16} | model))


def test_messages_name_the_first_offenders():
    x = box((0.3, 0.3, 0.3), (0.2, 0.2, 0.2), (3, 3, 3))
    x[4] = (0.1, 0.1, 1.5)
    x[9] = np.nan
    bodies = (MpmBody(name="dough", particles=x, volume=1e-4, density=1.0),)
    with pytest.raises(ValueError, match="body 'dough': 2 particles are outside") as raised:
        simulator(some_model(*bodies))
    assert "4 at [0.1, 0.1, 1.5]" in str(raised.value)
    assert "9 at [nan" in str(raised.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"dt": 0.0}, "dt=0.0 must be positive seconds"),
        ({"substeps": 0}, "substeps=0"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"threads": 0}, "threads=0"),
        ({"parameters": ("E:dogh",)}, "unknown parameter 'E:dogh'.*E:block"),
        ({"parameters": ("E", "E:block")}, "'E:block' is given twice"),
    ],
)
def test_refused_option(option, message):
    with pytest.raises(ValueError, match=message):
        simulator(some_model(), **option)


def test_refused_step_names_the_stable_one():
    """0.9 times that in which the fastest oscillation turns by 2: sqrt((3 lam + 2 mu) / rho) dt = dx."""
    E, nu, rho, cells = 1e6, 0.3, 1000.0, 16
    model = some_model(block(density=rho, parameters={"E": E, "nu": nu}), cells=cells)
    speed = math.sqrt(E / (1 - 2 * nu) / rho)
    stable, name = stable_sub_dt(model)
    assert name == "block"
    assert stable == pytest.approx(0.9 / cells / speed, rel=1e-4)
    with pytest.raises(ValueError, match=f"body 'block': stable are at most {stable:g} s; take more substeps"):
        simulator(model, dt=4 * stable, substeps=3)
    simulator(model, dt=4 * stable, substeps=4)


def test_state_outside_is_refused():
    dynamics = simulator(some_model())
    state = dynamics.rest(3)
    dynamics.check_state(state)
    state.x[2, 5] = (0.01, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"1 particles are outside.*\(2, 5\) at \[0.00999"):
        dynamics.check_state(state)


def test_names_of_parameters():
    model = some_model(block(), block(name="other", material="von_mises", parameters={"yield_stress": 50.0}))
    dynamics = simulator(model, parameters=("yield_stress", "E"))
    assert dynamics.parameters.names == ("yield_stress:other", "E:block", "E:other")
    assert dynamics.parameters.nominal.tolist() == [50.0, 5e3, 4e3]
    assert model.slice_of("other") == slice(216, 432)
