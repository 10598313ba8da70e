// Semi-implicit Euler: velocities first, positions with the new velocities.
#pragma once
#include "joints.h"
#include "turns.h"

namespace ds {

DS_FN void integrate(const Model& m, State& s, const R* qdd, T dt)
{
    for (int d = 0; d < m.nv; d++) s.v[d] = s.v[d] + qdd[d] * dt;
#if DS_IMPLICIT
    bend_turns(m, dt, s.v);
#endif
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        R* q = s.q + link[L_Q];
        const R* v = s.v + link[L_DOF];
        if (link[L_WORLD]) add(q, vec(v) * splat(dt));
        DS_WITH_JOINT(link, J::integrate(q, v, dt))
    }
}

// g: cotangent of the state after the step on entry; on exit that of the coordinates before it, at fixed new
// velocities, and of v + qdd dt. s: the state before the step.
DS_FN void integrate_vjp(const Model& m, const State& s, const R* qdd, T dt, State& g)
{
#if DS_IMPLICIT
    R bent[DS_MAX_NV], slope[DS_MAX_NV];
    bent_rates(m, s.v, qdd, dt, bent, slope);
    qdd = bent;
#endif
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        int a = link[L_Q], d = link[L_DOF];
        if (link[L_WORLD]) add(g.v + d, vec(g.q + a) * splat(dt));
        DS_WITH_JOINT(link, J::integrate_vjp(s.q + a, s.v + d, qdd + d, dt, g.q + a, g.v + d))
    }
#if DS_IMPLICIT
    for (int d = 0; d < m.nv; d++) g.v[d] = g.v[d] * slope[d];
#endif
}

}  // namespace ds
