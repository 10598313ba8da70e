#!/usr/bin/env bash
# Warp 1.19.0: the adjoint of wp.svd3 is wrong, and finite, where singular values are equal. It divides by
# min(s_j^2 - s_i^2, -1e-6). The rotation of a polar decomposition, R = U V^T, and Hencky's strain, U log(S) U^T, are smooth
# there, and F = I is the undeformed state at which every elastic simulation begins. A material point method that
# differentiates through svd3 therefore has wrong gradients from its first step. diffsim-mpm has adjoints of its own.
#
# Seen on 2026-11-29 (Linux, Python 3.11, no GPU), relative error of the gradient of a random linear function of R:
#   F = I: 0.71
#   F = 1.2 I: 0.55
#   F = diag(1.3, 1.1, 0.8): 0.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet warp-lang==1.19.0 numpy
cat >"$folder/adjoint.py" <<'PY'
import sys

import numpy as np
import warp as wp

wp.config.quiet = True
wp.init()


@wp.kernel
def rotation_part(F: wp.array(dtype=wp.mat33), G: wp.mat33, out: wp.array(dtype=float)):
    U = wp.mat33()
    s = wp.vec3()
    V = wp.mat33()
    wp.svd3(F[0], U, s, V)
    out[0] = wp.ddot(G, U * wp.transpose(V))


def by_warp(F, G):
    f = wp.array(F[None], dtype=wp.mat33, device="cpu", requires_grad=True)
    out = wp.zeros(1, dtype=float, device="cpu", requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(rotation_part, dim=1, inputs=[f, wp.mat33(G)], outputs=[out], device="cpu")
    tape.backward(loss=out)
    return f.grad.numpy()[0]


def by_differences(F, G, h=1e-5):
    def value(F):
        U, _, Vt = np.linalg.svd(F)
        return (G * (U @ Vt)).sum()

    grad = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            step = np.zeros((3, 3))
            step[i, j] = h
            grad[i, j] = (value(F + step) - value(F - step)) / (2 * h)
    return grad


G = np.random.default_rng(0).standard_normal((3, 3))
errors = []
for name, F in (("I", np.eye(3)), ("1.2 I", 1.2 * np.eye(3)), ("diag(1.3, 1.1, 0.8)", np.diag([1.3, 1.1, 0.8]))):
    expected = by_differences(F, G)
    errors.append(np.linalg.norm(by_warp(F, G) - expected) / np.linalg.norm(expected))
    print(f"F = {name}: {errors[-1]:.2f}")
sys.exit(not (min(errors[:2]) > 0.1 > 0.02 > errors[2]))
PY
"$folder/venv/bin/python" "$folder/adjoint.py"
