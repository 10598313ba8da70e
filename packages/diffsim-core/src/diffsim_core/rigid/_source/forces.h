// Generalised forces of the joints themselves: springs, limits and dampers.
#pragma once
#include "losses.h"

namespace ds {

// spring, limit and damping forces into tau, and what damps into C
DS_FN void joint_forces(const Model& m, const State& s, R* tau, Damping& C)
{
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        DS_WITH_JOINT(link, J::forces(link, real, s.q + link[L_Q], tau + link[L_DOF]))
    }
    for (int d = 0; d < m.nv; d++) tau[d] = tau[d] - s.v[d] * m.damping[d];
#if DS_IMPLICIT
    for (int d = 0; d < m.nv; d++) C.dof[d] = C.dof[d] + m.damping[d];
#endif
#if DS_LOSSES
    loss_forces(m, s, tau, C);
#endif
}

}  // namespace ds
