"""Models from a ``mujoco.MjSpec``, and models whose files lie all over a folder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ModelError, _spec, load_model

from .hostile import CONTACTS, KITCHEN_SINK, MUSCLES, UNSUPPORTED, URDF

TETRAHEDRON = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
MESH = """<mujoco model="rock"><compiler meshdir="{}"/><asset><mesh name="rock" file="rock.obj"/></asset>{}
  <worldbody><body><joint name="j"/><geom type="mesh" mesh="rock" contype="0" conaffinity="0"/></body></worldbody>
</mujoco>"""


def same(a: object, b: object) -> bool:
    """Whether two models, or parts of them, hold the same."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)  # pyright: ignore
    if hasattr(a, "__dataclass_fields__"):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))  # pyright: ignore
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))  # pyright: ignore
    return a == b


def counts(spec: mujoco.MjSpec) -> list[int]:  # pyright: ignore
    names = ("sensors", "keys", "cameras", "lights", "textures", "bodies", "joints")
    return [len(getattr(spec, name)) for name in names]


# specs


@pytest.mark.parametrize("xml", [KITCHEN_SINK, CONTACTS, MUSCLES])
@pytest.mark.parametrize("floating", [False, True])
def test_a_spec_loads_as_its_text_does_and_stays_as_it_is(xml: str, floating: bool) -> None:
    spec = mujoco.MjSpec.from_string(xml)
    text, parts = spec.to_xml(), counts(spec)
    expected = load_model(xml, floating=floating, body_contact=True)
    assert same(load_model(spec, floating=floating, body_contact=True), expected)
    assert (spec.to_xml(), counts(spec)) == (text, parts)
    compiled, fresh = spec.compile(), mujoco.MjModel.from_xml_string(xml)
    assert (compiled.nsensor, compiled.nkey, compiled.ncam) == (fresh.nsensor, fresh.nkey, fresh.ncam)
    assert same(load_model(spec, floating=floating, body_contact=True), expected)  # compiled or not


def test_a_spec_is_refused_as_its_text_is() -> None:
    problems = []
    for source in (UNSUPPORTED, mujoco.MjSpec.from_string(UNSUPPORTED)):
        with pytest.raises(ModelError) as caught:
            load_model(source)
        problems.append(caught.value.problems)
    assert problems[0] == problems[1]
    assert caught.value.source == 'MjSpec "sink"'


def test_a_spec_built_and_edited_in_python() -> None:
    spec = mujoco.MjSpec()
    spec.modelname = "pendulum"
    body = spec.worldbody.add_body(name="bob", pos=[0, 0, 2])
    body.add_joint(name="hinge", axis=[0, 1, 0], type=mujoco.mjtJoint.mjJNT_HINGE)
    body.add_geom(name="bob", size=[0.1, 0, 0], pos=[0, 0, -1], mass=3)
    model = load_model(spec)
    assert (model.name, model.joint_name) == ("pendulum", ("hinge",))
    np.testing.assert_allclose(model.link_mass, [3])
    spec.joint("hinge").frictionloss = -1
    with pytest.raises(ModelError, match=r'MjSpec "pendulum": negative frictionloss of joint "hinge"'):
        load_model(spec)
    spec.joint("hinge").frictionloss = 0
    body.add_site(name="here")
    spec.add_tendon(name="loose").wrap_site("nowhere")
    spec.add_actuator(name="motor", target="gone", trntype=mujoco.mjtTrn.mjTRN_JOINT)
    with pytest.raises(ModelError) as caught:  # MuJoCo's copy would be without them
        load_model(spec)
    assert caught.value.problems == (
        'tendons: "loose" cannot be copied; it names an element that is not there',
        'actuators: "motor" cannot be copied; it names an element that is not there',
    )


def test_a_spec_of_a_urdf_gets_no_motors() -> None:
    assert (load_model(URDF).nu, load_model(mujoco.MjSpec.from_string(URDF)).nu) == (1, 0)


def test_files_that_a_spec_names_are_the_callers(tmp_path: Path) -> None:
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "rock.obj").write_bytes(TETRAHEDRON)
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "rock.xml"
    path.write_text(MESH.format("../meshes", ""))
    (mass,) = load_model(mujoco.MjSpec.from_file(str(path))).link_mass
    np.testing.assert_allclose(mass, 1000 / 6, rtol=1e-6)
    in_memory = mujoco.MjSpec.from_string(MESH.format("", ""), assets={"rock.obj": TETRAHEDRON})
    assert load_model(in_memory).link_mass[0] == mass
    with pytest.raises(ModelError, match="cannot compile it"):
        load_model(mujoco.MjSpec.from_string(MESH.format("", "")))


def test_bounds_on_specs(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = mujoco.MjSpec()
    body = spec.worldbody
    for _ in range(210):
        body = body.add_body()
    body.add_joint()
    body.add_geom(size=[0.1, 0, 0])
    spec.add_hfield(name="hills", nrow=2, ncol=1000, size=[1, 1, 1, 1], userdata=np.zeros(2000))
    spec.njmax = 10_000_000
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert caught.value.problems == (
        "its bodies are over 200 levels deep: at most 200 are read",
        "it has njmax = 10000000: set it to -1",
        'hfield "hills" has 2 x 1000 heights: at most 999 each way',
    )
    monkeypatch.setattr(_spec, "MAX_ELEMENTS", 100)
    with pytest.raises(ModelError, match="it has 214 elements: at most 100 are read"):
        load_model(spec)


# files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``models/robots/rock/rock.xml`` with its mesh in ``models/meshes`` and a part in ``models/parts``."""
    models = tmp_path / "models"
    for name in ("meshes", "parts/more", "robots/rock"):
        (models / name).mkdir(parents=True)
    (models / "meshes" / "rock.obj").write_bytes(TETRAHEDRON)
    (models / "parts" / "arm.xml").write_text(part("more/arm.xml", "arm"))
    (models / "parts" / "more" / "arm.xml").write_text(part("", "finger"))
    (models / "robots" / "rock" / "rock.xml").write_text(
        MESH.format("../../meshes", '<include file="../../parts/arm.xml"/>')
    )
    return models


def part(include: str, joint: str) -> str:
    more = f'<include file="{include}"/>' if include else ""
    body = f'<worldbody><body><joint name="{joint}"/><geom size="0.1"/></body></worldbody>'
    return f"<mujocoinclude>{more}{body}</mujocoinclude>"


def test_files_may_lie_anywhere_below_the_root(folder: Path) -> None:
    path = folder / "robots" / "rock" / "rock.xml"
    with pytest.raises(ModelError) as caught:
        load_model(path)
    words = "it lies outside the model's folder; put it there, or load with root=FOLDER that holds both"
    assert caught.value.problems[0] == f'<include> names the file "../../parts/arm.xml": {words}'
    assert caught.value.problems[1] == f'<mesh> names the file "rock.obj": {words}'
    for root in (folder, str(folder), folder.parent, folder / "robots" / ".."):
        assert set(load_model(path, root=root).joint_name) == {"arm", "finger", "j"}


def test_nothing_outside_the_root_is_read(folder: Path) -> None:
    path = folder / "robots" / "rock" / "rock.xml"
    with pytest.raises(ModelError, match=r"it lies outside root='.*robots'; put it there, or name a folder"):
        load_model(path, root=folder / "robots")
    with pytest.raises(ModelError, match=r"rock.xml: lies outside root='.*parts': name a folder that holds the model"):
        load_model(path, root=folder / "parts")
    for escape in ("../../../../secret.xml", str(folder.parent / "models_too" / "secret.xml")):
        path.write_text(MESH.format("../../meshes", f'<include file="{escape}"/>'))
        with pytest.raises(ModelError, match=r"secret.xml.*it lies outside root"):
            load_model(path, root=folder)
    path.write_text(MESH.format("/etc", ""))
    with pytest.raises(ModelError, match="it lies outside root"):
        load_model(path, root=folder)


@pytest.mark.parametrize("source", ["<mujoco/>", mujoco.MjSpec()], ids=["text", "spec"])
def test_a_root_goes_with_a_file(source: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"root=.* goes with a file"):
        load_model(source, root=tmp_path)  # pyright: ignore


def test_an_attached_model_names_files_from_its_own_folder(folder: Path) -> None:
    """What is scanned is what MuJoCo will read, and neither may leave the root."""
    path = folder / "robots" / "both.xml"
    child = folder / "parts" / "child.xml"
    attach = '<asset><model name="c" file="../parts/child.xml"/></asset><worldbody><frame>'
    path.write_text(f'<mujoco>{attach}<attach model="c" body="b" prefix="c_"/></frame></worldbody></mujoco>')
    body = '<worldbody><body name="b"><joint name="{}"/><geom size="0.1"/></body></worldbody>'
    (folder / "parts" / "body.xml").write_text(f"<mujocoinclude>{body.format('good')}</mujocoinclude>")
    (folder / "robots" / "body.xml").write_text(f"<mujocoinclude>{body.format('other')}</mujocoinclude>")
    child.write_text('<mujoco><include file="body.xml"/></mujoco>')
    assert load_model(path, root=folder).joint_name == ("c_good",)
    (folder / "parts" / "body.xml").write_text('<mujocoinclude><size njmax="99999999"/></mujocoinclude>')
    with pytest.raises(ModelError, match="njmax"):
        load_model(path, root=folder)
    child.write_text(MESH.format("../..", "").replace("<body>", '<body name="b">'))
    with pytest.raises(ModelError, match=r'"rock.obj": it lies outside root'):
        load_model(path, root=folder)
