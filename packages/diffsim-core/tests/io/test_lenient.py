"""XML that MuJoCo reads and a strict reader does not: read, with every guard in place."""

from __future__ import annotations

from pathlib import Path

import mujoco
import pytest

from diffsim_core.io import ModelError, load_model
from diffsim_core.io._lenient import rewritten

from .test_sources import MESH, TETRAHEDRON, same

BODY = '<body name="a"><joint name="j" axis="0 1 0"/><geom name="g" size="0.1" pos="0.1 0 0"/></body>'
STRICT = f'<?xml version="1.0"?><mujoco model="m"><worldbody>{BODY}</worldbody></mujoco>'
LENIENT = {
    "dashes in a comment": STRICT.replace("<worldbody>", "<!-- torso -- arms --><worldbody>"),
    "a comment of dashes": STRICT.replace("<worldbody>", "<!------ torso ----><worldbody>"),
    "no blank": STRICT.replace('" axis', '"axis').replace('name="g" size', 'name="g"size'),
    "single quotes": STRICT.replace('name="j" axis="0 1 0"', "name='j'axis='0 1 0'"),
    "both": STRICT.replace('" axis', '"axis').replace("<worldbody>", "<!-- <include file='x'/> -- > --><worldbody>"),
}


@pytest.mark.parametrize("case", LENIENT)
def test_what_mujoco_reads_is_read(case: str, tmp_path: Path) -> None:
    mujoco.MjSpec.from_string(LENIENT[case])
    assert same(load_model(LENIENT[case]), load_model(STRICT))
    path = tmp_path / "m.xml"
    path.write_text(LENIENT[case])
    assert same(load_model(path), load_model(STRICT))


OUTSIDE = "has no folder|lies outside"
VALUE = """<!-- -- --><body name="<!-- '>"/><include file="x.xml"/><!-- '> -->"""
GUARDED = {
    "an include between odd comments": (
        '<!-- -- --><include file="../x.xml"/><!-- -- -->',
        "has no folder|lies outside",
    ),
    "a file": ('<asset><mesh name="a"file="../a.obj"/></asset>', OUTSIDE),
    "copies": (
        '<worldbody><replicate count="9999999"sep="x"/></worldbody>',
        "9999999 copies",
    ),
    "sizes": ('<size njmax="99999999"nconmax="1"/>', "njmax"),
    "an entity": ('<!-- -- --><!DOCTYPE m [<!ENTITY a "b">]>', "not well-formed"),
    "a bracket in a value": (
        """<!-- -- --><body name="<!-- '>"/><include file="x.xml"/><!-- '> -->""",
        "not well-formed",
    ),
    "depth": ("<!-- -- -->" + "<body>" * 300 + "</body>" * 300, "levels deep"),
}


@pytest.mark.parametrize("case", GUARDED)
def test_the_second_reading_guards_as_the_first(case: str, tmp_path: Path) -> None:
    inner, words = GUARDED[case]
    text = f"<mujoco>{inner}</mujoco>"
    (tmp_path / "m").mkdir()
    (tmp_path / "x.xml").write_text("<mujocoinclude/>")
    path = tmp_path / "m" / "m.xml"
    path.write_text(text)
    for source in (text, path):
        with pytest.raises(ModelError, match=words):
            load_model(source)


def test_an_include_is_read_leniently_too(tmp_path: Path) -> None:
    (tmp_path / "part.xml").write_text(f"<mujocoinclude><!-- a -- b --><worldbody>{BODY}</worldbody></mujocoinclude>")
    path = tmp_path / "m.xml"
    path.write_text('<mujoco><include file="part.xml"/></mujoco>')
    assert load_model(path).joint_name == ("j",)


def test_lines_stay_where_they_are() -> None:
    text = b"<a>\n<!-- x --\n y -->\n<b c='1'd='2\n3'\ne='4'\n/>\n</a>\n"
    again = rewritten(text)
    assert again is not None
    assert again.count(b"\n") == text.count(b"\n")
    assert rewritten(b"<a b=1/>") is rewritten(b"<a") is rewritten(b"<!-- x") is rewritten(b"<a>\0</a>") is None


# files


def test_a_root_holds_the_file_that_is_read_not_every_place_it_could_be(tmp_path: Path) -> None:
    """A mesh beside ``meshdir``, as in some playgrounds' scenes."""
    scene = tmp_path / "models" / "task" / "scene"
    for folder in (scene, tmp_path / "models" / "meshes"):
        folder.mkdir(parents=True)
    (tmp_path / "models" / "task" / "rock.obj").write_bytes(TETRAHEDRON)
    path = scene / "rock.xml"
    path.write_text(MESH.format("../../meshes", "").replace("rock.obj", "../task/rock.obj"))
    assert load_model(path, root=tmp_path / "models").nl == 1
    (scene / "parts").mkdir()
    (scene / "parts" / "arm.xml").write_text(
        '<mujocoinclude><asset><mesh name="rock" file="rock.obj"/></asset></mujocoinclude>'
    )
    (scene / "parts" / "rock.obj").write_bytes(TETRAHEDRON)
    mesh = '<asset><mesh name="rock" file="rock.obj"/></asset>'
    path.write_text(MESH.format("../../../elsewhere", '<include file="parts/arm.xml"/>').replace(mesh, ""))
    assert load_model(path).nl == 1  # beside the file that names it, meshdir or not


@pytest.mark.parametrize("route", ["mesh", "meshdir", "include", "hfield", "visual", "URDF", "absolute"])
def test_no_route_leaves_the_folder(route: str, tmp_path: Path) -> None:
    """Backslashes part folders for MuJoCo, on every system."""
    (tmp_path / "robot").mkdir()
    (tmp_path / "secret.obj").write_bytes(TETRAHEDRON)
    (tmp_path / "secret.xml").write_text("<mujocoinclude/>")
    plain = MESH.format("", "")
    hfield = '<hfield name="rock" file="..\\secret.png" size="1 1 1 1"/>'
    shown = '<compiler discardvisual="false"'
    shape = '<collision><geometry><mesh filename="..\\secret.obj"/></geometry></collision>'
    text = {
        "mesh": plain.replace("rock.obj", "..\\secret.obj"),
        "meshdir": MESH.format("..\\", "").replace("rock.obj", "secret.obj"),
        "include": f'<mujoco><include file="..\\secret.xml"/><worldbody>{BODY}</worldbody></mujoco>',
        "hfield": plain.replace('<mesh name="rock" file="rock.obj"/>', hfield),
        "visual": plain.replace("<compiler", shown).replace("rock.obj", "../secret.obj"),
        "URDF": f'<robot name="r"><mujoco>{shown} meshdir=".."/></mujoco><link name="a">{shape}</link></robot>',
        "absolute": MESH.format(tmp_path, "").replace("rock.obj", "secret.obj"),
    }[route]
    suffix = "urdf" if route == "URDF" else "xml"
    path = tmp_path / "robot" / f"robot.{suffix}"
    path.write_text(text)
    with pytest.raises(ModelError, match="it lies outside the model's folder"):
        load_model(path)


def test_a_picture_of_heights_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "h.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2)
    path = tmp_path / "m.xml"
    path.write_text('<mujoco><asset><hfield name="hills" file="h.png" size="1 1 1 1"/></asset></mujoco>')
    with pytest.raises(ModelError, match='hfield "hills" has 60000 x 60000 heights: at most 999 each way'):
        load_model(path)


def test_a_missing_mesh_that_is_only_shown(tmp_path: Path) -> None:
    path = tmp_path / "rock.xml"
    weighed = '<inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/><joint name="j"/>'
    path.write_text(MESH.format("", "").replace('<joint name="j"/>', weighed))
    model = load_model(path)
    assert model.geoms == ()
    assert model.notes == ('mesh "rock" is not shown: its file "rock.obj" is missing',)
    for needed in (
        MESH.format("", ""),
        path.read_text().replace('contype="0" conaffinity="0"', ""),
        path.read_text().replace("<compiler", '<compiler inertiafromgeom="true"'),
    ):
        path.write_text(needed)
        with pytest.raises(ModelError, match=r"rock.obj"):
            load_model(path)
