"""A little skeleton with muscles in MASS's formats."""

from __future__ import annotations

IDENTITY = "1 0 0 0 1 0 0 0 1"
SKELETON = f"""<Skeleton name="hopper">
  <Node name="Trunk" parent="None">
    <Body type="Box" mass="15" size="0.2 0.3 0.1" contact="Off">
      <Transformation linear="{IDENTITY}" translation="0 1 0"/></Body>
    <Joint type="Free"><Transformation linear="{IDENTITY}" translation="0 1 0"/></Joint>
  </Node>
  <Node name="Thigh" parent="Trunk">
    <Body type="Box" mass="3.75" size="0.1 0.4 0.1">
      <Transformation linear="0.8 0 0.6 0 1 0 -0.6 0 0.8" translation="0 0.65 0"/></Body>
    <Joint type="Ball" lower="-2 -2 -2" upper="2 2 2">
      <Transformation linear="{IDENTITY}" translation="0 0.85 0"/></Joint>
  </Node>
  <Node name="Shin" parent="Thigh">
    <Body type="Capsule" mass="2" radius="0.05" height="0.3">
      <Transformation linear="{IDENTITY}" translation="0 0.25 0"/></Body>
    <Joint type="Revolute" axis="1 0 0" lower="0" upper="2.3">
      <Transformation linear="{IDENTITY}" translation="0 0.45 0.01"/></Joint>
  </Node>
  <Node name="Ball" parent="Shin">
    <Body type="Sphere" mass="0.5" radius="0.06"><Transformation linear="{IDENTITY}" translation="0 0.06 0"/></Body>
    <Joint type="Weld"><Transformation linear="{IDENTITY}" translation="0 0.06 0"/></Joint>
  </Node>
</Skeleton>"""
MUSCLES = """<Muscle>
  <Unit name="front" f0="500" lm="1" lt="0.2" pen_angle="0" lmax="-0.1">
    <Waypoint body="Trunk" p="0.01 0.95 0.05"/><Waypoint body="Thigh" p="0 0.6 0.06"/>
    <Waypoint body="Thigh" p="0 0.47 0.06"/><Waypoint body="Shin" p="0 0.4 0.05"/>
  </Unit>
  <Unit name="back" f0="300" lm="1" lt="0.2" pen_angle="0" lmax="-0.1">
    <Waypoint body="Thigh" p="0 0.7 -0.05"/><Waypoint body="Shin" p="0 0.4 -0.05"/>
  </Unit>
  <Unit name="foot" f0="100"><Waypoint body="Shin" p="0 0.3 0"/><Waypoint body="Ball" p="0 0.1 0.02"/></Unit>
</Muscle>"""
