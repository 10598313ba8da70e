#!/usr/bin/env bash
# A joint equality of MuJoCo 4.0.0 with a polynomial law, q2 = p(q1), holds position and velocity, but not acceleration: the
# term p''(q1) qd1^2 is left out of the constraint, at every stiffness. Two slides that move along a parabola are told to go
# straight on, and the follower is pulled back by its spring alone, so it lags behind at speed. With a linear law nothing is
# lost. An oracle for coupled joints must add the term, or compare with linear laws only.
#
# Seen on 2026-11-30 (Linux, Python 3.11, no GPU), b = a^2 at a = 0.5, speeds 2 and 2, where bdd - add must be 8:
#   time constant 0.02: bdd - add = 0.0, a law without lag needs 8.0
#   time constant 0.002: bdd - add = 0.0, a law without lag needs 8.0
#   linear law: bdd - 2 add = 0.0, needs 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mujoco==4.0.0
cat >"$folder/equality.py" <<'PY'
import sys

import mujoco

XML = """
<mujoco>
  <option gravity="0 0 0" timestep="0.001" jacobian="dense" tolerance="1e-14" iterations="200"/>
  <worldbody>
    <body><joint name="a" type="slide" axis="1 0 0"/><geom size="0.1" mass="1" contype="0" conaffinity="0"/></body>
    <body pos="0 1 0"><joint name="b" type="slide" axis="1 0 0"/><geom size="0.1" mass="1" contype="0" conaffinity="0"/></body>
  </worldbody>
  <equality>
    <joint joint1="b" joint2="a" polycoef="{law}" solref="{time} 1" solimp="0.9999 0.9999 0.001"/>
  </equality>
</mujoco>
"""


def accelerations(law, time, place, rate):
    """At a = 0.5 with speed 2, b where the law wants it."""
    m = mujoco.MjModel.from_xml_string(XML.format(law=law, time=time))
    d = mujoco.MjData(m)
    d.qpos[:], d.qvel[:] = (0.5, place), (2.0, rate)
    mujoco.mj_forward(m, d)
    return d.qacc.copy()


expected = True
for time in (0.02, 0.002):
    add, bdd = accelerations("0 0 1 0 0", time, 0.25, 2.0)  # p' = 2 a = 1, p'' qd^2 = 8
    print(f"time constant {time}: bdd - add = {bdd - add:.1f}, a law without lag needs 8.0")
    expected &= abs(bdd - add) < 0.1
add, bdd = accelerations("0 2 0 0 0", 0.02, 1.0, 4.0)
print(f"linear law: bdd - 2 add = {abs(bdd - 2 * add):.1f}, needs 0.0")
expected &= abs(bdd - 2 * add) < 1e-3
sys.exit(not expected)
PY
"$folder/venv/bin/python" "$folder/equality.py"
