"""The model as the two flat tables that ``_source/model.h`` reads."""

from __future__ import annotations

import numpy as np

from diffsim_mpm.tet.mesh import Numbers
from diffsim_mpm.tet.model import TetModel, rest_shapes


def pack(model: TetModel) -> tuple[Numbers, Numbers]:
    """Integers and reals, in the order of the columns there."""
    mesh, contact = model.mesh, model.contact
    ground = model.ground is not None
    head = [mesh.num_nodes, mesh.num_tets, model.num_controls, len(model.capsules), int(ground)]
    tets = np.column_stack([mesh.tets, np.asarray(model.actuators)])
    integers = np.concatenate([head, tets.ravel()]).astype(np.int32)
    inverse = rest_shapes(mesh)
    S = inverse @ np.swapaxes(inverse, 1, 2)
    element = np.column_stack(
        [
            S[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]],
            np.linalg.det(inverse),
            *(model.of_tets(name) * mesh.volumes for name in ("k_mu", "k_lambda", "k_damp")),
        ]
    )
    law = [contact.ke, contact.kd, contact.kf, contact.mu, contact.radius, model.ground or 0.0]
    thick = [radius + contact.radius for radius in model.capsules]
    reals = np.concatenate([model.gravity, law, element.ravel(), 1 / model.masses, thick])
    return integers, reals
