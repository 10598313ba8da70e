// Semi-implicit Euler: velocities first, positions with the new velocities; quaternions by the normalised
// first-order step q <- q + dt/2 q (0, omega), whose rotation axis is exact.
#pragma once
#include "model.h"

namespace ds {

DS_FN void integrate(const Model& m, State& s, const R* qdd, T dt)
{
    for (int d = 0; d < m.nv; d++) s.v[d] = s.v[d] + qdd[d] * dt;
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        R* q = s.q + link[L_Q];
        const R* v = s.v + link[L_DOF];
        if (link[L_TYPE] >= SLIDE) {
            q[0] = q[0] + v[0] * dt;
            continue;
        }
        if (link[L_TYPE] == FREE) {
            add(q, vec(v) * splat(dt));
            q += 3, v += 3;
        }
        Quat p = quat(q), step = mul_pure(p, vec(v) * splat(dt / 2));
        p = {p.w + step.w, p.x + step.x, p.y + step.y, p.z + step.z};
        R scale = splat(T(1)) / sqrt_(norm2(p));
        put(q, Quat{p.w * scale, p.x * scale, p.y * scale, p.z * scale});
    }
}

// g: cotangent of the state after the step on entry; on exit that of the coordinates before it, at fixed new
// velocities, and of the new velocities. s: the state before the step.
DS_FN void integrate_vjp(const Model& m, const State& s, const R* qdd, T dt, State& g)
{
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        int a = link[L_Q], d = link[L_DOF];
        if (link[L_TYPE] >= SLIDE) {
            g.v[d] = g.v[d] + g.q[a] * dt;
            continue;
        }
        if (link[L_TYPE] == FREE) {
            add(g.v + d, vec(g.q + a) * splat(dt));
            a += 3, d += 3;
        }
        V3 half_omega = (vec(s.v + d) + vec(qdd + d) * splat(dt)) * splat(dt / 2);
        Quat p = quat(s.q + a), step = mul_pure(p, half_omega), c = quat(g.q + a);
        Quat n = {p.w + step.w, p.x + step.x, p.y + step.y, p.z + step.z};
        R scale = splat(T(1)) / sqrt_(norm2(n));
        n = {n.w * scale, n.x * scale, n.y * scale, n.z * scale};
        R along = c.w * n.w + c.x * n.x + c.y * n.y + c.z * n.z;
        c = {(c.w - n.w * along) * scale, (c.x - n.x * along) * scale, (c.y - n.y * along) * scale,
             (c.z - n.z * along) * scale};
        add(g.v + d, conj_mul_vec(p, c) * splat(dt / 2));
        Quat back = mul_pure(c, -half_omega);
        put(g.q + a, Quat{c.w + back.w, c.x + back.x, c.y + back.y, c.z + back.z});
    }
}

}  // namespace ds
