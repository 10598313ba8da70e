"""Mutated model files, and the meshes and pictures that they name, against the loader.

Run as ``python hostile.py FIRST COUNT`` in an empty folder, for 10 000 as ``python hostile.py 0 10000``. Each mutant is
written to ``mutant/`` before it is loaded, so a crash or a hang leaves its cause behind. The last line printed is a
JSON object: how many loaded, how many were refused, the slowest in CPU seconds.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import struct
import sys
import time
import zlib
from importlib.resources import files
from pathlib import Path

import numpy as np

from diffsim_core.io import ModelError, load_model
from diffsim_core.io._mesh_files import MeshError, for_mujoco
from diffsim_core.rigid.model import RigidModel

KITCHEN_SINK = """<mujoco model="sink">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.01" gravity="0 0 -9.81" density="0"><flag contact="enable"/></option>
  <size nuserdata="3" memory="1M"/>
  <custom>
    <numeric name="diffsim_contact" size="4" data="1e4 100 50 0.8"/>
    <numeric name="diffsim_inertia:leg" data="0.1 0.2 0.3 0 0 0"/>
    <text name="diffsim_contact_law" data="paper"/>
  </custom>
  <default>
    <geom density="800" friction="0.9 0.1 0.1"/>
    <default class="leg"><joint damping="1" armature="0.1"/></default>
  </default>
  <asset>
    <texture name="t" type="2d" builtin="checker" width="64" height="64"/>
    <material name="m" texture="t"/>
    <mesh name="octa" vertex="1 0 0 -1 0 0 0 1 0 0 -1 0 0 0 1 0 0 -1"/>
    <mesh name="round" builtin="sphere" params="2"/>
  </asset>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 1" material="m"/>
    <replicate count="3" offset="1 0 0"><geom size="0.1" contype="0" conaffinity="0"/></replicate>
    <body name="torso" pos="0 0 1">
      <freejoint name="root"/>
      <geom name="torso" type="box" size="0.2 0.1 0.1"/>
      <site name="s"/><camera name="eye"/><light pos="0 0 3"/>
      <body name="leg" pos="0 0 -0.2" quat="0.9 0.1 0 0">
        <joint name="hip" class="leg" axis="0 1 0" range="-1 1" ref="0.1"/>
        <joint name="twist" class="leg" type="slide" axis="1 0 0" stiffness="10" springref="0.2"/>
        <geom name="leg" type="capsule" size="0.05" fromto="0 0 0 0 0 -0.4"/>
        <body name="foot" pos="0 0 -0.4">
          <joint name="ball" type="ball" armature="0.1"/>
          <geom name="foot" size="0.07"/>
          <body name="toe"><geom type="mesh" mesh="octa" contype="0" conaffinity="0"/></body>
        </body>
      </body>
    </body>
  </worldbody>
  <contact><exclude body1="torso" body2="leg"/><pair geom1="foot" geom2="floor"/></contact>
  <actuator><motor name="hip" joint="hip" gear="5" ctrlrange="-1 1"/>
    <position name="hold" joint="hip" kp="3" kv="0.1" forcerange="-1 2"/></actuator>
  <sensor><accelerometer site="s"/></sensor>
  <keyframe><key name="k" time="1"/></keyframe>
</mujoco>"""

UNSUPPORTED = KITCHEN_SINK.replace(
    "</mujoco>",
    """<asset><hfield name="h" nrow="2" ncol="2" size="1 1 1 1"/></asset>
  <worldbody><geom type="hfield" hfield="h"/><geom type="hfield" hfield="h" euler="0 1 0"/>
    <body name="cloth"><flexcomp name="f" type="grid" count="2 2 1"
    spacing="1 1 1" dim="2"/></body></worldbody>
  <tendon><fixed name="cord"><joint joint="hip" coef="1"/></fixed></tendon>
  <equality><joint joint1="hip"/></equality>
  <actuator><damper name="servo" joint="twist" kv="2" ctrlrange="0 1"/>
    <muscle joint="hip" lengthrange="0 1"/></actuator>
</mujoco>""",
)

CONTACTS = """<mujoco model="contacts">
  <compiler angle="radian"/>
  <asset><hfield name="hills" nrow="3" ncol="4" size="2 1.5 0.5 0.1" elevation="0 1 2 3 4 5 6 7 8 9 0 1"/></asset>
  <worldbody>
    <geom name="ground" type="hfield" hfield="hills" pos="0 0 -0.2" contype="0" conaffinity="3"/>
    <geom name="wall" type="box" size="0.1 1 1" pos="2 0 0"/>
    <body name="trunk" pos="0 0 1"><freejoint/>
      <geom name="trunk" type="box" size="0.2 0.3 0.1"/>
      <geom name="drum" type="cylinder" size="0.1 0.3" contype="2" conaffinity="0"/>
      <body name="arm" pos="0.4 0 0"><joint name="a" axis="0 1 0"/><joint name="b" type="slide" axis="1 0 0"/>
        <geom name="arm" type="capsule" size="0.05 0.2" euler="0.3 0 0"/>
        <body name="hand" pos="0.3 0 0"><joint name="c" type="ball"/>
          <geom name="palm" size="0.1"/>
          <geom name="egg" type="ellipsoid" size="0.1 0.2 0.05" contype="2" conaffinity="0"/>
        </body></body></body>
    <body name="other" pos="1 1 1"><freejoint/><geom name="cube" type="box" size="0.1 0.1 0.2"/></body>
  </worldbody>
  <contact><exclude body1="arm" body2="hand"/><exclude body1="trunk" body2="other"/>
    <pair geom1="palm" geom2="trunk" friction="0.3 0.3 0 0 0"/></contact>
</mujoco>"""

MUSCLES = """<mujoco model="muscles">
  <worldbody>
    <site name="wall" pos="0 0 1"/>
    <body name="upper"><joint name="s" type="ball" armature="0.1"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0.3 0 0"/>
      <site name="a" pos="0.1 0 0.05"/><site name="b" pos="0.2 0 0.05"/>
      <body name="fore" pos="0.3 0 0"><joint name="e" axis="0 1 0" armature="0.1"/><geom size="0.1"/>
        <site name="c" pos="0.1 0 0.05"/></body></body>
  </worldbody>
  <tendon><spatial name="long"><site site="wall"/><site site="a"/><pulley divisor="2"/><site site="b"/><site site="c"/>
    </spatial><spatial name="short"><site site="b"/><site site="c"/></spatial></tendon>
  <actuator>
    <muscle name="m" tendon="long" force="100" lengthrange="0.5 1.5" range="0.7 1.1" timeconst="0.01 0.04"
      tausmooth="0.1" lmin="0.5" lmax="1.6" vmax="1.5" fpmax="1.3" fvmax="1.2"/>
    <muscle name="n" tendon="short" scale="200" lengthrange="0.1 0.3"/>
    <motor name="winch" tendon="short" gear="-20" ctrlrange="0 1"/>
  </actuator>
</mujoco>"""

WRAPPING = (
    MUSCLES.replace("muscles", "wrapping")
    .replace(
        '<site site="wall"/><site site="a"/><pulley divisor="2"/>',
        '<site site="wall"/><geom geom="bone" sidesite="b"/><site site="a"/><geom geom="ball"/><site site="c"/>'
        '<pulley divisor="2"/>',
    )
    .replace(
        '<joint name="e"',
        '<geom name="bone" type="cylinder" size="0.03 0.1"/><geom name="ball" size="0.04" pos="0.1 0 0"/>'
        '<joint name="e"',
    )
)

URDF = """<robot name="arm">
  <link name="base">
    <inertial><mass value="5"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><geometry><box size="0.4 0.4 0.2"/></geometry></collision>
  </link>
  <link name="fore">
    <inertial><origin xyz="0 0 0.3" rpy="0 0 0"/><mass value="2"/>
      <inertia ixx="0.1" iyy="0.1" izz="0.1" ixy="0" ixz="0" iyz="0"/></inertial>
    <collision><geometry><sphere radius="0.05"/></geometry></collision>
  </link>
  <joint name="elbow" type="revolute">
    <parent link="base"/><child link="fore"/><origin xyz="0 0 0.1"/><axis xyz="0 1 0"/>
    <limit effort="30" velocity="2" lower="-1" upper="1.5"/><dynamics damping="0.2" friction="0"/>
  </joint>
</robot>"""

POINTS = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
FACES = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]
OBJ = "".join(f"v {x} {y} {z}\n" for x, y, z in POINTS) + "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in FACES)
STL = bytes(80) + struct.pack("<I", len(FACES))
STL += b"".join(struct.pack("<12fH", 0, 0, 0, *(x for i in face for x in POINTS[i]), 0) for face in FACES)
FACET = "facet normal 0 0 0\nouter loop\n{}endloop\nendfacet\n"
LOOPS = ["".join("vertex {} {} {}\n".format(*POINTS[i]) for i in face) for face in FACES]
TEXT_STL = "solid s\n" + "".join(map(FACET.format, LOOPS)) + "endsolid s\n"
DAE = """<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
  <asset><unit name="centimeter" meter="0.01"/></asset>
  <library_geometries><geometry id="g"><mesh>
    <source id="p"><float_array id="pa" count="12">0 0 0 1 0 0 0 1 0 0 0 1</float_array>
      <technique_common><accessor source="#pa" count="4" stride="3"><param name="X" type="float"/>
      <param name="Y" type="float"/><param name="Z" type="float"/></accessor></technique_common></source>
    <vertices id="v"><input semantic="POSITION" source="#p"/></vertices>
    <triangles count="4"><input semantic="VERTEX" source="#v" offset="0"/><p>0 2 1 0 1 3 1 2 3 0 3 2</p></triangles>
  </mesh></geometry></library_geometries>
  <library_visual_scenes><visual_scene id="s"><node id="n"><scale>200 200 200</scale>
    <instance_geometry url="#g"/></node></visual_scene></library_visual_scenes>
  <scene><instance_visual_scene url="#s"/></scene></COLLADA>"""


def png(rows: list[bytes]) -> bytes:
    """A picture in shades of grey."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


MJCF_FILES = """<mujoco model="files"><compiler meshdir="meshes" texturedir="pictures" angle="radian"/>
  <include file="parts/floor.xml"/>
  <asset><mesh name="a" file="a.obj" scale="0.1 0.1 0.1"/><mesh name="b" file="b.stl" scale="0.1 0.1 0.1"/>
    <mesh name="shown" file="lost.obj"/><hfield name="h" file="../pictures/h.png" size="1 1 0.3 0.1"/>
    <texture name="t" type="2d" file="h.png"/><material name="m" texture="t"/></asset>
  <worldbody><geom name="hills" type="hfield" hfield="h" contype="0" conaffinity="2"/>
    <body pos="0 0 1"><freejoint/><inertial mass="1" pos="0 0 0" diaginertia="1 1 1"/>
      <geom type="mesh" mesh="a" contype="0" conaffinity="0" material="m"/>
      <geom type="mesh" mesh="shown" contype="0" conaffinity="0"/>
      <geom type="box" mesh="b" contype="2"/></body></worldbody></mujoco>"""
URDF_FILES = URDF.replace(
    "</link>",
    """<visual><geometry><mesh filename="package://arm/meshes/lost.dae"/></geometry></visual></link>""",
).replace(
    '<collision><geometry><sphere radius="0.05"/></geometry></collision>',
    """<collision><geometry><mesh filename="package://arm/meshes/a.obj" scale="0.1 0.1 0.1"/></geometry></collision>
    <collision><geometry><mesh filename="../meshes/b.stl"/></geometry></collision>
    <collision><geometry><mesh filename="package://arm/meshes/text.stl"/></geometry></collision>
    <collision><geometry><mesh filename="file:///somewhere/arm/meshes/node.dae"/></geometry></collision>""",
)
FLOOR = """<mujocoinclude><worldbody>
  <geom name="floor" type="plane" size="1 1 1" conaffinity="0" contype="0"/></worldbody></mujocoinclude>"""
FILES = {
    "meshes/a.obj": OBJ.encode(),
    "meshes/b.stl": STL,
    "meshes/text.stl": TEXT_STL.encode(),
    "meshes/node.dae": DAE.encode(),
    "pictures/h.png": png([bytes(range(8))] * 8),
    "parts/floor.xml": FLOOR.encode(),
}
"""What ``MJCF_FILES`` and ``URDF_FILES`` name."""

NUMBERS = """
0 -0 1 -1 2 1e-9 1e-320 1e30 1e308 -1e308 1e999 nan inf -inf 2147483648 99999999999999999999 0x10 1,5 .
"""
WORDS = """
free ball slide hinge sphere capsule box plane mesh hfield cylinder ellipsoid sdf true false auto world name type
size pos quat axisangle euler fromto joint body geom site default class include file count mocap gear range replicate
frame composite flexcomp plugin attach tendon inertial fullinertia diaginertia mass mujoco robot link collision visual
"""


def sources() -> list[str]:
    models = files("diffsim_core.tasks") / "models"
    bundled = [(models / f"{name}.xml").read_text() for name in ("ant", "cartpole")]
    """Models without files; ``OF_FILES`` have some."""
    return [KITCHEN_SINK, KITCHEN_SINK, UNSUPPORTED, CONTACTS, MUSCLES, WRAPPING, URDF, *bundled]


def mutate(text: str, rng: random.Random) -> str:
    """One random damage: to a number, a word, a tag, a span, or single characters."""
    kind = rng.randrange(10)
    if kind <= 4 and (numbers := list(re.finditer(r"(?<=[\"\s])-?[\d.]+(?:e-?\d+)?(?=[\"\s])", text))):
        spot = rng.choice(numbers)
        new = rng.choice(
            [*NUMBERS.split(), spot[0] + "0" * rng.randrange(9), "-" + spot[0], spot[0] + " " + spot[0], ""]
        )
        return text[: spot.start()] + new + text[spot.end() :]
    if kind == 5 and (words := list(re.finditer(r"\b[a-z]+\d?\b", text))):
        spot = rng.choice(words)
        return text[: spot.start()] + rng.choice(WORDS.split()) + text[spot.end() :]
    if kind == 6 and (tags := list(re.finditer(r"<[^<>]*>", text))):
        spot, other = rng.choice(tags), rng.choice(tags)
        return text[: spot.start()] + rng.choice(["", other[0], spot[0] + other[0]]) + text[spot.end() :]
    start = rng.randrange(len(text) + 1)
    end = min(start + rng.choice([1, 5, 50, 500]), len(text))
    if kind == 7:
        return text[:start] + text[end:]
    if kind == 8:
        target = rng.randrange(len(text) + 1)
        return text[:target] + text[start:end] + text[target:]
    junk = "".join(rng.choice("<>/\"'=&;- \n\0\x7f\ud800é0") for _ in range(rng.randrange(1, 6)))
    return text[:start] + junk + text[end if rng.random() < 0.5 else start :]


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """One random damage to a file that need not be text."""
    start = rng.randrange(len(data) + 1)
    end = min(start + rng.choice([1, 4, 50, 500]), len(data))
    kind = rng.randrange(5)
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + data[end:]
    if kind == 2:
        return data[:start] + rng.randbytes(end - start) + data[end:]
    if kind == 3:
        return data[:start] + data[start:end] * 2 + data[end:]
    return data[:start] + rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)]) + data[start + 4 :]


OF_FILES = (MJCF_FILES, URDF_FILES)


def mutant(index: int) -> tuple[str, dict[str, bytes]]:
    """The mutant of a number, the same on every machine: one to four damages to one of the sources, or to its files."""
    rng = random.Random(index)
    text = rng.choice([*sources(), *OF_FILES, *OF_FILES])
    others = dict(FILES) if text in OF_FILES else {}
    for _ in range(rng.choice([1, 1, 1, 3])):
        if others and rng.random() < 0.6:
            name = rng.choice(sorted(others))
            as_text = rng.random() < 0.5 and not name.endswith(".png")
            if as_text:
                damaged = mutate(others[name].decode("latin-1"), rng).encode("latin-1", "replace")
            else:
                damaged = mutate_bytes(others[name], rng)
            others[name] = damaged
        else:
            text = mutate(text, rng)
    return text, others


def check(model: RigidModel) -> None:
    """What every loaded model promises."""
    assert all(-1 <= parent < i for i, parent in enumerate(model.link_parent))
    for value in vars(model).values():
        assert not isinstance(value, np.ndarray) or np.isfinite(value).all()
    assert np.allclose(np.linalg.norm(model.link_quat, axis=1), 1)
    assert (model.joint_range[model.joint_limited == 1, 0] < model.joint_range[model.joint_limited == 1, 1]).all()
    assert (model.link_mass >= 0).all()
    assert model.nl > 0


def main(first: int, count: int) -> None:
    loaded, refused, slowest = 0, 0, (0.0, -1)
    folder = Path("mutant")
    for data, suffix in ((TEXT_STL.encode(), ".stl"), (DAE.encode(), ".dae")):
        with contextlib.suppress(MeshError):  # imports take their time here, and are not measured
            for_mujoco(data, suffix)
    for index in range(first, first + count):
        text, others = mutant(index)
        data = text.encode("utf-8", "surrogatepass")
        suffix = ".urdf" if data.lstrip().startswith(b"<robot") else ".xml"
        path = folder / (f"urdf/mutant{suffix}" if suffix == ".urdf" else f"mutant{suffix}")
        for name, content in {str(path.relative_to(folder)): data, **others}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        start = time.process_time()
        try:
            text = data.decode("utf-8", "replace")
            is_text = text.lstrip().startswith("<") and not index % 2 and not others
            model = load_model(
                text if is_text else path,
                root=None if is_text else folder,
                floating=index % 5 == 0,
                ground=0.0 if index % 3 == 0 else None,
                body_contact=index % 7 < 4,
                wrapping="straight" if index % 11 < 5 else "simulate",
                balanceinertia=True if index % 13 == 0 else None,
                boundinertia=1e-6 if index % 17 == 0 else None,
            )
        except ModelError:
            refused += 1
        else:
            check(model)
            loaded += 1
        slowest = max(slowest, (time.process_time() - start, index))
        shutil.rmtree(folder)
    print(json.dumps({"loaded": loaded, "refused": refused, "slowest_s": slowest[0], "slowest": slowest[1]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
