"""Muscles in the engine: against the twin, against central differences, and by conservation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.muscles import HillConstants, Unit, muscles_of

from .host import buffer, random_states, step, vjp
from .trees import TreeOptions, random_tree


def random_hill(rng, length):
    """Constants that put a unit of about this length anywhere on its curves."""
    low, high = sorted(rng.uniform(0.4, 1.6, 2) * length)
    return HillConstants(
        length_low=low,
        length_high=high + 0.2 * length,
        range_low=rng.uniform(0.5, 0.9),
        range_high=rng.uniform(1.0, 1.4),
        force=rng.uniform(1, 20),
        lmin=rng.uniform(0.3, 0.6),
        lmax=rng.uniform(1.4, 1.8),
        vmax=rng.uniform(0.8, 3),
        fpmax=rng.uniform(0.5, 1.5),
        fvmax=rng.uniform(1.1, 1.6),
        tau_act=rng.uniform(0.01, 0.05),
        tau_deact=rng.uniform(0.03, 0.08),
        tau_smooth=rng.choice([0.0, 0.3]),
    )


def with_muscles(model, seed, number=6, world=True):
    """The model with units of both kinds through random points; some ends are fixed to the world."""
    rng = np.random.default_rng(seed)
    units = []
    for i in range(number):
        links = rng.integers(-1 if world else 0, model.nl, size=rng.integers(2, 5))
        points = rng.normal(size=(len(links), 3)) * 0.3
        scales = rng.choice([1.0, 0.5], size=len(links) - 1)
        pairs = zip(links[:-1], points[:-1], links[1:], points[1:], scales, strict=True)
        segments = [(int(a), p, int(b), q, float(s)) for a, p, b, q, s in pairs]
        gear = -rng.uniform(0.5, 2)
        if rng.random() < 0.5:
            unit = Unit(f"pull{i}", model.nu + i, 5 * gear, segments)
        else:
            probe = dataclasses.replace(model, muscles=muscles_of([Unit("", 0, 1.0, segments)]))
            kin = twin.kinematics(probe, model.q_ref)
            length = float(twin.muscle_lengths(probe, kin)[0])
            unit = Unit(f"hill{i}", model.nu + i, -gear, segments, random_hill(rng, max(-gear * length, 0.05)))
        units.append(unit)
    return dataclasses.replace(
        model,
        muscles=muscles_of(units),
        actuator_dof=np.append(model.actuator_dof, np.zeros(number, np.int64)),
        actuator_gear=np.append(model.actuator_gear, np.zeros(number)),
        actuator_range=np.concatenate([model.actuator_range, np.tile([0.0, 1.0], (number, 1))]),
        actuator_name=(*model.actuator_name, *(unit.name for unit in units)),
    )


def random_muscle_states(model, n, seed):
    """As ``random_states``, with activations; controls and activations also beyond [0, 1]."""
    q, qd, u = random_states(model, n, seed)
    rng = np.random.default_rng(seed + 1000)
    u[:, -model.muscles.n :] = rng.uniform(-0.2, 1.2, (n, model.muscles.n))
    return q, qd, u, rng.uniform(-0.1, 1.1, (n, model.na))


def dynamics(model, substeps=2, **options):
    return RigidDynamics(model, dt=1 / 60, substeps=substeps, dtype="float64", threads=1, **options)


def tree(seed, **options):
    return with_muscles(load_model(random_tree(seed, TreeOptions(**options))), seed)


@pytest.mark.parametrize("seed", range(40))
def test_the_engine_follows_the_twin(seed):
    m = tree(seed)
    q, qd, u, act = random_muscle_states(m, 5, seed)
    out = step(dynamics(m, substeps=3), q, qd, u, act)
    for i in range(5):
        expected = twin.control_step_with_muscles(m, q[i], qd[i], act[i], u[i], 1 / 60, 3)
        for found, value in zip((out.q[i], out.qd[i], out.act[i]), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9 * max(1, np.abs(value).max(initial=0)))


def test_parameters_and_activations_share_a_step():
    """Gradients of all five inputs; and the model's own values change nothing."""
    m = tree(3)
    plain, d = dynamics(m), dynamics(m, parameters=("link_mass:*", "gravity"))
    q, qd, u, act = random_muscle_states(m, 3, 3)
    params = np.tile(d.parameters.nominal, (3, 1))
    rng = np.random.default_rng(3)
    bars = [rng.standard_normal(a.shape) for a in (q, qd, act)]

    def run(*arrays):
        out = [np.full_like(a, np.nan) for a in arrays[:3]]
        ok, saved = np.zeros(3, np.int32), np.zeros(d.saved_size(3))
        given = [buffer(a) for a in arrays]
        d.step(given[:3], given[3:], [buffer(a) for a in out], buffer(ok), buffer(saved))
        return out, ok, saved

    inputs = [q, qd, act, u, params]
    out, ok, saved = run(*inputs)
    expected = step(plain, q, qd, u, act)
    for found, value in zip(out, (expected.q, expected.qd, expected.act), strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12)
    found = [np.full_like(a, np.nan) for a in inputs]
    given = [buffer(a) for a in inputs]
    d.vjp(given[:3], given[3:], buffer(ok), buffer(saved), [buffer(b) for b in bars], [buffer(a) for a in found])
    scale = max(np.abs(a).max() for a in found)
    for k, x in enumerate(inputs):
        for j in range(x.shape[1]):
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in inputs]
                moved[k][:, j] += sign * 1e-6
                values.append(sum((a * b).sum(1) for a, b in zip(run(*moved)[0], bars, strict=True)))
            assert np.abs(found[k][:, j] - (values[0] - values[1]) / 2e-6).max() < 1e-6 * scale


def central_differences(d, arrays, bars, eps=1e-6):
    gradients = []
    for k, x in enumerate(arrays):
        g = np.zeros_like(x)
        for j in range(x.shape[1]):
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += sign * eps
                out = step(d, *moved)
                values.append(sum((a * b).sum(1) for a, b in zip((out.q, out.qd, out.act), bars, strict=True)))
            g[:, j] = (values[0] - values[1]) / (2 * eps)
        gradients.append(g)
    return gradients


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("seed", range(20))
def test_vjp_equals_central_differences(seed, memory):
    d = dynamics(tree(seed, plane=seed % 2 == 0), memory=memory)
    arrays = random_muscle_states(d.model, 3, seed)
    rng = np.random.default_rng(seed)
    q, qd, _, act = arrays
    bars = [rng.standard_normal(a.shape) for a in (q, qd, act)]
    found = vjp(d, *arrays[:3], bars[0], bars[1], act, bars[2])
    expected = central_differences(d, arrays, bars)
    scale = max(np.abs(e).max() for e in expected if e.size)
    for a, b in zip(found, expected, strict=True):
        assert a.size == 0 or np.abs(a - b).max() < 1e-6 * scale
