"""What a viewer gets of a rollout."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_mpm.tet import TetDynamics, TetModel, TetState, box

pytest.importorskip("diffsim_core.viewer._deformable")


def test_a_motion_has_the_surface_and_its_shades():
    from diffsim_core.viewer import Footage

    model = TetModel(mesh=box((1, 1, 1), (1, 1, 1)), actuators=[0, 0, 1, 1, -1, -1], ground=-1.0)
    x = np.repeat(np.repeat(model.mesh.x[None, None], 2, 1), 3, 0)
    x[2] *= [1.5, 1.0, 1.0]
    action = np.broadcast_to([0.25, 0.25], (3, 2, 2))
    begins = np.zeros((3, 2), dtype=bool)
    begins[0] = True
    dynamics = TetDynamics(model, dt=0.001, substeps=1)
    motion = dynamics.motion(Footage(TetState(x, np.zeros_like(x)), action, begins, {}), name="cube", dt=0.1)
    (body,) = motion.deformables
    assert np.array_equal(body.triangles, model.surface) and body.position.shape == (3, 2, 8, 3)
    np.testing.assert_allclose(body.shades["strain"][:2], 0, atol=1e-6)
    np.testing.assert_allclose(body.shades["strain"][2], (1.5**2 - 1) / 2, rtol=1e-5)
    # nodes 0 and 7 belong to all six tetrahedra, of which four are activated
    np.testing.assert_allclose(body.shades["activation"].max(), 0.25, rtol=1e-5)
    assert motion.shapes[0].pos[2] == -1.0
    assert np.isclose(body.shades["activation"][0, 0], 0.25 * 2 / 3).any()
