"""A model with something unsupported: one error that names every such element."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffsim_core.io import ModelError, load_model

PLANE = '<geom name="ground" type="plane" size="1 1 1"/>'
ROD = '<geom name="rod" type="capsule" size="0.1" fromto="0 0 0 1 0 0"/>'
ARM = f'<body name="arm"><joint name="j" axis="0 1 0"/>{ROD}{{}}</body>'
FREE = '<body name="b" pos="0 0 9"><freejoint name="root"/>{}</body>'
BALL = '<geom name="ball" size="0.1"/>'
NO_INERTIA = "give xx yy zz xy xz yz of a matrix that is not zero and has no negative eigenvalue"


def mjcf(bodies: str, more: str = "") -> str:
    return f'<mujoco><compiler angle="radian"/>{more}<worldbody>{bodies}</worldbody></mujoco>'


def actuator(xml: str) -> str:
    return mjcf(ARM.format('<site name="s"/>'), f"<actuator>{xml}</actuator>")


HILLS = '<asset><hfield name="h" nrow="2" ncol="2" size="1 1 1 1"/></asset>'


def with_inertia(numbers: str) -> str:
    return mjcf(FREE.format(BALL), f'<custom><numeric name="diffsim_inertia:b" data="{numbers}"/></custom>')


CASES = {
    "tendon": (
        mjcf(ARM.format(""), '<tendon><fixed name="cord" armature="1"><joint joint="j" coef="1"/></fixed></tendon>'),
        ['armature of tendon "cord"', "give its joints armature"],
    ),
    "damper": (actuator('<damper name="d" joint="j" kv="3" ctrlrange="0 1"/>'), ['"d" has a gain that depends']),
    "servo on a ball joint": (
        mjcf(
            f'<body><joint name="hip" type="ball"/>{BALL}</body>',
            '<actuator><position name="servo" joint="hip" kp="3"/></actuator>',
        ),
        ['actuator "servo" is a servo on a free or ball joint'],
    ),
    "filter": (actuator('<general name="f" joint="j" dyntype="filter" actearly="true"/>'), ['"f" has actearly']),
    "muscle": (actuator('<muscle name="biceps" joint="j"/>'), ['"biceps" has no lengthrange']),
    "filter on a ball joint": (
        mjcf(
            f'<body><joint name="hip" type="ball"/>{BALL}</body>',
            '<actuator><general name="f" joint="hip" dyntype="filter"/></actuator>',
        ),
        ['actuator "f" has an activation and acts on a free or ball joint'],
    ),
    "two sites": (actuator('<motor name="jet" site="s" refsite="s"/>'), ['actuator "jet" acts on a site relative to']),
    "body": (
        mjcf(FREE.format(BALL), '<actuator><adhesion name="glue" body="b" ctrlrange="0 1"/></actuator>'),
        ['actuator "glue" does not act on a joint, a tendon or a site'],
    ),
    "motor in the parent's axes": (
        mjcf(FREE.format(BALL), '<actuator><motor name="push" jointinparent="root"/></actuator>'),
        ['actuator "push" acts on a free or ball joint', "jointinparent"],
    ),
    "fluid": (
        mjcf(FREE.format(BALL), '<option density="-1.2" viscosity="-2e-5"/>'),
        ['density="-1.2"', 'viscosity="-2e-05"'],
    ),
    "actuatorgravcomp": (
        actuator('<motor joint="j" gear="5" ctrlrange="0 0.1"/>')
        .replace('name="j"', 'name="j" actuatorgravcomp="true" actuatorfrcrange="-1 1"', 1)
        .replace("<body", '<body gravcomp="1"', 1),
        ['actuatorgravcomp of joint "j"'],
    ),
    "ball limit": (
        mjcf(f'<body><joint name="hip" type="ball" range="0 1" limited="true"/>{BALL}</body>'),
        ['range of ball joint "hip"'],
    ),
    "free spring": (
        mjcf(f'<body><joint name="root" type="free" stiffness="3"/>{BALL}</body>'),
        ['stiffness of free joint "root"'],
    ),
    "height field that is turned": (
        mjcf('<geom name="hills" type="hfield" hfield="h" euler="0 0 0.1"/>' + FREE.format(BALL), HILLS),
        ['hfield geom "hills" is turned'],
    ),
    "two height fields": (
        mjcf(
            "".join(f'<geom name="{n}" type="hfield" hfield="h"/>' for n in ("low", "high")) + FREE.format(BALL), HILLS
        ),
        ['several height fields (hfield geom "low", hfield geom "high")', "keep one"],
    ),
    "flex": (
        mjcf('<body name="frame"><flexcomp name="cloth" type="grid" count="2 2 1" spacing="1 1 1" dim="2"/></body>'),
        ['flex "cloth"'],
    ),
    "singular": (
        mjcf(f'<body><joint name="one" axis="0 1 0"/><joint name="two" axis="0 1 0"/>{BALL}</body>'),
        ["mass matrix is singular", "armature", "joint"],
    ),
    "nothing to move": (
        mjcf(f'<body pos="0 0 1"><joint name="spin" axis="0 1 0"/></body>{FREE.format(BALL)}'),
        ["MuJoCo cannot compile it", "mass and inertia"],
    ),
    "limits the wrong way round": (
        mjcf(ARM.format("")).replace('name="j"', 'name="j" limited="true" range="1 -1"'),
        ["MuJoCo cannot compile it", "range"],
    ),
    "not finite": (mjcf(FREE.format('<geom size="nan"/>')), ["MuJoCo cannot compile it"]),
    "unknown parameter": (
        mjcf(FREE.format(BALL), '<custom><numeric name="diffsim_contacts" data="1"/></custom>'),
        ['numeric "diffsim_contacts" is unknown', "diffsim_contact, diffsim_limit"],
    ),
    "unknown text": (
        mjcf(FREE.format(BALL), '<custom><text name="diffsim_law" data="x"/></custom>'),
        ['text "diffsim_law" is unknown'],
    ),
    "bad gains": (
        mjcf(FREE.format(BALL), '<custom><numeric name="diffsim_contact" data="1 -2 3"/></custom>'),
        ['numeric "diffsim_contact" is "1 -2 3": give kn kd kt mu'],
    ),
    "indefinite inertia": (with_inertia("1 1 1 2 0 0"), ['numeric "diffsim_inertia:b" is "1 1 1 2 0 0"', NO_INERTIA]),
    "negative inertia": (with_inertia("1 1 -1e-9 0 0 0"), [NO_INERTIA]),
    "no inertia": (with_inertia("0 0 0 0 0 0"), [NO_INERTIA]),
    "half an inertia": (with_inertia("1 1 1"), [NO_INERTIA]),
    "inertia of nobody": (
        mjcf(FREE.format(BALL), '<custom><numeric name="diffsim_inertia:c" data="1 1 1 0 0 0"/></custom>'),
        ['there is no body "c"'],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_unsupported_element_is_named_with_a_remedy(case: str) -> None:
    xml, words = CASES[case]
    with pytest.raises(ModelError) as caught:
        load_model(xml)
    for word in words:
        assert word in str(caught.value)


def test_every_problem_is_in_one_error() -> None:
    bodies = PLANE + FREE.format(BALL) + ARM.format("")
    more = (
        '<option viscosity="-1"/><equality><joint joint1="j"/><joint name="gear" joint1="j"/></equality>'
        '<actuator><damper name="servo" joint="j" ctrlrange="0 1"/><motor name="jet" jointinparent="root"/></actuator>'
    )
    with pytest.raises(ModelError) as caught:
        load_model(mjcf(bodies, more))
    error = caught.value
    words = ["viscosity", 'equality "gear"', '"servo"', '"jet"']
    assert len(error.problems) == len(words)
    for word in words:
        assert sum(word in problem for problem in error.problems) == 1, word
    assert str(error).startswith("XML string: 4 problems\n  - ")


SWITCHED_OFF = {
    "equality": ('<equality><weld name="glue" body1="b" active="false"/></equality>', 'equality "glue"'),
    "equalities": (
        '<option><flag equality="disable"/></option><equality><weld name="glue" body1="b"/></equality>',
        'equality "glue"',
    ),
    "constraints": (
        '<option><flag constraint="disable"/></option><equality><weld name="glue" body1="b"/></equality>',
        'equality "glue"',
    ),
    "actuators": (
        '<option><flag actuation="disable"/></option><actuator><damper name="d" joint="j" ctrlrange="0 1"/></actuator>',
        'actuator "d"',
    ),
    "a group": (
        '<option actuatorgroupdisable="4"/><actuator><motor name="d" joint="j" gear="3" group="4"/></actuator>',
        'actuator "d"',
    ),
}


@pytest.mark.parametrize("case", SWITCHED_OFF)
def test_what_is_switched_off_is_left_out_with_a_note(case: str) -> None:
    more, name = SWITCHED_OFF[case]
    model = load_model(mjcf(FREE.format(BALL) + ARM.format(""), more))
    assert f"{name} is switched off in the file" in model.notes
    assert not model.actuator_gear.any()
    assert model.ns == 0


OFF = {
    "frictionloss": 'frictionloss="0.1"',
    "limit": 'type="ball" range="0 1" limited="true"',
    "spring": 'springdamper="0.1 0.1" stiffness="1 2"',
    "damper": 'damping="1 2"',
}


@pytest.mark.parametrize("flag", OFF)
def test_a_flag_that_switches_off_what_is_not_simulated(flag: str) -> None:
    body = f'<body><joint name="j" {OFF[flag]}/>{BALL}</body>'
    load_model(mjcf(body, f'<option><flag {flag}="disable"/></option>'))
    if flag != "frictionloss":
        with pytest.raises(ModelError):
            load_model(mjcf(body))


def test_one_sentence_for_each_problem() -> None:
    rest = '<body><joint name="k"/><geom size="0.1" pos="1 0 0"/></body>'
    tendon = (
        '<tendon><fixed name="t" armature="1"><joint joint="j" coef="1"/><joint joint="k" coef="1"/></fixed></tendon>'
    )
    with pytest.raises(ModelError) as caught:
        load_model(mjcf(ARM.format("") + rest, tendon + '<actuator><motor tendon="t"/></actuator>'))
    assert len(caught.value.problems) == 1


def test_a_part_fixed_to_the_robots_base_is_no_obstacle() -> None:
    arm = ARM.format("").replace('<body name="arm">', '<body name="arm" pos="0 0 1">')
    base = f'<body name="base"><geom name="torso" size="0.2"/><body name="imu">{BALL}</body>{arm}</body>'
    model = load_model(mjcf(base))
    assert model.notes == ("contact with the robot's own fixed base is not simulated",)
    assert not len(model.pairs)
    apart = load_model(mjcf(f'<body name="imu">{BALL}</body>' + base.replace('<body name="imu">' + BALL, "<body>")))
    assert len(apart.pairs) > 0 and all("ball" in names for names in apart.pairs.geom)


def test_shapes_that_only_decorate_may_be_anything() -> None:
    wheel = '<geom type="cylinder" size="0.1 0.1" contype="0" conaffinity="0"/>'
    wall = '<geom type="box" size="1 1 1" contype="0" conaffinity="0"/>'
    model = load_model(mjcf(PLANE + wall + FREE.format(BALL + wheel)))
    assert model.nc == 1
    assert [g.type for g in model.geoms] == ["plane", "box", "sphere", "cylinder"]


def test_cameras_sensors_keyframes_and_textures_are_ignored() -> None:
    more = """
      <asset><texture name="t" type="2d" builtin="flat" width="1000000" height="1000000"/>
        <material name="m" texture="t" rgba="1 0 0 1"/></asset>
      <sensor><framepos objtype="body" objname="b"/></sensor>
      <keyframe><key qpos="1 2 3"/></keyframe>"""
    ball = '<geom name="ball" size="0.1" material="m"/><camera name="eye"/><light/>'
    assert load_model(mjcf(FREE.format(ball), more)).nl == 1


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<mujoco><worldbody></mujoco>", "not well-formed XML: mismatched tag"),
        ("<sdf/>", "root element is <sdf>"),
        ("<mujoco><torso/></mujoco>", "MuJoCo cannot compile it"),
        ("<mujoco/>", "nothing in it can move"),
        ('<!DOCTYPE m [<!ENTITY a "b">]><mujoco/>', "declares an XML entity"),
        ("<mujoco>" + "<body>" * 300 + "</body>" * 300 + "</mujoco>", "levels deep"),
        (mjcf('<replicate count="9999999"><geom size="1"/></replicate>'), "<replicate> makes 9999999 copies"),
        (mjcf('<replicate count="99"><replicate count="99"/></replicate>'), "makes 9801 copies"),
        (mjcf('<body><flexcomp count="999 999 999"/></body>'), "<flexcomp> makes 997002999 copies"),
        (mjcf("", '<size nuserdata="1000000000"/>'), 'nuserdata="1000000000"'),
        (mjcf("", '<asset><hfield nrow="99999" ncol="99999"/></asset>'), "remove the height field"),
        (mjcf("", '<include file="other.xml"/>'), "an XML string has no folder"),
        (mjcf("", '<asset><mesh file="a.stl"/></asset>'), "an XML string has no folder"),
    ],
)
def test_refused(xml: str, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(xml)
    assert words in str(caught.value)


def test_files_come_from_the_models_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "robot"
    (folder / "parts").mkdir(parents=True)
    (tmp_path / "secret.xml").write_text("<mujoco/>")
    (folder / "parts" / "leg.xml").write_text(f"<mujocoinclude>{ARM.format('')}</mujocoinclude>")
    path = folder / "robot.xml"
    path.write_text(mjcf('<include file="parts/leg.xml"/>'))
    assert load_model(path).joint_name == ("j",)
    outside = [
        ('<include file="../secret.xml"/>', "../secret.xml"),
        (f'<include file="{tmp_path}/secret.xml"/>', "secret.xml"),
        ('<include file="parts/loop.xml"/>', "twice"),
        ('<include file="parts/none.xml"/>', "no such file"),
    ]
    (folder / "parts" / "loop.xml").write_text('<mujocoinclude><include file="parts/loop.xml"/></mujocoinclude>')
    for element, words in outside:
        path.write_text(mjcf(element))
        with pytest.raises(ModelError, match=words):
            load_model(path)
    path.write_text(mjcf("", '<compiler meshdir="/etc"/><asset><mesh file="passwd"/></asset>'))
    with pytest.raises(ModelError, match="outside the model's folder"):
        load_model(path)


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_model(tmp_path / "none.xml")
    with pytest.raises(ModelError, match=r'unknown file type ".obj"'):
        load_model("robot.obj")
    with pytest.raises(ModelError, match="no such file"):
        load_model(str(tmp_path) + "/folder.xml")
