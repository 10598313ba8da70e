"""``contact="mujoco"``: stiffness and damping from a file's solref and solimp, beside MuJoCo itself."""

import mujoco
import numpy as np
import pytest

from diffsim_core import differentiable
from diffsim_core.io import ContactParams, load_model
from diffsim_core.rigid import RigidDynamics, RigidState

torch = pytest.importorskip("torch")

XML = """
<mujoco>
  <option integrator="implicitfast"/>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body pos="0 0 0.12"><freejoint/><geom type="{shape}" size="0.1 0.1 0.1" mass="{mass}" {more}/></body>
  </worldbody>
</mujoco>
"""


@pytest.mark.parametrize(
    ("shape", "mass", "more"),
    [
        ("sphere", 0.1, ""),
        ("box", 10.0, ""),
        ("box", 10.0, 'solref="0.05 1" solimp="0.8 0.95 0.001"'),
        ("sphere", 3.0, 'solref="-5000 -200"'),
    ],
)
def test_a_shape_rests_as_deep_as_in_mujoco(shape, mass, more):
    xml = XML.format(shape=shape, mass=mass, more=more)
    m = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(m)
    mujoco.mj_step(m, data, 2000)
    model = load_model(xml, contact="mujoco")
    step = differentiable(RigidDynamics(model, dt=1 / 60, dtype="float64"))
    state = RigidState(torch.tensor(model.q_ref)[None], torch.zeros(1, 6).double())
    for _ in range(240):
        state, _ = step(state, (torch.zeros(1, 0).double(),))
    depths = 0.1 - np.array([state.q[0, 2].item(), data.qpos[2]])
    # solimp changes with depth, which a spring does not
    np.testing.assert_allclose(depths[0], depths[1], rtol=0.35)
    assert abs(depths[0] - depths[1]) < 1e-3


def test_the_law_does_not_pull_back_and_what_is_given_has_precedence():
    xml = XML.format(shape="box", mass=1, more="")
    model = load_model(xml, contact="mujoco")
    assert model.contact_law == "released"
    assert load_model(xml, contact="mujoco", contact_law="paper").contact_law == "paper"
    custom = xml.replace("<worldbody>", '<custom><numeric name="diffsim_contact" data="7 3 2"/></custom><worldbody>')
    assert set(load_model(custom, contact="mujoco").contact_kn) == {7.0}
    assert set(load_model(xml, contact=ContactParams(kn=5.0)).contact_kn) == {5.0}
    with pytest.raises(ValueError, match="contact is 'soft': give ContactParams"):
        load_model(xml, contact="soft")


def test_limits_follow_their_solref():
    xml = """<mujoco><worldbody><body><joint range="-60 60" solreflimit="{0} 1"/>
    <geom type="capsule" size="0.01" fromto="0 0 0 0.2 0 0" contype="0" conaffinity="0"/></body></worldbody></mujoco>"""
    slow, fast = (load_model(xml.format(time), contact="mujoco") for time in (0.04, 0.02))
    np.testing.assert_allclose(fast.limit_stiffness / slow.limit_stiffness, 4.0)
    np.testing.assert_allclose(fast.limit_damping / slow.limit_damping, 2.0)
