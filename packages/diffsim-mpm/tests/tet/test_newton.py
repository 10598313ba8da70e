"""Forces of tetrahedra against Newton's, which come from the same energy."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_mpm.tet import TetModel, box, twin

from .host import FREE

newton = pytest.importorskip("newton")

pytestmark = pytest.mark.slow  # compiles Newton's kernels


def test_forces_are_newtons():
    """Strained and activated, without motion: Newton damps with absolute velocities, see findings/."""
    import warp as wp

    model = TetModel(mesh=box((1.0, 0.5, 0.7), (2, 1, 1)), k_mu=700.0, k_lambda=1500.0, **FREE)
    random = np.random.default_rng(0)
    mesh, dt = model.mesh, 1e-3
    x = mesh.x + 0.05 * random.normal(size=mesh.x.shape)
    u = 0.2 * random.uniform(-1, 1, model.num_controls)
    builder = newton.ModelBuilder(gravity=(0.0, 0.0, 0.0))
    for node, mass in zip(mesh.x, model.masses, strict=True):
        builder.add_particle(wp.vec3(*node), wp.vec3(0.0, 0.0, 0.0), mass=float(mass))
    for tet in mesh.tets.tolist():
        builder.add_tetrahedron(*tet, 700.0, 1500.0, 1.0)
    theirs = builder.finalize(device="cpu")
    now, then, control = theirs.state(), theirs.state(), theirs.control()
    now.particle_q.assign(x.astype(np.float32))
    control.tet_activations.assign(u.astype(np.float32))
    newton.solvers.SolverSemiImplicit(theirs).step(now, then, control, None, dt)
    forces = model.masses[:, None] * then.particle_qd.numpy() / dt
    expected = twin.elastic_forces(model, x, np.zeros_like(x), u)
    np.testing.assert_allclose(forces, expected, atol=1e-4 * abs(expected).max())
