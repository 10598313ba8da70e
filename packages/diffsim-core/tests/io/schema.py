"""What MuJoCo's model files can say, and what the loader makes of it: found out by trying, attribute by attribute.

Run as ``python schema.py`` to write ``schema.toml`` anew after the loader has learnt something.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from diffsim_core.io import ModelError, load_model
from diffsim_core.rigid.model import RigidModel

TABLE = Path(__file__).with_name("schema.toml")
WORDS = ("simulated", "noted", "refused", "irrelevant")

BASE = """<mujoco model="base">
  <compiler angle="radian" inertiafromgeom="auto"/>
  <asset>
    <mesh name="mesh" vertex="1 0 0 -1 0 0 0 1 0 0 -1 0 0 0 1 0 0 -1" scale="0.1 0.1 0.1"/>
    <hfield name="hfield" nrow="2" ncol="2" size="1 1 1 1" elevation="0 1 1 0"/>
    <material name="material"/>
  </asset>
  <worldbody>
    <geom name="ground" type="plane" size="5 5 1"/>
    <site name="anchor" pos="0 0 2"/>
    <body name="body" pos="0 0 1"><freejoint name="free"/>
      <geom name="geom" type="capsule" size="0.1 0.2" mass="3"/>
      <body name="arm" pos="0.3 0 0">
        <inertial mass="2" pos="0.1 0 0" diaginertia="0.1 0.2 0.2"/>
        <joint name="joint" axis="0 1 0" stiffness="1" damping="0.1" limited="true" range="-1 1" frictionloss="0.1"/>
        <geom name="tip" size="0.05" pos="0.3 0 0"/>
        <site name="site" pos="0.2 0 0.05"/>
        <body name="hand" pos="0.4 0 0"><joint name="ball" type="ball" damping="0.1"/><geom size="0.06" mass="1"/>
          <body name="finger" pos="0.1 0 0"><joint name="twin" axis="0 1 0"/>
            <geom type="mesh" mesh="mesh" name="meshed" contype="0" conaffinity="0"/></body></body>
      </body></body>
  </worldbody>
  <contact><pair name="pair" geom1="tip" geom2="ground" friction="0.4 0.4 0.005 0.0001 0.0001"/>
    <exclude name="exclude" body1="body" body2="hand"/></contact>
  <tendon><spatial name="tendon"><site site="anchor"/><site site="site"/></spatial></tendon>
  <equality><connect name="equality" body1="finger" anchor="0 0 0"/></equality>
  <actuator>
    <motor name="motor" joint="joint" gear="3" ctrlrange="-1 1" forcerange="-2 2"/>
    <position name="servo" joint="joint" kp="20" kv="1" ctrlrange="-1 1"/>
    <motor name="pull" tendon="tendon" ctrlrange="0 1"/>
    <muscle name="muscle" tendon="tendon" lengthrange="0.5 1.5" force="100"/>
  </actuator>
  <custom><numeric name="numeric" data="1"/><text name="text" data="x"/></custom>
</mujoco>"""

TRIALS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("schema_trials.toml").read_text(encoding="utf-8")
)
"""For each kind of element a value of each attribute that is tried, or several that go together."""

ELEMENTS = {
    "joint": "joint",
    "body": "body",
    "geom": "geom",
    "site": "site",
    "mesh": "mesh",
    "tendon": "tendon",
    "equality": "equality",
    "pair": "pair",
    "exclude": "exclude",
    "actuator": "motor",
    "muscle": "muscle",
}
_BOOKKEEPING = {"id", "info", "name", "signature", "classname", "compiler", "frame", "parent", "default", "userdata"}
_OF = {"muscle": "actuator"}


def found_in(spec: Any, kind: str) -> Any:
    """The element of a kind that is tried."""
    if kind in ("option", "compiler"):
        return getattr(spec, kind)
    group = {"body": "bodies", "mesh": "meshes", "equality": "equalities"}.get(kind, f"{_OF.get(kind, kind)}s")
    return next(one for one in getattr(spec, group) if one.name == ELEMENTS[kind])


def attributes() -> dict[str, list[str]]:
    """Attributes that this version of MuJoCo knows, for each kind of element, flags among them."""
    spec = mujoco.MjSpec.from_string(BASE)
    kinds = {kind: found_in(spec, kind) for kind in TRIALS if kind not in _OF}
    known = {kind: sorted(_data(element)) for kind, element in kinds.items()}
    for name, bits in (("disable", mujoco.mjtDisableBit), ("enable", mujoco.mjtEnableBit)):
        known[name] = sorted(flag.split("_", 1)[1].lower() for flag in bits.__members__ if not flag.startswith("mjN"))
    return known


def _data(element: Any) -> Iterator[str]:
    for name in dir(element):
        if name.startswith(("_", "add_", "first_", "next_", "set_")) or name in _BOOKKEEPING:
            continue
        try:
            value = getattr(element, name)
        except Exception:
            value = None
        if not callable(value):
            yield name


def outcome(kind: str, changes: dict[str, Any], tried: str) -> str:
    """What an attribute makes of a model that has the others among ``changes``: one of ``WORDS``."""
    others = {name: value for name, value in changes.items() if name != tried}
    try:
        before = _loaded(kind, others)
    except ModelError:  # the attribute and the others mean something together only
        before = _loaded(kind, {})
    try:
        after = _loaded(kind, changes)
    except ModelError:
        return "refused"
    if set(after.notes) - set(before.notes):
        return "noted"
    return "irrelevant" if _same(before, after) else "simulated"


def _loaded(kind: str, changes: dict[str, Any]) -> RigidModel:
    spec = mujoco.MjSpec.from_string(BASE)
    for name, value in changes.items():
        target: Any = {"spec": spec} if name.startswith("spec.") else found_in(spec, kind)
        while "." in name:
            step, name = name.split(".", 1)
            target = target[step] if isinstance(target, dict) else getattr(target, step)
        setattr(target, name, _shaped(value, getattr(target, name)))
    return load_model(spec, body_contact=True)


def _shaped(value: Any, old: Any) -> Any:
    """A number or the first numbers of an array, as the array; others as they are."""
    if isinstance(value, str) and value.startswith("mjt"):
        enum, name = value.split(".")
        constant = getattr(getattr(mujoco, enum), name)
        return int(constant) if isinstance(old, int) else constant
    if not isinstance(old, np.ndarray):
        return value
    new = np.array(old)
    new.ravel()[: np.size(value)] = value
    return new


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if is_dataclass(a):
        names = [f.name for f in fields(a) if f.name not in ("notes", "rgba")]
        return all(_same(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def trials() -> Iterator[tuple[str, str]]:
    """Kind and attribute of everything that can be tried."""
    for kind, names in TRIALS.items():
        yield from ((kind, name) for name in names)
    for kind in ("disable", "enable"):
        yield from ((kind, flag) for flag in attributes()[kind])


def tried(kind: str, name: str) -> str:
    """The outcome of one trial."""
    if kind in ("disable", "enable"):
        bit = f"mjt{kind.capitalize()}Bit.mj{'DSBL' if kind == 'disable' else 'ENBL'}_{name.upper()}"
        return outcome("option", {f"{kind}flags": bit}, f"{kind}flags")
    value = TRIALS[kind][name]
    return outcome(kind, value if isinstance(value, dict) else {name: value}, name)


def table() -> dict[str, dict[str, str]]:
    """The committed word for each attribute of each kind."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {kind: {name: word for word in WORDS for name in words.get(word, [])} for kind, words in rows.items()}


def main() -> None:
    words = {(kind, name): tried(kind, name) for kind, name in trials()}
    old = table() if TABLE.exists() else {}
    for kind, names in attributes().items():
        for name in names:
            words.setdefault((kind, name), old.get(kind, {}).get(name, "UNKNOWN"))
    lines = ["# What the loader makes of each attribute that MuJoCo knows; see schema.py, which writes this file."]
    for kind in dict.fromkeys(kind for kind, _ in words):
        lines.append(f"\n[{kind}]")
        for word in dict.fromkeys((*WORDS, *words.values())):
            if names := sorted(name for (k, name), w in words.items() if (k, w) == (kind, word)):
                lines.append(f"{word} = [{', '.join(f'{name!r}' for name in names)}]".replace("'", '"'))
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
