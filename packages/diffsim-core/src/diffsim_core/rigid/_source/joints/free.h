// A free joint: a place in the world, and a ball there that no spring holds. Velocities are linear in the world's axes, then
// angular in the link's.
#pragma once
#include "ball.h"

namespace ds {

struct Free {
    enum { NQ = 7, NV = 6, WORLD = 3 };

    DS_FN void place(const P* real, const R* q, M3& E, V3& r, SV* S)
    {
        Quat p = quat(q + 3);
        E = rotation(p, splat(T(2)) / norm2(p));
        r = zero3();
        for (int j = 0; j < 3; j++) S[j] = {E.c[j], zero3()};
    }

    DS_FN Quat turn(const P* real, const R* q, Quat Q) { return unit(quat(q + 3)); }

    DS_FN void integrate(R* q, const R* v, T dt) { Ball::integrate(q + 3, v + 3, dt); }

    DS_FN void integrate_vjp(const R* q, const R* v, const R* qdd, T dt, R* gq, R* gv)
    {
        Ball::integrate_vjp(q + 3, v + 3, qdd + 3, dt, gq + 3, gv + 3);
    }

    DS_FN void pull_back(const R* q, const R* turn, R* out) { Ball::pull_back(q + 3, turn, out + 3); }

    DS_FN void forces(const int* link, const P* real, const R* q, R* tau) {}

    DS_FN void coordinates_vjp(const int* link, const P* real, const R* q, const R* lambda, const R* turn, R* gq)
    {
        R out[NQ];
        pull_back(q, turn, out);
        add(gq + 3, quat(out + 3));
    }

#if DS_PARAMS
    DS_FN void force_gains_vjp(const Model& m, const int* link, const P* real, const R* q, const R* lambda, R* bar) {}
#endif
};

}  // namespace ds
