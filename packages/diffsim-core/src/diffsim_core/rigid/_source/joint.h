// A type of joint. Its header defines one struct of constants and static functions, on the joint's own coordinates q and
// velocities v; `real` is its link's row of reals and `link` that of its integers (columns in model.h):
//
//     NQ, NV                                 how many coordinates and velocities it has
//     WORLD                                  3 if its first three coordinates and velocities are its link's place in the
//                                            world and its rate, else 0; the engine itself moves these
//     place(real, q, E, r, S)                E, r: axes and origin of the link, where the parent carries them on entry,
//                                            where the joint has moved them on exit; S: the motion (angular, and linear of
//                                            the point at r = 0) of the link for each velocity after WORLD
//     turn(real, q, Q)                       the attitude after the joint, from that before it
//     integrate(q, v, dt)                    q after dt at constant v
//     integrate_vjp(q, v, qdd, dt, gq, gv)   gq: cotangent of q after the step on entry, of q before it on exit; adds to
//                                            gv; v before the step, so that v + qdd dt moved it
//     pull_back(q, turn, out)                cotangent of q, from those of moving the link along each column of S
//     forces(link, real, q, tau)             adds spring and limits
//     coordinates_vjp(link, real, q, lambda, turn, gq)   adds what pull_back gives, and the gradient of lambda . forces
//     force_gains_vjp(m, link, real, q, lambda, bar)     with DS_PARAMS: adds the cotangents of stiffness and limits
//
// What adjoint.h relies on: the columns of S after WORLD are carried along with the link, so they are constant in its
// axes, and the motions that they span form a group (revolute, prismatic, helical, cylindrical, planar, spherical).
// Others are made of several joints in a row.
#pragma once
#include "model.h"

namespace ds {

// What a joint with one coordinate has, whose rate is its velocity: a linear spring, and a range with soft ends
// (SHAC paper, Eq. 4).
struct Scalar {
    enum { NQ = 1, NV = 1, WORLD = 0 };

    DS_FN R displacement(const P* real, const R* q) { return q[0] - real[L_REF]; }

    DS_FN void integrate(R* q, const R* v, T dt) { q[0] = q[0] + v[0] * dt; }

    DS_FN void integrate_vjp(const R* q, const R* v, const R* qdd, T dt, R* gq, R* gv) { gv[0] = gv[0] + gq[0] * dt; }

    DS_FN void pull_back(const R* q, const R* turn, R* out) { out[0] = turn[0]; }

    DS_FN void forces(const int* link, const P* real, const R* q, R* tau)
    {
        R below = max_(splat(real[L_LOWER]) - q[0], R{}), above = max_(q[0] - real[L_UPPER], R{});
        tau[0] = tau[0] + (below - above) * real[L_LIMIT_K] - (q[0] - real[L_SPRING]) * real[L_STIFFNESS];
    }

    DS_FN void coordinates_vjp(const int* link, const P* real, const R* q, const R* lambda, const R* turn, R* gq)
    {
        R slope = select(q[0] < splat(real[L_LOWER]), splat(-real[L_LIMIT_K]), R{});
        slope = select(q[0] > splat(real[L_UPPER]), splat(-real[L_LIMIT_K]), slope) - real[L_STIFFNESS];
        gq[0] = gq[0] + turn[0] + lambda[0] * slope;
    }

#if DS_PARAMS
    DS_FN void force_gains_vjp(const Model& m, const int* link, const P* real, const R* q, const R* lambda, R* bar)
    {
        R below = max_(real[L_LOWER] - q[0], R{}), above = max_(q[0] - real[L_UPPER], R{});
        accumulate(m, bar, real + L_LIMIT_K, lambda[0] * (below - above));
        accumulate(m, bar, real + L_STIFFNESS, -(lambda[0] * (q[0] - real[L_SPRING])));
    }
#endif
};

}  // namespace ds
