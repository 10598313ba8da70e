// Dry friction of joints, -f tanh(qd / w), and dampers of joint limits, -c x / (x + x0) qd at a depth x beyond the range.
#pragma once
#include "implicit.h"
#include "joints.h"

namespace ds {

#if DS_LOSSES || DS_TENDONS
// tanh(v / w) / v, the damper that friction amounts to, and its derivative by v; friction is -f grip v
struct Grip {
    R value, slope;
};
DS_FN Grip grip(R v, P width)
{
    R t = v / width, t2 = t * t, one = splat(T(1)), inverse = one / splat(width);
    // beyond 20 tanh is 1 in every format
    R e = exp_(max_(min_(t, splat(T(20))), splat(T(-20))) * T(-2)), tanh = (one - e) / (one + e);
    Mask small = t2 < splat(T(1e-2));
    R safe = select(small, one, t), series = one - t2 * (T(1.0 / 3) - t2 * (T(2.0 / 15) - t2 * T(17.0 / 315)));
    R value = select(small, series, tanh / safe);
    R bend = t * (T(-2.0 / 3) + t2 * (T(8.0 / 15) - t2 * T(34.0 / 105)));
    R slope = select(small, bend, (one - tanh * tanh - value) / safe);
    return {value * inverse, slope * inverse * inverse};
}

#endif

#if DS_LOSSES
// a limit's damper at coordinate q, and its derivative by q
DS_FN Grip limit_damper(const P* real, R q)
{
    R z = R{}, below = max_(splat(real[L_LOWER]) - q, z), above = max_(q - real[L_UPPER], z);
    R x = below + above, share = splat(T(1)) / (x + splat(real[L_LIMIT_W]));
    R slope = share * share * (real[L_LIMIT_W] * real[L_LIMIT_C]);
    return {x * share * real[L_LIMIT_C], select(below > z, -slope, select(above > z, slope, z))};
}

DS_FN void loss_forces(const Model& m, const State& s, R* tau, Damping& C)
{
    for (int d = 0; d < m.nv; d++) {
        R c = grip(s.v[d], m.reals[G_FRICTION_WIDTH]).value * m.friction[d];
        tau[d] = tau[d] - c * s.v[d];
#if DS_IMPLICIT
        C.dof[d] = C.dof[d] + c;
#endif
    }
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        int d = link[L_DOF];
        if (!link[L_LIMITED]) continue;
        R c = limit_damper(real, s.q[link[L_Q]]).value;
        tau[d] = tau[d] - c * s.v[d];
#if DS_IMPLICIT
        C.dof[d] = C.dof[d] + c;
#endif
    }
}

// adds minus the gradient of Phi = lambda c(q, qd) w, where w = qd, or with the implicit part qd + h qdd
DS_FN void loss_vjp(const Model& m, const State& s, const R* lambda, const R* w, State& g)
{
    for (int d = 0; d < m.nv; d++) {
        Grip c = grip(s.v[d], m.reals[G_FRICTION_WIDTH]);
        g.v[d] = g.v[d] - lambda[d] * m.friction[d] * (c.value + c.slope * w[d]);
    }
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        int d = link[L_DOF], a = link[L_Q];
        if (!link[L_LIMITED]) continue;
        Grip c = limit_damper(m.linkr + i * LR_COLUMNS, s.q[a]);
        g.v[d] = g.v[d] - lambda[d] * c.value;
        g.q[a] = g.q[a] - lambda[d] * c.slope * w[d];
    }
}

#if DS_PARAMS
DS_FN void loss_parameters_vjp(const Model& m, const State& s, const R* lambda, const R* w, R* bar)
{
    for (int d = 0; d < m.nv; d++)
        accumulate(m, bar, m.friction + d, -(lambda[d] * w[d] * grip(s.v[d], m.reals[G_FRICTION_WIDTH]).value));
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        int d = link[L_DOF];
        if (!link[L_LIMITED]) continue;
        R q = s.q[link[L_Q]], x = max_(real[L_LOWER] - q, R{}) + max_(q - real[L_UPPER], R{});
        accumulate(m, bar, real + L_LIMIT_C, -(lambda[d] * w[d] * x / (x + real[L_LIMIT_W])));
    }
}
#endif
#endif

}  // namespace ds
