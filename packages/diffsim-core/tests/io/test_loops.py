"""``connect`` and ``weld`` as MuJoCo means them, mocap bodies, and what switches equalities off."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import LoopParams, ModelError, load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_loops import loop_rows

TWO = """<mujoco><compiler angle="radian"/>{more}<worldbody>
  <body name="a" pos="0.1 0.2 1" euler="0.3 0.1 0.2"><joint name="j" axis="0 1 0"/><joint axis="1 0 0" pos="0.1 0 0"/>
    <geom type="box" size="0.1 0.2 0.3" contype="0" conaffinity="0"/>
    <body name="hand" pos="0.2 0 0.1" euler="0 0.4 0"><geom size="0.1" contype="0" conaffinity="0"/>
      <site name="s" pos="0.1 -0.1 0.3" euler="0.2 0.5 0"/></body></body>
  <body name="b" pos="-0.4 0 1"><freejoint/><geom type="box" size="0.2 0.1 0.1" contype="0" conaffinity="0"/>
    <site name="t" pos="0 0.2 0.1" euler="0.1 0 -0.3"/></body>
  <body name="m" mocap="true" pos="0 0 2" euler="0 0 1"/>
</worldbody><equality>{equality}</equality></mujoco>"""

CLOSURES = {
    "connect": '<connect name="e" body1="hand" body2="b" anchor="0.1 0.2 0.3"/>',
    "connect to the world": '<connect name="e" body1="b" anchor="0.1 0.2 0.3"/>',
    "connect sites": '<connect name="e" site1="s" site2="t"/>',
    "weld": '<weld name="e" body1="b" body2="hand" anchor="0.1 0 -0.2"/>',
    "weld in a pose": '<weld name="e" body1="hand" body2="b" relpose="0.1 0.2 0.3 0.9 0.1 0.3 0" anchor="0.3 0 0"/>',
    "weld sites": '<weld name="e" site1="t" site2="s"/>',
    "weld to a mocap body": '<weld name="e" body1="m" body2="hand"/>',
}


def two(equality: str, more: str = "") -> str:
    return TWO.format(equality=equality, more=more)


@pytest.mark.parametrize("equality", CLOSURES.values(), ids=CLOSURES)
def test_gaps_are_mujocos(equality: str) -> None:
    model = load_model(two(equality))
    m = mujoco.MjModel.from_xml_string(two(equality))
    m.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    data = mujoco.MjData(m)
    rng = np.random.default_rng(1)
    for _ in range(3):
        data.qpos[:] = m.qpos0 + 0.3 * rng.normal(size=m.nq)
        mujoco.mj_forward(m, data)
        gap = loop_rows(model, *twin.kinematics(model, data.qpos)).gap
        assert data.ne == len(gap)
        np.testing.assert_allclose(gap[:3], -data.efc_pos[:3], atol=1e-12)
        if len(gap) == 6:  # MuJoCo's is the sine of half the angle, in the second body's axes
            half, sine = np.linalg.norm(data.efc_pos[3:6]), np.linalg.norm(gap[3:])
            assert abs(sine - 2 * half * np.sqrt(1 - half**2)) < 1e-12


def test_welds_push_as_mujocos_would_where_they_are_closed() -> None:
    """At the closed pose the rows' motion is MuJoCo's: same space of forbidden velocities."""
    for equality in CLOSURES.values():
        model, m = load_model(two(equality)), mujoco.MjModel.from_xml_string(two(equality))
        if model.notes and "open" in " ".join(model.notes):
            continue
        m.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
        data = mujoco.MjData(m)
        mujoco.mj_forward(m, data)
        ours, theirs = loop_rows(model, *twin.kinematics(model, m.qpos0)).jacobian, data.efc_J.reshape(-1, m.nv)
        ours, theirs = (np.linalg.svd(J, full_matrices=False)[2] for J in (ours, theirs[: len(ours)]))
        np.testing.assert_allclose(ours.T @ ours, theirs.T @ theirs, atol=1e-9)


def test_what_is_switched_off_does_nothing() -> None:
    off = CLOSURES["weld"].replace("/>", ' active="false"/>') + '<joint joint1="j" active="false"/>'
    assert load_model(two(off)).loops.n == 0
    assert load_model(two(CLOSURES["weld"], '<option><flag equality="disable"/></option>')).loops.n == 0
    assert load_model(two('<weld body1="a" body2="hand"/>')).loops.n == 0


def test_mocap_bodies_stay_and_are_named() -> None:
    notes = load_model(two(CLOSURES["weld to a mocap body"])).notes
    assert 'mocap body "m" stays where the file puts it' in notes
    assert any(note.startswith('equality "e" holds to the place of mocap body "m"') for note in notes)


def test_a_loop_that_starts_open_is_named() -> None:
    notes = load_model(two(CLOSURES["weld in a pose"])).notes
    assert any('equality "e" is open by' in note and "rad" in note for note in notes)


def test_gains_come_from_arguments_then_the_file_then_the_load() -> None:
    file = '<custom><numeric name="diffsim_loop" data="300 20 7 3"/></custom>'
    loops = load_model(two(CLOSURES["weld"], file)).loops
    assert [loops.stiffness[0], loops.damping[0], loops.torsion[0], loops.torsion_damping[0]] == [300, 20, 7, 3]
    loops = load_model(two(CLOSURES["weld"], file), loops=LoopParams(stiffness=50.0)).loops
    assert [loops.stiffness[0], loops.damping[0]] == [50, 20]
    default = load_model(two(CLOSURES["weld"])).loops
    heavy = load_model(two(CLOSURES["weld"], "").replace("<geom type", '<geom density="4000" type')).loops
    assert heavy.stiffness[0] == pytest.approx(4 * default.stiffness[0], rel=0.05)
    assert load_model(two(CLOSURES["connect"])).loops.torsion[0] == 0
    soft = CLOSURES["weld"].replace("/>", ' torquescale="0.5"/>')
    assert load_model(two(soft)).loops.torsion[0] == pytest.approx(default.torsion[0] / 4)


def test_a_motor_without_a_range_does_not_make_a_loop_endlessly_stiff() -> None:
    for range_ in ("", 'ctrlrange="-1 1"'):
        motor = f'<actuator><motor joint="j" gear="30" {range_}/></actuator>'
        assert 1e4 < load_model(two(CLOSURES["connect"], motor)).loops.stiffness[0] < 1e9


def test_solref_gives_a_closure_its_time_constant() -> None:
    """A body welded to the world is one mass on one spring: it swings as ``solref`` says."""
    xml = two('<weld body1="b" anchor="-0.4 0 1" solref="0.05 0.4"/>')
    model = load_model(xml, loops=LoopParams(solref=True))
    mass = float(model.link_mass[2])
    k, c = model.loops.stiffness[0], model.loops.damping[0]
    assert np.sqrt(k / mass) == pytest.approx(1 / (0.05 * 0.4))
    assert c / (2 * np.sqrt(k * mass)) == pytest.approx(0.4)


def test_bad_numbers_are_named() -> None:
    with pytest.raises(ValueError, match=r"LoopParams.torsion is -1"):
        LoopParams(torsion=-1.0)
    with pytest.raises(ModelError, match="give stiffness damping torsion torsion_damping"):
        load_model(two("", '<custom><numeric name="diffsim_loop" data="-1"/></custom>'))
