#!/usr/bin/env bash
# Newton 1.8.0 asks for any NumPy, but under NumPy 2.0.0 it does not read MJCF whose geoms have their own contype and
# conaffinity, if self-collisions are off: "object too deep for desired array". It counts classes of collision masks with
# numpy.unique(axis=0, return_inverse=True), whose inverse is a column in NumPy 2.0.0 alone; from 2.0.1 on it is a vector
# again. Our extra newton asks for 2.0.1.
#
# Seen on 2026-11-30 (Linux, Python 3.11, no GPU):
#   numpy 2.0.0: inverse (3, 1), ValueError: object too deep for desired array
#   numpy 2.0.1: inverse (3,), 3 bodies
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/make.py" <<'PY'
import sys

import numpy as np
import warp as wp

import newton

wp.config.quiet = True
BODY = '<body pos="0 0 1"><joint type="hinge"/><geom type="sphere" size="0.1" contype="1" conaffinity="0"/>'
MODEL = f'<mujoco><worldbody>{BODY}{BODY}{BODY}</body></body></body></worldbody></mujoco>'
inverse = np.unique(np.array([[1, 0], [2, 0], [1, 0]]), axis=0, return_inverse=True)[1]
try:
    builder = newton.ModelBuilder()
    newton.solvers.SolverMuJoCo.register_custom_attributes(builder)
    builder.add_mjcf(MODEL, enable_self_collisions=False)
    found = f"{len(builder.body_mass)} bodies"
except ValueError as error:
    found = f"ValueError: {error}"
print(f"numpy {np.__version__}: inverse {inverse.shape}, {found}")
sys.exit(("object too deep" in found) != (sys.argv[1] == "refused"))
PY
for case in 2.0.0=refused 2.0.1=made; do
    python3 -m venv "$folder/${case%=*}"
    "$folder/${case%=*}/bin/pip" install --quiet newton==1.8.0 warp-lang==1.19.0 "numpy==${case%=*}"
    "$folder/${case%=*}/bin/python" "$folder/make.py" "${case#*=}"
done
