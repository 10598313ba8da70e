"""Small models that between them use every joint type, spring, limit and shape the engine knows."""

from __future__ import annotations

from diffsim_core.io import load_model
from diffsim_core.rigid.model import RigidModel

GROUND = '<geom name="ground" type="plane" size="5 5 1" contype="1" conaffinity="1"/>'


def _xml(worldbody: str, actuator: str = "") -> str:
    return f"""
    <mujoco>
      <compiler angle="radian"/>
      <default><geom contype="1" conaffinity="0" density="800"/></default>
      <worldbody>{GROUND}{worldbody}</worldbody>
      <actuator>{actuator}</actuator>
    </mujoco>"""


MODELS = {
    # a free box with a ball-jointed capsule (spring, damping) and a limited, sprung hinge behind a rotated body
    "free-ball-hinge": _xml(
        """
        <body name="box" pos="0 0 0.4">
          <freejoint name="root"/>
          <geom type="box" size="0.2 0.15 0.1" pos="0.02 0 0.01"/>
          <body name="arm" pos="0.2 0 0.05" quat="0.9 0.1 0.3 -0.2">
            <joint name="shoulder" type="ball" pos="0.01 0.02 0" stiffness="6" damping="0.3" armature="0.02"/>
            <geom type="capsule" size="0.05" fromto="0 0 0 0.3 0 -0.1"/>
            <body name="hand" pos="0.3 0 -0.1" euler="0.3 -0.4 0.2">
              <joint name="wrist" axis="0.2 1 0.1" range="-0.2 0.3" limited="true" stiffness="3" springref="0.1"
                     damping="0.2" armature="0.01"/>
              <geom type="sphere" size="0.07" pos="0.1 0 0"/>
            </body>
          </body>
        </body>""",
        '<motor joint="wrist" gear="5"/>',
    ),
    # a planar root of two slides and a hinge in one body, and a slide on a leg
    "planar-slides": _xml(
        """
        <body name="torso" pos="0 0 0.5">
          <joint name="x" type="slide" axis="1 0 0" armature="0.1"/>
          <joint name="z" type="slide" axis="0 0 1"/>
          <joint name="pitch" axis="0 1 0" damping="0.5"/>
          <geom type="capsule" size="0.08" fromto="-0.2 0 0 0.2 0 0.05"/>
          <body name="leg" pos="0.1 0.03 -0.1">
            <joint name="hip" axis="0 1 0.2" range="-0.3 0.4" limited="true"/>
            <joint name="reach" type="slide" axis="0 0.1 -1" range="-0.05 0.1" limited="true" stiffness="200"
                   damping="3"/>
            <geom type="box" size="0.04 0.05 0.15" pos="0 0 -0.2"/>
          </body>
        </body>""",
        '<motor joint="x" gear="20"/><motor joint="hip" gear="4"/><motor joint="reach" gear="-30"/>',
    ),
    # a tree that branches at a fixed base, a ball at the root, and a second tree that is free
    "two-trees": _xml(
        """
        <body name="post" pos="0 0 1">
          <joint name="swivel" type="ball" damping="0.1"/>
          <geom type="capsule" size="0.04" fromto="0 0 0 0 0.1 -0.4"/>
          <body name="left" pos="0 0.1 -0.4"><joint name="l" axis="1 0 0" ref="0.2"/>
            <geom type="sphere" size="0.1" pos="0 0.2 -0.45"/></body>
          <body name="right" pos="0 -0.1 -0.4"><joint name="r" axis="1 0.3 0" pos="0 0 0.05"/>
            <geom type="sphere" size="0.08" pos="0.05 -0.2 -0.2"/></body>
        </body>
        <body name="ball" pos="1 0 0.1"><freejoint/><geom type="sphere" size="0.15"/></body>""",
        '<motor joint="l" gear="3"/>',
    ),
}


def model(name: str, contact_law: str = "paper", limit_law: str = "paper") -> RigidModel:
    """One of ``MODELS`` with the given force laws."""
    return load_model(MODELS[name], contact_law=contact_law, limit_law=limit_law, name=name)
