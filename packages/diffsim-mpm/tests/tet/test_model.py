"""What a model refuses, by name, and how long a stable sub-step is."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_mpm.tet import Contact, TetDynamics, TetModel, box

from .host import FREE, some_model, step, still

CUBE = box((1, 1, 1), (2, 2, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, r"density of 48 of 48 tetrahedra is not positive and finite: density\[0\]=0, .*"),
        ({"k_mu": np.where(np.arange(48) == 7, -2.0, 1.0)}, r"k_mu of 1 of 48 tetrahedra .* k_mu\[7\]=-2"),
        ({"k_lambda": np.nan}, "k_lambda of 48 of 48 tetrahedra is not positive and finite"),
        ({"k_lambda": 100.0}, "does not exceed k_mu / 8, .*: tetrahedron 0 has 100 and 1000, tetrahedron 1"),
        ({"k_damp": -1.0}, "k_damp of 48 of 48 tetrahedra is not at least 0"),
        ({"k_mu": [1.0, 2.0]}, r"k_mu has shape \(2,\); it must be one number, or 48"),
        ({"actuators": [0, 1]}, "actuators has shape"),
        ({"actuators": np.zeros(48)}, "actuators has shape .* of float64"),
        ({"actuators": np.arange(48) - 2}, "names the control -2"),
        ({"actuators": 2 * np.arange(48)}, "leaves out 47 controls below 94: 1, 3, 5, 7, 9; number them on"),
        ({"gravity": (0.0, -9.81)}, "gravity=.* must be 3 finite numbers"),
        ({"ground": np.inf}, "ground=inf must be a finite height"),
        ({"capsules": (0.1, 0.0)}, r"capsules\[1\]=0.0 must be a positive radius"),
    ],
)
def test_models_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TetModel(mesh=CUBE, **options)


@pytest.mark.parametrize("name", ["ke", "kd", "kf", "mu", "radius"])
def test_contact_that_makes_no_sense_is_refused(name):
    for value in (-1.0, np.nan):
        with pytest.raises(ValueError, match=rf"Contact.{name}={value}"):
            Contact(**{name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0}, "dt=0.0 must be positive"),
        ({"substeps": 0}, "substeps=0 must be at least 1"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"threads": 0}, "threads=0"),
        ({"memory": "none"}, "memory='none' must be 'fast' or 'low'"),
        ({"substeps": 2}, r"longer than the stable .* s; take substeps=\d+ or more"),
    ],
)
def test_steps_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TetDynamics(some_model(), **{"dt": 0.01, "substeps": 30, **options})


def test_the_substeps_that_a_refusal_names_are_enough():
    model = some_model()
    with pytest.raises(ValueError) as refusal:
        TetDynamics(model, dt=0.01, substeps=1)
    needed = int(str(refusal.value).split("substeps=")[-1].split()[0])
    TetDynamics(model, dt=0.01, substeps=needed)
    with pytest.raises(ValueError):
        TetDynamics(model, dt=0.01, substeps=needed - 1)


@pytest.mark.parametrize("k_damp", [0.0, 5.0])
def test_the_stable_step_is_stable_and_not_far_from_unstable(k_damp, monkeypatch):
    """A small random disturbance stays small at the estimate, and grows without bound at two and a half times it."""
    model = TetModel(mesh=CUBE, k_damp=k_damp, **FREE)
    random = np.random.default_rng(0)
    worlds = still(model, 4)
    worlds = worlds._replace(v=1e-6 * random.normal(size=worlds.x.shape))
    stable = model.stable_dt
    monkeypatch.setattr(TetModel, "stable_dt", np.inf)  # which a model works out for itself, and a step obeys
    del model.__dict__["stable_dt"]
    for factor, grows in ((0.99, False), (2.5, True)):
        dynamics = TetDynamics(model, dt=200 * factor * stable, substeps=200, dtype="float64")
        now = worlds
        for _ in range(10):
            now, ok = step(dynamics, now)
        assert grows == (not ok.all() or abs(now.x - worlds.x).max() > 1e-3)


def test_activations_are_shared_as_the_model_says():
    model = TetModel(mesh=CUBE, actuators=np.arange(48) // 2)
    assert model.num_controls == 24
    assert TetModel(mesh=CUBE).num_controls == 48
    assert TetModel(mesh=CUBE, actuators=np.full(48, -1)).num_controls == 0
    assert model.masses.sum() == pytest.approx(1.0)
    assert model.surface.shape == (48, 3)
