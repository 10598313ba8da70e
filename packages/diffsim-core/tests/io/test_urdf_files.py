"""URDF as it lies on disk: where meshes are found, what is read from where, and inertias that MuJoCo refuses."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ModelError, _mesh_files, load_model
from diffsim_core.io._mesh_files import MeshError, MeshFolder, for_mujoco

from .test_sources import TETRAHEDRON, same

INERTIAL = '<inertial><mass value="1"/><inertia ixx="{0}" iyy="{1}" izz="{2}" ixy="0" ixz="0" iyz="0"/></inertial>'
SOUND = INERTIAL.format(1, 1, 1)


def robot(collision: str, inertial: str = SOUND, more: str = "", base: str = SOUND) -> str:
    return f"""<robot name="arm" xmlns:xacro="http://www.ros.org/wiki/xacro">{more}<link name="base">{base}</link>
      <link name="fore">{inertial}{collision}</link>
      <joint name="elbow" type="revolute"><parent link="base"/><child link="fore"/><axis xyz="0 1 0"/>
        <limit effort="30" velocity="2" lower="-1" upper="1.5"/></joint></robot>"""


def collision(name: str, tag: str = "collision", scale: str = "") -> str:
    return f'<{tag}><geometry><mesh filename="{name}" {scale}/></geometry></{tag}>'


def binary_stl(corners: np.ndarray, title: bytes = b"") -> bytes:
    rows = b"".join(struct.pack("<12fH", 0, 0, 0, *corner.ravel(), 0) for corner in corners)
    return title.ljust(80, b" ") + struct.pack("<I", len(corners)) + rows


POINTS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
CORNERS = POINTS[FACES]
TEXT_STL = (
    b"solid rock\n"
    + b"".join(
        b"facet normal 0 0 0\nouter loop\n"
        + b"".join(b"vertex %g %g %g\n" % tuple(p) for p in corner)
        + b"endloop\nendfacet\n"
        for corner in CORNERS
    )
    + b"endsolid\n"
)
DAE = f"""<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
  <asset><unit name="centimeter" meter="0.01"/><up_axis>Z_UP</up_axis></asset>
  <library_images><image id="i"><init_from>../secret.png</init_from></image></library_images>
  <library_geometries><geometry id="g"><mesh>
    <source id="p"><float_array id="pa" count="12">{" ".join(f"{x:g}" for x in POINTS.ravel())}</float_array>
      <technique_common><accessor source="#pa" count="4" stride="3"><param name="X" type="float"/>
      <param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
    <vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
    <triangles count="4"><input semantic="VERTEX" source="#v" offset="0"/>
      <p>{" ".join(map(str, FACES.ravel()))}</p></triangles></mesh></geometry></library_geometries>
  <library_visual_scenes><visual_scene id="s"><node id="n"><scale>200 200 200</scale>
    <instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>
  <scene><instance_visual_scene url="#s"/></scene></COLLADA>""".encode()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """``ws/rock/urdf/arm.urdf`` with its meshes in ``ws/rock/meshes`` and another package beside it."""
    for folder in ("ws/rock/urdf", "ws/rock/meshes/arm", "ws/other/meshes/arm"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "ws/rock/meshes/arm/rock.obj").write_bytes(TETRAHEDRON)
    (tmp_path / "ws/other/meshes/arm/rock.obj").write_bytes(TETRAHEDRON.replace(b"v 1 0 0", b"v 9 0 0"))
    return tmp_path / "ws"


def write(package: Path, text: str) -> Path:
    path = package / "rock" / "urdf" / "arm.urdf"
    path.write_text(text)
    return path


NAMES = (
    "package://rock/meshes/arm/rock.obj",
    "package://rock_description/meshes/arm/rock.obj",
    "model://rock/meshes/arm/rock.obj",
    "file:///home/someone/ws/rock/meshes/arm/rock.obj",
    "/opt/ros/rock/meshes/arm/rock.obj",
    "../meshes/arm/rock.obj",
    "rock.obj",
    "package://ROCK\\\\meshes\\\\arm\\\\Rock.OBJ".replace("\\\\", "\\"),
)


@pytest.mark.parametrize("name", NAMES)
def test_meshes_are_found_by_the_longest_tail_of_their_path(package: Path, name: str) -> None:
    path = write(package, robot(collision(name) + collision(name)))
    model = load_model(path, root=package / "rock")
    text = robot(collision("rock.obj") * 2).replace("<link", "<link", 1)
    (package / "flat.obj").write_bytes(TETRAHEDRON)
    expected = load_model(spec_of(text.replace("rock.obj", "flat.obj"), {"flat.obj": TETRAHEDRON}))
    assert [geom.type for geom in model.geoms] == ["mesh", "mesh"]
    for field in ("link_mass", "link_com", "link_inertia"):
        np.testing.assert_array_equal(getattr(model, field), getattr(expected, field))
    assert all(same(a.pos, b.pos) and same(a.size, b.size) for a, b in zip(model.geoms, expected.geoms, strict=True))
    assert sorted(file.name for file in path.parent.iterdir()) == ["arm.urdf"]  # nothing is written beside it


def spec_of(text: str, assets: dict[str, bytes]) -> mujoco.MjSpec:  # pyright: ignore
    return mujoco.MjSpec.from_string(text, assets=assets)


def test_the_longer_tail_wins_and_what_is_as_good_is_not_guessed(package: Path) -> None:
    def x(name: str) -> float:
        return float(load_model(write(package, robot(collision(name))), root=package).geoms[0].size.max())

    assert x("package://other/meshes/arm/rock.obj") > 1.5 * x("package://rock/meshes/arm/rock.obj")
    with pytest.raises(ModelError) as caught:
        x("package://third/meshes/arm/rock.obj")
    assert caught.value.problems == (
        'mesh "package://third/meshes/arm/rock.obj" of link "fore": it may be "other/meshes/arm/rock.obj" and'
        ' "rock/meshes/arm/rock.obj": load with root=FOLDER that holds one of them',
    )
    (package / "other/meshes/arm/rock.obj").write_bytes(TETRAHEDRON)
    x("package://third/meshes/arm/rock.obj")  # the same mesh twice


def test_a_mesh_that_is_missing_or_outside_is_named_with_its_link(package: Path) -> None:
    (package.parent / "secret.obj").write_bytes(TETRAHEDRON)
    path = write(package, robot(collision("package://rock/meshes/lost.obj") + collision("../../../secret.obj")))
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.problems == (
        f'mesh "package://rock/meshes/lost.obj" of link "fore": no file below "{path.parent}" ends like it; put it'
        " there, or load with root=FOLDER that holds it",
        'mesh "../../../secret.obj" of link "fore": it lies outside the model\'s folder; put it there, or load with'
        " root=FOLDER that holds both",
    )
    with pytest.raises(ModelError, match="an XML string has no folder"):
        load_model(path.read_text())


def test_many_files_below_the_root(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_mesh_files, "MAX_FILES", 3)
    with pytest.raises(MeshError, match="over 3 files lie below"):
        MeshFolder(package / "rock" / "urdf", package).find("package://rock/meshes/arm/rock.obj")


@pytest.mark.parametrize("shown", [False, True])
def test_visuals_are_needed_by_nobody(package: Path, shown: bool) -> None:
    """And where a file keeps them, they are read from inside the folder only."""
    (package.parent / "secret.obj").write_bytes(TETRAHEDRON)
    compiler = '<mujoco><compiler discardvisual="false"/></mujoco>' if shown else ""
    visuals = [
        collision(name, "visual") for name in ("../../../secret.obj", "lost.dae", "package://rock/meshes/arm/rock.obj")
    ]
    path = write(package, robot(collision("rock.obj") + "".join(visuals), more=compiler))
    model = load_model(path, root=package / "rock")
    assert len(model.geoms) == 1 + shown
    notes = [note for note in model.notes if "is not shown" in note]
    assert len(notes) == 2 * shown
    assert all("outside" in notes[0] or "lost.dae" in note for note in notes)


def test_meshdir_of_the_file_counts(package: Path) -> None:
    compiler = '<mujoco><compiler meshdir="../meshes/arm"/></mujoco>'
    assert load_model(write(package, robot(collision("rock.obj"), more=compiler)), root=package).nl == 1


def test_two_scales_of_one_mesh(package: Path) -> None:
    both = collision("rock.obj") + collision("rock.obj", scale='scale="2 2 2"')
    small, large = load_model(write(package, robot(both)), root=package / "rock").geoms
    np.testing.assert_allclose(large.size, 2 * small.size, rtol=1e-6)


# formats


def test_text_stl_and_collada_are_the_mesh_they_describe(package: Path) -> None:
    """COLLADA with its unit of 1 cm and its node's scale of 200: twice as large."""
    pytest.importorskip("collada")
    meshes = package / "rock" / "meshes"
    for name, data in {
        "solid.stl": binary_stl(CORNERS, b"solid"),
        "text.stl": TEXT_STL,
        "node.dae": DAE,
        "big.stl": binary_stl(2 * CORNERS),
    }.items():
        (meshes / name).write_bytes(data)

    def shape(name: str) -> object:
        (geom,) = load_model(write(package, robot(collision(name))), root=package / "rock").geoms
        return geom.pos, geom.quat, geom.size

    assert same(shape("text.stl"), shape("solid.stl"))
    assert same(shape("node.dae"), shape("big.stl"))


def test_what_mujoco_reads_itself_is_left_alone() -> None:
    for data, suffix in (
        (TETRAHEDRON, ".obj"),
        (binary_stl(CORNERS), ".STL"),
        (binary_stl(CORNERS, b"solid x"), ".stl"),
    ):
        assert for_mujoco(data, suffix) == (data, suffix.lower())


@pytest.mark.parametrize("suffix", [".dae", ".stl", ".ply", ".off", ".glb", ".xyz123", ".zip", ""])
def test_broken_meshes_are_named(suffix: str) -> None:
    pytest.importorskip("trimesh")
    with pytest.raises(MeshError, match=r"convert it to STL or OBJ|no triangles"):
        for_mujoco(b"solid nothing", suffix)


def test_collada_with_entities_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0 0 0")
    entity = f'<!DOCTYPE c [<!ENTITY a SYSTEM "{tmp_path / "secret"}">]><COLLADA'.encode()
    with pytest.raises(MeshError, match="declares an XML entity"):
        for_mujoco(DAE.replace(b"<COLLADA", entity).replace(b"200 200 200", b"&a;"), ".dae")


def test_a_missing_reader_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trimesh")
    (package / "rock/meshes/node.dae").write_bytes(DAE)
    monkeypatch.setitem(sys.modules, "collada", None)
    with pytest.raises(
        ModelError, match=r"link \"fore\": collada is needed to read it: pip install 'diffsim-core\[meshes\]'"
    ):
        load_model(write(package, robot(collision("node.dae"))), root=package / "rock")


def test_a_mesh_too_small_to_weigh_of_a_body_with_an_inertia(package: Path) -> None:
    tiny = collision("rock.obj", scale='scale="1e-6 1e-6 1e-6"')
    assert load_model(write(package, robot(tiny)), root=package / "rock").link_mass[0] == 1
    with pytest.raises(ModelError, match="mesh volume is too small"):
        load_model(write(package, robot(tiny, inertial="")), root=package / "rock")


def test_shapes_without_size_touch_nothing() -> None:
    point = '<collision><geometry><sphere radius="0.0"/></geometry></collision>'
    model = load_model(robot(point), floating=True, ground=0.0)
    assert 'sphere of link "fore" has no size and touches nothing' in model.notes
    with pytest.raises(ModelError, match=r"size 0 must be positive in geom .* \(of body \"fore\"\)"):
        load_model(robot(point.replace("0.0", "-1")))


def test_messages_name_the_lines_of_the_file(package: Path) -> None:
    text = robot(collision("rock.obj", "visual") + "\n" + collision("rock.obj")).replace("<axis", "\n\n<axis oops='1'")
    broken = text.replace('xyz="0 1 0"', 'xyz="0 one 0"')
    line = 1 + broken[: broken.index("<axis")].count("\n")
    with pytest.raises(ModelError, match=f"line {line}$"):
        load_model(write(package, broken), root=package / "rock")


# inertias


def test_a_point_mass_and_a_rod_are_bodies() -> None:
    for moments in ((0, 0, 0), (0, 1, 1), (1e-20, 0, -1e-20)):
        inertia = load_model(robot("", inertial=INERTIAL.format(*moments))).link_inertia[0]
        np.testing.assert_allclose(inertia, np.diag(moments), atol=3e-12)


def test_a_mass_without_an_inertia_is_a_point() -> None:
    model = load_model(robot("", inertial='<inertial><origin xyz="1 0 0"/><mass value="2"/></inertial>'))
    np.testing.assert_allclose(model.link_mass, [2])
    np.testing.assert_allclose(model.link_inertia, 0, atol=2e-12)


def test_impossible_inertias_load_with_the_option_that_the_error_names() -> None:
    thin, negative = INERTIAL.format(3, 1, 1), INERTIAL.format(-1, 1, 1)
    with pytest.raises(ModelError, match=r"'fore'.* load with balanceinertia=True"):
        load_model(robot("", inertial=thin))
    balanced = load_model(robot("", inertial=thin), balanceinertia=True).link_inertia[0]
    np.testing.assert_allclose(balanced, np.eye(3) * 5 / 3)  # MuJoCo's: a third of the trace
    with pytest.raises(ModelError, match=r"'fore'.* load with boundinertia="):
        load_model(robot("", inertial=negative))
    raised = load_model(robot("", inertial=negative), boundinertia=0.5).link_inertia[0]
    np.testing.assert_allclose(raised, np.diag([0.5, 1, 1]), atol=1e-12)
    light = load_model(robot("", inertial=INERTIAL.replace('"1"', '"1e-9"').format(1, 1, 1)), boundmass=0.25)
    assert light.link_mass[0] == 0.25
    assert load_model(mujoco.MjSpec.from_string(robot("")), boundmass=3).link_mass[0] == 3


def test_links_without_mass_that_carry_others() -> None:
    text = robot("")
    more = """<link name="wrist"/><link name="hand">{}</link>
      <joint name="turn" type="continuous"><parent link="fore"/><child link="wrist"/><axis xyz="0 0 1"/></joint>
      <joint name="bend" type="continuous"><parent link="wrist"/><child link="hand"/><axis xyz="1 0 0"/></joint>
    </robot>"""
    model = load_model(text.replace("</robot>", more.format(SOUND)))
    assert model.joint_name == ("elbow", "turn", "bend")
    assert 0 < model.link_mass[1] < 1e-11
    trunk = f'<link name="trunk">{SOUND}</link><joint name="f" type="fixed"><parent link="base"/><child link="trunk"/>'
    massless = text.replace(f'<link name="base">{SOUND}', '<link name="base">')
    floating = load_model(massless.replace("</robot>", f"{trunk}</joint></robot>"), floating=True)
    np.testing.assert_allclose(floating.link_mass, [1, 1], rtol=1e-11)
    with pytest.raises(ModelError, match=r"'wrist'.* load with boundmass="):
        load_model(text.replace("</robot>", more.format("")))
