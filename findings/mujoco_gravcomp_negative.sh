#!/usr/bin/env bash
# In MuJoCo 4.0.0 a body with a negative gravcomp, which should feel more gravity, feels ordinary gravity if no body of the
# model has a positive one: the bodies with gravcomp are counted by its sign, and the pass is left out where the count is 0.
# A gravcomp of 1e-9 on another body, which does nothing by itself, switches the first one on. A model that is put together
# from parts can so change its physics with a part that has none.
#
# Seen on 2026-11-30 (Linux, Python 3.11, no GPU):
#   gravcomp -1 alone: acceleration -9.81
#   gravcomp -1 beside a body with 1e-9: acceleration -19.62
#   gravcomp 0.5 alone: acceleration -4.91
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet mujoco==4.0.0
cat >"$folder/gravcomp.py" <<'PY'
import sys

import mujoco

XML = """
<mujoco>
  <worldbody>
    <body gravcomp="{own}"><joint type="slide" axis="0 0 1"/><geom size="0.1" mass="1"/></body>
    <body gravcomp="{other}" pos="1 0 0"><joint type="slide" axis="0 0 1"/><geom size="0.1" mass="1"/></body>
  </worldbody>
</mujoco>
"""


def acceleration(own, other):
    m = mujoco.MjModel.from_xml_string(XML.format(own=own, other=other))
    d = mujoco.MjData(m)
    mujoco.mj_forward(m, d)
    return float(d.qacc[0])


alone, beside, half = acceleration("-1", "0"), acceleration("-1", "1e-9"), acceleration("0.5", "0")
print(f"gravcomp -1 alone: acceleration {alone:.2f}")
print(f"gravcomp -1 beside a body with 1e-9: acceleration {beside:.2f}")
print(f"gravcomp 0.5 alone: acceleration {half:.2f}")
seen = (alone, -9.81), (beside, -19.62), (half, -4.905)
sys.exit(not all(abs(found - was) < 1e-6 for found, was in seen))
PY
"$folder/venv/bin/python" "$folder/gravcomp.py"
