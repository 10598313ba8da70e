"""Normal forces on contact points: those of the sensors, also where the gains are inputs, and of any law."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402
from diffsim_core.rigid import RigidDynamics, Sensors, contact_laws  # noqa: E402
from diffsim_core.rigid.dynamics import ModelParameters, RigidState  # noqa: E402
from diffsim_core.rigid.ground_contacts import GroundContacts  # noqa: E402


@pytest.fixture(scope="module")
def hopper():
    """The model and states in which some points are in the ground."""
    env = make("hopper", num_envs=1, dtype="float64")
    model = env.task.dynamics.model
    rng = np.random.default_rng(0)
    q = model.q_ref + rng.normal(size=(16, model.nq)) * [0.1, 0.3, 0.3, 0.3, 0.3, 0.3]
    return model, RigidState(torch.from_numpy(q), torch.from_numpy(rng.normal(size=(16, model.nv))))


def simulator(model, **options):
    return RigidDynamics(model, dt=1 / 60, substeps=16, dtype="float64", integrator="explicit", **options)


def link_forces(contacts, forces):
    links = dict.fromkeys(contacts.links.tolist())
    return np.stack([forces[:, contacts.links == link].sum(1) for link in links], axis=1)


def sensed(model, physics, contacts):
    """The z component on the links that touch the ground."""
    names = {body.link: body.name for body in model.bodies}
    sensors = Sensors(simulator(model), [f"contact_force:{names[k]}" for k in dict.fromkeys(contacts.links.tolist())])
    return sensors(physics).reshape(len(physics.q), -1, 3)[..., 2].numpy()


def test_equal_to_the_sensors(hopper):
    model, physics = hopper
    contacts = GroundContacts(simulator(model))
    got, want = link_forces(contacts, contacts.forces(physics)), sensed(model, physics, contacts)
    assert (want > 0).sum() > 4 and (want == 0).any()
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-9)


def test_gains_that_are_inputs_have_their_values_in_each_world(hopper):
    model, physics = hopper
    dynamics = simulator(model, parameters=["contact_kn", "link_mass:torso", "contact_kd"])
    contacts = GroundContacts(dynamics)
    rng = np.random.default_rng(1)
    values = dynamics.parameters.nominal * rng.uniform(0.5, 10, size=(16, len(dynamics.parameters)))
    got = contacts.forces(physics, ModelParameters(torch.from_numpy(values)))
    for n in (0, 7, 15):
        one = RigidState(*(x[n : n + 1] for x in physics))
        own = GroundContacts(simulator(dynamics.parameters.apply(values[n])))
        np.testing.assert_allclose(got[n], own.forces(one)[0], rtol=1e-10)


def test_a_law_that_takes_one_contact_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    given = rng.uniform(1, 2, size=(20, 4)), -rng.random(20), rng.normal(size=20)
    want = contact_laws.normal_forces("released", *given)

    def by_truth(gains, depth, u):
        damping = gains.kd * depth * -u if u < 0 else 0.0
        return -gains.kn * depth - damping, 0.0

    law = dataclasses.replace(contact_laws.RELEASED, normal=by_truth)
    monkeypatch.setattr(contact_laws, "CONTACT_LAWS", {"released": law})
    np.testing.assert_allclose(contact_laws.normal_forces("released", *given), want, rtol=1e-13)


def test_points_move_as_their_velocities_say(hopper):
    model, physics = hopper
    contacts, h = GroundContacts(simulator(model)), 1e-6
    before, velocity = contacts.motion(physics)
    after, _ = contacts.motion(physics._replace(q=physics.q + h * physics.qd))  # slides and hinges alone
    np.testing.assert_allclose((after - before) / h, velocity, rtol=1e-4, atol=1e-4)


def test_a_model_without_ground_is_refused():
    with pytest.raises(ValueError, match="model 'cartpole' has no shape that touches level ground"):
        GroundContacts(make("cartpole", num_envs=1).task.dynamics)
