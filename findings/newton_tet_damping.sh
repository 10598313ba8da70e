#!/usr/bin/env bash
# Newton 1.8.0 damps the volume of a tetrahedron with the velocities of three of its corners instead of velocities relative
# to the fourth (solvers/semi_implicit/kernels_particle.py: f_damp sums dot(dJdx_i, v_i) over corners 1 to 3). A tetrahedron in
# its rest shape that only moves along is therefore squeezed, the more the faster it is, and motion in one direction is
# damped differently from motion in the other. Without damping all is well. Ours (diffsim_mpm.tet) takes relative velocities.
#
# Seen on 2026-11-29 (Linux, Python 3.11, no GPU):
#   k_damp 0: change of shape 0.0e+00 at 0 m/s, 1.2e-07 at 10 m/s
#   k_damp 1: change of shape 0.0e+00 at 0 m/s, 2.8e-03 at 10 m/s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet newton==1.8.0 warp-lang==1.19.0 numpy
cat >"$folder/moving.py" <<'PY'
import sys

import numpy as np
import warp as wp

import newton

wp.config.quiet = True
CORNERS = [(0.0, 0.0, 5.0), (1.0, 0.0, 5.0), (0.0, 1.0, 5.0), (0.0, 0.0, 6.0)]


def change_of_shape(speed, k_damp):
    """Largest change of an edge [m] in ten steps of 1 ms, from rest shape and equal velocities."""
    builder = newton.ModelBuilder(gravity=(0.0, 0.0, 0.0))
    for corner in CORNERS:
        builder.add_particle(wp.vec3(*corner), wp.vec3(speed, 0.0, 0.0), mass=0.05)
    builder.add_tetrahedron(0, 1, 2, 3, 1000.0, 1000.0, k_damp)
    model = builder.finalize(device="cpu")
    solver = newton.solvers.SolverSemiImplicit(model)
    now, then, control = model.state(), model.state(), model.control()
    for _ in range(10):
        now.clear_forces()
        solver.step(now, then, control, None, 1e-3)
        now, then = then, now
    x = now.particle_q.numpy()
    return float(np.abs((x[1:] - x[0]) - (np.array(CORNERS)[1:] - np.array(CORNERS)[0])).max())


seen = {}
for k_damp in (0.0, 1.0):
    seen[k_damp] = [change_of_shape(speed, k_damp) for speed in (0.0, 10.0)]
    print(f"k_damp {k_damp:g}: change of shape {seen[k_damp][0]:.1e} at 0 m/s, {seen[k_damp][1]:.1e} at 10 m/s")
sys.exit(not (max(*seen[0.0], seen[1.0][0]) < 1e-5 < 1e-3 < seen[1.0][1]))
PY
"$folder/venv/bin/python" "$folder/moving.py"
