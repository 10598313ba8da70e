"""Model parameters as inputs: against the twin with a changed model, against differences, and against bad input."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.dynamics import RigidDynamics
from diffsim_core.rigid.parameters import KINDS, Parameters

from .host import random_states
from .host import step as plain_step
from .models import MODELS, model
from .parametric import step, vjp
from .test_actuators import XML as SERVOS
from .trees import TreeOptions, random_tree

LAWS = [("paper", "paper"), ("released", "released")]
ALL = tuple(kind for kind in KINDS if kind != "link_density")


def present(m, kinds=ALL):
    """The kinds of which the model has any."""
    have = {name.split(":")[0] for name in Parameters.available(m)}
    return tuple(kind for kind in kinds if kind in have)


def drawn(parameters, n, seed, spread=0.2):
    """Parameters about the model's own; those that are zero there are small and positive, or small for any sign."""
    rng = np.random.default_rng(seed)
    # products of inertia small enough for an inertia that a body can have
    zero = [0.0005 if name.startswith("link_inertia") else 0.02 for name in parameters.names]
    around = np.where(parameters.nominal == 0, zero, parameters.nominal)
    return around * (1 + spread * rng.uniform(-1, 1, (n, len(parameters))))


def relative(found, expected):
    return np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300)


def assert_equals_twin(d, q, qd, params, u):
    out = step(d, q, qd, params, u)
    assert out.ok.all()
    for i in range(len(q)):
        m = d.parameters.apply(params[i])
        expected = twin.control_step(m, q[i], qd[i], u[i], d.dt, d.substeps)
        assert relative(out.q[i], expected[0]) < 1e-10
        assert relative(out.qd[i], expected[1]) < 1e-9


def assert_gradients_equal_differences(d, q, qd, params, u, seed, tolerance=1e-6):
    rng = np.random.default_rng(seed)
    cotangents = [rng.standard_normal(x.shape) for x in (q, qd)]
    found = vjp(d, q, qd, params, u, cotangents)

    def loss(*arrays):
        out = step(d, *arrays)
        assert out.ok.all()
        return sum((c * x).sum(1) for c, x in zip(cotangents, (out.q, out.qd), strict=True))

    arrays = [q, qd, params, u]
    for k, x in enumerate(arrays):
        expected = np.zeros_like(x)
        for j in range(x.shape[1]):
            # a parameter is of any size, and a control does little in so short a time
            h = (2e-5, 2e-5, 1e-4 * max(np.abs(x[:, j]).max(), 1e-1), 1e-2)[k]
            ends = []
            for by in (-2, -1, 1, 2):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += by * h
                ends.append(loss(*moved))
            expected[:, j] = (ends[0] - 8 * ends[1] + 8 * ends[2] - ends[3]) / (12 * h)
        if k == 2:  # each parameter by itself, on the scale of its effect
            size = np.maximum(np.abs(x), 1e-1)
            scale = np.abs(expected * size).max()
            for j, name in enumerate(d.parameters.names):
                error = np.abs((found[k] - expected)[:, j] * size[:, j]).max()
                assert error < tolerance * max(np.abs(expected[:, j] * size[:, j]).max(), 1e-3 * scale), name
        elif x.size:
            assert relative(found[k], expected) < tolerance
    return found[2]


@pytest.mark.parametrize("laws", LAWS)
@pytest.mark.parametrize("name", MODELS)
def test_control_step_equals_twin_of_the_changed_model(name, laws):
    m = model(name, *laws)
    d = RigidDynamics(m, dt=1 / 60, substeps=4, dtype="float64", parameters=present(m))
    q, qd, u = random_states(m, 9, seed=1)
    assert_equals_twin(d, q, qd, drawn(d.parameters, 9, seed=2), u)


@pytest.mark.parametrize("laws", LAWS)
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_every_kind_equal_differences(name, laws):
    m = model(name, *laws)
    d = RigidDynamics(m, dt=1e-3, substeps=3, dtype="float64", parameters=present(m), memory="low")
    q, qd, u = random_states(m, 4, seed=2, spread=0.2, speed=3.0)
    # to the ground, and fast enough to slip: only then does friction's coefficient matter
    axis, depth = {"free-ball-hinge": (2, 0.2), "planar-slides": (1, 0.4), "two-trees": (2, 0.0)}[name]
    q[:, axis] -= depth
    q[:, 0] += 0.01
    params = drawn(d.parameters, 4, seed=3)
    gradient = assert_gradients_equal_differences(d, q, qd, params, u, seed=5)
    zero = {name.split(":")[0] for name, column in zip(d.parameters.names, gradient.T, strict=True) if not column.any()}
    assert "contact_mu" not in zero or name == "two-trees"


@pytest.mark.parametrize("seed", range(12))
def test_random_trees(seed):
    m = load_model(random_tree(seed, TreeOptions(max_bodies=4, plane=seed % 2 == 0)))
    d = RigidDynamics(m, dt=1e-3, substeps=2, dtype="float64", parameters=present(m))
    q, qd, u = random_states(m, 3, seed)
    params = drawn(d.parameters, 3, seed)
    assert_equals_twin(d, q, qd, params, u)
    assert_gradients_equal_differences(d, q, qd, params, u, seed)


@pytest.mark.parametrize("law", ["paper", "released"])
def test_smoothed_contact(law):
    m = model("planar-slides", law)
    d = RigidDynamics(m, dt=1e-3, substeps=2, dtype="float64", parameters=present(m), contact_smoothing=0.02)
    q, qd, u = random_states(m, 4, seed=9, spread=0.2)
    q[:, 1] -= 0.2
    params = drawn(d.parameters, 4, seed=3)
    assert_equals_twin(d, q, qd, params, u)
    gradient = assert_gradients_equal_differences(d, q, qd, params, u, seed=2)
    assert gradient[:, [name.startswith("contact_kn") for name in d.parameters.names]].any()


def test_servos():
    m = load_model(SERVOS)
    names = ("actuator_gain", "actuator_damping", "link_density")
    d = RigidDynamics(m, dt=1 / 60, substeps=4, dtype="float64", parameters=names)
    assert [n for n in d.parameters.names if n.startswith("actuator_damping")] == [
        "actuator_damping:p", "actuator_damping:ps", "actuator_damping:g"
    ]  # fmt: skip
    q, qd, u = random_states(m, 4, seed=3)
    params = drawn(d.parameters, 4, seed=3)
    assert_equals_twin(d, q, qd, params, u)
    assert_gradients_equal_differences(d, q, qd, params, u, seed=1)


def test_a_position_servo_keeps_its_set_point():
    m = load_model(SERVOS)
    parameters = Parameters(m, ["actuator_gain:p", "actuator_gain:v"])
    changed = parameters.apply(3 * parameters.nominal)
    p, v = (list(m.servo_actuator).index(m.actuator_name.index(name)) for name in "pv")
    np.testing.assert_allclose(changed.servo_bias[p], m.servo_bias[p] * [1, 3, 1])
    np.testing.assert_allclose(changed.servo_bias[v], m.servo_bias[v] * [1, 1, 3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_models_own_values_give_the_models_own_motion(dtype):
    m = model("free-ball-hinge")
    d = RigidDynamics(m, dt=1 / 60, substeps=4, dtype=dtype, parameters=present(m))
    plain = RigidDynamics(m, dt=1 / 60, substeps=4, dtype=dtype)
    q, qd, u = random_states(m, 11, seed=4, dtype=dtype)
    params = np.tile(d.parameters.nominal.astype(dtype), (11, 1))
    out, expected = step(d, q, qd, params, u), plain_step(plain, q, qd, u)
    tolerance = 2e-5 if dtype == "float32" else 1e-13
    assert relative(out.q, expected.q) < tolerance
    assert relative(out.qd, expected.qd) < 20 * tolerance


def test_worlds_are_independent_and_runs_repeat():
    m = model("planar-slides", "released")
    one, four = (
        RigidDynamics(m, dt=1 / 60, substeps=16, dtype="float32", parameters=present(m), threads=t) for t in (1, 4)
    )
    q, qd, u = random_states(m, 203, seed=5, dtype="float32")
    params = drawn(one.parameters, 203, seed=6).astype("float32")
    cotangents = [np.ones_like(x) for x in (q, qd)]
    whole, gradient = step(one, q, qd, params, u), vjp(one, q, qd, params, u, cotangents)
    other = step(four, q, qd, params, u), vjp(four, q, qd, params, u, cotangents)
    assert np.array_equal(whole.q, other[0].q) and np.array_equal(gradient[2], other[1][2])
    part = slice(37, 50)
    arrays = [x[part].copy() for x in (q, qd, params, u)]
    assert np.array_equal(step(one, *arrays).qd, whole.qd[part])
    for a, b in zip(vjp(one, *arrays, [c[part].copy() for c in cotangents]), gradient, strict=True):
        assert np.array_equal(a, b[part])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_world_with_an_impossible_parameter_is_contained(bad):
    m = model("planar-slides")
    d = RigidDynamics(m, dt=1 / 60, substeps=16, dtype="float64", parameters=["link_mass:leg", "contact_mu"])
    q, qd, u = random_states(m, 5, seed=7)
    params = np.tile(d.parameters.nominal, (5, 1))
    clean = step(d, q, qd, params, u)
    cotangents = [np.ones_like(x) for x in (q, qd)]
    clean_gradient = vjp(d, q, qd, params, u, cotangents)
    params[3, 0] = bad if bad != -1.0 else -50.0
    out = step(d, q, qd, params, u)
    others = [0, 1, 2, 4]
    assert np.array_equal(out.q[others], clean.q[others])
    gradient = vjp(d, q, qd, params, u, cotangents)
    for a, b in zip(gradient, clean_gradient, strict=True):
        assert np.array_equal(a[others], b[others]) and np.isfinite(a).all()
    if not np.isfinite(bad):
        assert out.ok.tolist() == [1, 1, 1, 0, 1] and not any(g[3].any() for g in gradient)


def test_names_and_groups():
    m = model("free-ball-hinge")
    parameters = Parameters(m, ["link_mass:*", "gravity:z", "contact_mu", "link_com:arm", "link_mass:hand"])
    assert parameters.names[:4] == ("link_mass:box", "link_mass:arm", "link_mass:hand", "gravity:z")
    assert parameters.groups["link_mass:hand"] == (2,) and len(parameters.groups["link_com:arm"]) == 3
    assert parameters.nominal[parameters.index("gravity:z")] == -9.81
    assert set(parameters.names) <= set(Parameters.available(m))
    changed = parameters.apply(parameters.nominal * 2)
    assert changed.link_mass.tolist() == (2 * m.link_mass).tolist() and changed.gravity[2] == -19.62
    assert m.gravity[2] == -9.81, "the model itself stays"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["link_mas:arm"], ["'link_mas:arm'", "did you mean 'link_mass:arm'"]),
        (["link_mass:arn"], ["'link_mass:arn'", "'link_mass:arm'"]),
        (["servo_gain"], ["unknown model parameter 'servo_gain'"]),
        (["actuator_damping"], ["none of this kind in this model"]),
        (["link_density:arm", "link_mass:arm"], ["link_density:arm", "link_mass:arm", "select one"]),
    ],
)
def test_unknown_names_are_refused(names, words):
    with pytest.raises(ValueError) as caught:
        Parameters(model("free-ball-hinge"), names)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"link_mass:arm": 0.0}, ["link_mass:arm is 0", "greater than 0"]),
        ({"link_mass:arm": -1.0}, ["link_mass:arm is -1"]),
        ({"contact_mu:box/geom0": -0.1}, ["contact_mu:box/geom0 is -0.1", "at least 0"]),
        ({"gravity:y": np.nan}, ["gravity:y is nan", "finite"]),
        ({"link_inertia:hand.xy": 9.0}, ["link_inertia:hand", "principal moment"]),
    ],
)
def test_impossible_values_are_refused(change, words):
    parameters = Parameters(model("free-ball-hinge"), ["link_mass", "contact_mu", "gravity", "link_inertia"])
    values = np.tile(parameters.nominal, (3, 1))
    parameters.check(values)
    for name, value in change.items():
        values[1, parameters.index(name)] = value
    with pytest.raises(ValueError) as caught:
        parameters.check(values)
    for word in words:
        assert word in str(caught.value)


def test_wrong_shapes_are_refused():
    parameters = Parameters(model("free-ball-hinge"), ["gravity"])
    with pytest.raises(ValueError, match=r"params has shape \(2,\), expected \[3\]"):
        parameters.check(np.zeros(2))


def _loaded(actuators, bodies='<body><joint name="j" axis="0 1 0"/><geom size=".1" pos="0 0 -.3"/></body>', more=""):
    return load_model(f"<mujoco><worldbody>{bodies}</worldbody>{more}<actuator>{actuators}</actuator></mujoco>")


@pytest.mark.parametrize(
    ("actuators", "gains"),
    [
        ('<position joint="j" kp="10"/><velocity joint="j" kv="2"/>', [10.0, 2.0]),
        ('<motor joint="j" gear="10"/><motor joint="j" gear="2"/>', [10.0, 2.0]),
    ],
)
def test_two_actuators_of_one_name_are_two_parameters(actuators, gains):
    model = _loaded(actuators)
    for name in ("actuator_gain", "actuator_gain:j"):
        found = Parameters(model, [name])
        assert found.names == ("actuator_gain:j.1", "actuator_gain:j.2") and found.nominal.tolist() == gains
    assert Parameters(model, ["actuator_gain:j.2"]).nominal.tolist() == gains[1:]


def test_what_pulls_on_a_tendon_is_no_motor_of_a_joint():
    bodies = """<site name="w" pos="0 0 1"/><body><joint name="j" axis="0 1 0"/><geom size=".1" pos="0 0 -.3"/>
    <site name="s" pos=".1 0 -.2"/></body>"""
    tendon = '<tendon><spatial name="t"><site site="w"/><site site="s"/></spatial></tendon>'
    model = _loaded('<motor name="cable" tendon="t" gear="-50"/><motor name="m" joint="j"/>', bodies, tendon)
    assert Parameters(model, ["actuator_gain"]).names == ("actuator_gain:m",)
    with pytest.raises(ValueError, match="unknown model parameter 'actuator_gain:cable'"):
        Parameters(model, ["actuator_gain:cable"])


@pytest.mark.parametrize("kind", ["link_mass", "link_density", "link_com", "link_inertia"])
def test_a_welded_body_has_no_mass_of_its_own(kind):
    """Its mass would be the whole link's, about another centre."""
    model = _loaded(
        "",
        """<body name="hand"><joint name="wrist" axis="0 1 0"/><geom size=".05" mass="1"/>
    <body name="payload" pos=".3 0 0"><geom size=".04" mass=".5"/></body></body>""",
    )
    with pytest.raises(ValueError, match=rf"{kind}:payload: body 'payload' is welded to 'hand', .* select {kind}:hand"):
        Parameters(model, [f"{kind}:payload"])
    assert Parameters(model, [f"{kind}:hand"]).names
