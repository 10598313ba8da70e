"""What bodies must do: conserve, fall, vibrate, yield, rest."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from diffsim_mpm._probe import MaterialProbe
from diffsim_mpm.chain import Joint, KinematicChain
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.model import MpmBody, MpmModel
from diffsim_mpm.shapes import Box

from .host import block, box, some_model, step

NO_GRAVITY = {"gravity": (0.0, 0.0, 0.0)}


def run(dynamics, state, steps):
    for _ in range(steps):
        state, ok = step(dynamics, state)
        assert ok.all()
    return state


def momenta(model, state):
    """Linear and angular momentum of each world; the velocity gradients carry some of the latter."""
    m, x, v = model.masses[:, None], np.asarray(state.x, float), np.asarray(state.v, float)
    C = np.asarray(state.C, float)
    spin = np.stack([C[..., 2, 1] - C[..., 1, 2], C[..., 0, 2] - C[..., 2, 0], C[..., 1, 0] - C[..., 0, 1]], axis=-1)
    return (m * v).sum(axis=1), (m * (np.cross(x, v) + model.dx**2 / 4 * spin)).sum(axis=1)


@pytest.mark.parametrize("material", ["fixed_corotated", "von_mises"])
def test_a_tumbling_block_keeps_its_momentum(material):
    model = some_model(block(material=material, parameters={"E": 1e4}, count=(5, 6, 7)), cells=20, **NO_GRAVITY)
    dynamics = MpmDynamics(model, dt=1e-2, substeps=50, threads=1)
    state = dynamics.rest()
    w, velocity = np.array([2.0, -3.0, 4.0]), np.array([0.3, 0.5, 0.7])
    arm = state.x - state.x.mean(axis=1, keepdims=True)
    turning = np.cross(np.eye(3), -w)
    state = state._replace(v=velocity + np.cross(w, arm), C=np.broadcast_to(turning, state.C.shape))
    p, L = momenta(model, state)
    after = run(dynamics, state, 20)  # 1000 sub-steps
    p_after, L_after = momenta(model, after)
    assert np.abs(p_after - p).max() < 1e-5 * np.abs(p).max()
    assert np.abs(L_after - L).max() < 1e-5 * np.abs(L).max()
    assert np.abs(after.F - np.eye(3)).max() > 0.3  # it has turned


def test_free_fall_until_it_hits_the_ground():
    """x falls by g t^2 / 2 and the integrator's g t dt / 2; then the ground, within a cell of where it is drawn."""
    cells, g, height = 32, 9.81, 0.4
    body = block(low=(0.4, 0.4, height), size=(0.15, 0.15, 0.1), count=(6, 6, 4), parameters={"E": 2e4})
    model = some_model(body, cells=cells)
    dynamics = MpmDynamics(model, dt=1e-3, substeps=2, dtype="float64", threads=1)
    state, start, lowest = dynamics.rest(), dynamics.rest().x, model.particles[:, 2].min()
    first, last = (math.sqrt(2 * (lowest - at / cells) / g) for at in (3.5, 2.5))
    for k in range(1, 1000):
        t = 1e-3 * k
        state, ok = step(dynamics, state)
        assert ok.all()
        if t < first - 1e-3:
            assert state.x - start == pytest.approx(
                np.broadcast_to([0, 0, -g * t * (t + 5e-4) / 2], start.shape), abs=1e-12
            )
        if (state.v[..., 2].mean() + g * t) > 0.01 * g * t:
            assert first < t < last
            return
    raise AssertionError("it never hit the ground")


def alone(dt, E=1e3, nu=0.3, rho=1000.0, dx=0.1):
    model = MpmModel(
        bodies=[MpmBody(name="p", particles=[(0.5, 0.52, 0.47)], volume=1e-4, density=rho, material="neo_hookean",
                        parameters={"E": E, "nu": nu})],
        cells=(10, 10, 10), dx=dx, **NO_GRAVITY,
    )  # fmt: skip
    return MpmDynamics(model, dt=0.1, substeps=round(0.1 / dt), dtype="float64", threads=1)


def test_order_of_convergence():
    """A particle alone obeys dF/dt = C F, dC/dt = -4 tau / (rho dx^2): semi-implicit Euler is of first order."""
    E, nu, rho, dx = 1e3, 0.3, 1000.0, 0.1
    probe = MaterialProbe("neo_hookean")
    F = np.array([[1.1, 0.05, 0.0], [-0.02, 0.95, 0.1], [0.03, 0.0, 1.02]])

    def rate(y):
        tau = probe.stress(y[0][None], np.array([E, nu])).tau[0]
        return np.stack([y[1] @ y[0], -4 / (rho * dx**2) * tau])

    y, steps = np.stack([F, np.zeros((3, 3))]), 400
    for _ in range(steps):  # Runge-Kutta, as the truth
        h = 0.1 / steps
        a = rate(y)
        b = rate(y + h / 2 * a)
        c = rate(y + h / 2 * b)
        y = y + h / 6 * (a + 2 * b + 2 * c + rate(y + h * c))
    errors = []
    for dt in (1e-3, 5e-4, 2.5e-4, 1.25e-4):
        dynamics = alone(dt)
        out = run(dynamics, dynamics.rest()._replace(F=F[None, None]), 1)
        errors.append(np.abs(np.asarray(out.F[0, 0]) - y[0]).max())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert orders == pytest.approx(1.0, abs=0.05)


def test_a_bar_vibrates_at_the_speed_of_sound():
    """The first longitudinal mode of a free bar: half a wave, so its period is 2 L / sqrt(E / rho)."""
    E, rho, length, cells = 1e4, 1000.0, 0.6, 40
    body = block(low=(0.2, 0.45, 0.45), size=(length, 0.1, 0.1), count=(48, 8, 8), parameters={"E": E, "nu": 0.0})
    model = some_model(body, cells=cells, **NO_GRAVITY)
    dynamics = MpmDynamics(model, dt=2e-3, substeps=4, threads=1)
    state = dynamics.rest()
    mode = np.cos(np.pi * (state.x[..., 0] - 0.2) / length)
    state = state._replace(v=0.01 * mode[..., None] * np.array([1.0, 0, 0]))
    period = 2 * length / math.sqrt(E / rho)
    swing = [1.0]
    for _ in range(round(1.1 * period / dynamics.dt)):
        state = run(dynamics, state, 1)
        swing.append(float((state.v[..., 0] * mode).mean() / 0.005))
    zeros = [k + a / (a - b) for k, (a, b) in enumerate(pairwise(swing)) if a * b < 0]
    found = 2 * (zeros[1] - zeros[0]) * dynamics.dt
    assert found == pytest.approx(period, rel=0.02)


def test_a_plasticine_cylinder_yields():
    """Squeezed between clamps, in its middle the mean axial stress becomes sqrt(3/2) times the yield stress."""
    E, nu, yield_stress, cells, R, H, clamp = 2e4, 0.3, 500.0, 32, 0.08, 0.4, 0.08
    side = 0.5 / cells
    rows, layers = np.arange(-5, 6) * side, round(H / side)
    x = np.stack(np.meshgrid(rows, rows, (np.arange(layers) + 0.5) * side, indexing="ij"), axis=-1).reshape(-1, 3)
    x = x[(x[:, :2] ** 2).sum(axis=1) < R**2] + [0.5, 0.5, 0.3]
    press = KinematicChain(
        joints=(Joint(name="press", kind="slide", axis=(0, 0, -1), pos=(0.5, 0.5, 0.3 + H)),),
        shapes=(
            Box(half_sizes=(0.2, 0.2, clamp), pos=(0.5, 0.5, 0.3), friction=99.0, softness=0.0),
            Box(joint="press", half_sizes=(0.2, 0.2, clamp), friction=99.0, softness=0.0),
        ),
    )
    parameters = {"E": E, "nu": nu, "yield_stress": yield_stress}
    dough = MpmBody(
        name="dough", particles=x, volume=side**3, density=1000.0, material="von_mises", parameters=parameters
    )
    model = MpmModel(bodies=[dough], cells=(cells,) * 3, dx=1 / cells, shapes=press, **NO_GRAVITY)
    dynamics = MpmDynamics(model, dt=2e-3, substeps=1, threads=1)
    state, probe = dynamics.rest(), MaterialProbe("von_mises")
    push = np.array([[0.1 * (H - 2 * clamp) * dynamics.dt]])
    axial = []
    for k in range(300):
        state, ok = step(dynamics, state, push)
        assert ok.all()
        if k in (80, 260, 280, 299):
            middle = np.abs(state.x[0, :, 2] - state.x[0, :, 2].mean()) < 0.06
            axial.append(probe.stress(state.F[0, middle], np.array([E, nu, yield_stress])).tau[:, 2, 2].mean())
    assert axial[0] == pytest.approx(-E * 81 * 0.1 * dynamics.dt, rel=0.1)  # still elastic
    assert np.array(axial[1:]) == pytest.approx(-math.sqrt(1.5) * yield_stress, rel=0.03)


def test_a_table_carries_the_weight_of_what_lies_on_it():
    """Its mean force is m g, and its mean torque is that of m g in the middle of the block."""
    table = KinematicChain(joints=(), shapes=(Box(half_sizes=(0.3, 0.3, 0.05), pos=(0.5, 0.4, 0.25), friction=0.5),))
    body = block(low=(0.5, 0.45, 0.31), count=(8, 8, 8), parameters={"E": 1e5, "nu": 0.3})
    model = some_model(body, cells=20, shapes=table)
    dynamics = MpmDynamics(model, dt=1e-2, substeps=20, threads=1, reactions=True)
    state, felt = run(dynamics, dynamics.rest(), 40), []
    for _ in range(40):
        state = run(dynamics, state, 1)
        felt.append(state.wrench[0, 0])
    force, torque = np.split(np.mean(felt, axis=0), 2)
    weight = 9.81 * model.masses.sum()
    assert force == pytest.approx([0, 0, -weight], abs=0.01 * weight)
    arm = state.x[0].mean(axis=0) - [0.5, 0.4, 0.25]
    assert torque[:2] == pytest.approx([-arm[1] * weight, arm[0] * weight], abs=0.01 * weight)


def test_water_at_rest_has_hydrostatic_pressure():
    """Pressure rises with depth by rho g, and the water's surface stays where it was filled up to."""
    cells, dx, rho, g, depth = (9, 9, 30), 1 / 32, 1000.0, 9.81, 0.5
    width = 5 * dx
    x = box((2 * dx,) * 3, (width, width, depth), (10, 10, 32))
    parameters = {"bulk_modulus": 2e5, "viscosity": 50.0}
    body = MpmBody(
        name="water", particles=x, volume=(dx / 2) ** 3, density=rho, material="fluid", parameters=parameters
    )
    dynamics = MpmDynamics(MpmModel(bodies=[body], cells=cells, dx=dx), dt=5e-3, substeps=5, threads=1)
    probe, row = MaterialProbe("fluid"), np.array([2e5, 7.0, 50.0])
    state, pressure = run(dynamics, dynamics.rest(), 200), []
    for _ in range(20):
        state = run(dynamics, state, 10)
        tau = probe.stress(state.F[0], row).tau
        pressure.append(-np.trace(tau, axis1=1, axis2=2) / 3 / np.linalg.det(state.F[0]))
    z, p = state.x[0, :, 2], np.mean(pressure, axis=0)
    inside = (z > z.min() + 3 * dx) & (z < z.max() - 3 * dx)
    slope, at_zero = np.polyfit(z[inside], p[inside], 1)
    assert slope == pytest.approx(-rho * g, rel=0.03)
    assert -at_zero / slope == pytest.approx(2 * dx + depth, abs=dx)


def heap(slope, friction_angle):
    """A ridge of sand with sides of this slope [degrees], on ground that holds on to it."""
    dx, width = 1 / 32, 0.8
    height = width / 2 * math.tan(math.radians(slope))
    x = box((0.6, 2.5 * dx, 2.5 * dx), (width, 2 * dx, height), (51, 4, round(64 * height)))
    x = x[x[:, 2] - 2.5 * dx < height - np.abs(x[:, 0] - 1) * math.tan(math.radians(slope))]
    parameters = {"E": 2e5, "nu": 0.3, "friction_angle": math.radians(friction_angle)}
    body = MpmBody(
        name="sand", particles=x, volume=(dx / 2) ** 3, density=1500.0, material="drucker_prager", parameters=parameters
    )
    return MpmModel(bodies=[body], cells=(64, 7, 24), dx=dx, ground_friction=math.inf)


def slope_of(model, x):
    """Slope of a ridge's sides [degrees], by a line through the highest particles of its columns."""
    dx = model.dx
    middles = np.arange(-0.3, 0.3, dx)
    middles = middles[np.abs(middles) > 2.5 * dx]
    tops = [x[np.abs(x[:, 0] - 1 - at) < dx / 2, 2].max() for at in middles]
    return math.degrees(math.atan(-np.polyfit(np.abs(middles), tops, 1)[0]))


def test_sand_comes_to_rest_at_its_angle_of_repose():
    """A ridge that is steeper than the angle of friction slides until it is not; one that is flatter stays."""
    for slope, angle, low, high in ((40, 20, 15, 20), (22, 30, 19, 22)):
        model = heap(slope, angle)
        dynamics = MpmDynamics(model, dt=5e-3, substeps=5, threads=1)
        state = run(dynamics, dynamics.rest(), 250)
        assert low < slope_of(model, state.x[0]) < high
        assert np.sqrt((state.v**2).sum(axis=-1).mean()) < 0.01  # at rest
