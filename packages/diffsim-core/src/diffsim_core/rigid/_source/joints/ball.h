// A ball: the link turns freely about its origin. The coordinates are a quaternion of any length, relative to the parent;
// the velocities are the angular velocity in the link's axes. The spring pulls along the rotation vector.
#pragma once
#include "joint.h"

namespace ds {

struct Ball {
    enum { NQ = 4, NV = 3, WORLD = 0 };

    DS_FN void place(const P* real, const R* q, M3& E, V3& r, SV* S)
    {
        Quat p = quat(q);
        E = E * rotation(p, splat(T(2)) / norm2(p));
        for (int j = 0; j < 3; j++) S[j] = {E.c[j], cross(r, E.c[j])};
    }

    DS_FN Quat turn(const P* real, const R* q, Quat Q) { return Q * unit(quat(q)); }

    // the normalised first-order step q <- q + dt/2 q (0, omega), whose rotation axis is exact
    DS_FN void integrate(R* q, const R* v, T dt)
    {
        Quat p = quat(q), step = mul_pure(p, vec(v) * splat(dt / 2));
        p = {p.w + step.w, p.x + step.x, p.y + step.y, p.z + step.z};
        R scale = splat(T(1)) / sqrt_(norm2(p));
        put(q, Quat{p.w * scale, p.x * scale, p.y * scale, p.z * scale});
    }

    DS_FN void integrate_vjp(const R* q, const R* v, const R* qdd, T dt, R* gq, R* gv)
    {
        V3 half_omega = (vec(v) + vec(qdd) * splat(dt)) * splat(dt / 2);
        Quat p = quat(q), step = mul_pure(p, half_omega), c = quat(gq);
        Quat n = {p.w + step.w, p.x + step.x, p.y + step.y, p.z + step.z};
        R scale = splat(T(1)) / sqrt_(norm2(n));
        n = {n.w * scale, n.x * scale, n.y * scale, n.z * scale};
        R along = c.w * n.w + c.x * n.x + c.y * n.y + c.z * n.z;
        c = {(c.w - n.w * along) * scale, (c.x - n.x * along) * scale, (c.y - n.y * along) * scale,
             (c.z - n.z * along) * scale};
        add(gv, conj_mul_vec(p, c) * splat(dt / 2));
        Quat back = mul_pure(c, -half_omega);
        put(gq, Quat{c.w + back.w, c.x + back.x, c.y + back.y, c.z + back.z});
    }

    DS_FN void pull_back(const R* q, const R* turn, R* out)
    {
        Quat p = quat(q);
        R scale = splat(T(2)) / norm2(p);
        put(out, mul_pure(p, vec(turn) * scale));
    }

    // rotation vector of conj(spring) q, and the transpose of its derivative by a body-frame rotation
    DS_FN V3 deflection(const P* spring, const R* q)
    {
        Quat p = quat(q);
        Quat s = {splat(spring[0]), splat(spring[1]), splat(spring[2]), splat(spring[3])};
        V3 v = conj_mul_vec(s, p);
        R w = s.w * p.w + s.x * p.x + s.y * p.y + s.z * p.z;
        R n = sqrt_(dot(v, v) + T(1e-30)), turn = T(2) * atan2_(n, abs_(w)) / n;
        return v * select(w < R{}, -turn, turn);
    }
    DS_FN V3 deflection_vjp(V3 phi, V3 g)
    {
        // J^T g with J = 1 + [phi]/2 + b [phi]^2, b = (1 - t/2 cot(t/2)) / t^2: the inverse of SO(3)'s right Jacobian
        R t2 = dot(phi, phi), half = sqrt_(t2 + T(1e-30)) * T(0.5), s, c;
        sincos_(half, s, c);
        R exact = (splat(T(1)) - half * c / s) / (t2 + T(1e-30));
        R b = select(t2 < splat(T(1e-3)), splat(T(1.0 / 12)) + t2 * T(1.0 / 720), exact);
        return g - cross(phi, g) * splat(T(0.5)) + cross(phi, cross(phi, g)) * b;
    }

    DS_FN void forces(const int* link, const P* real, const R* q, R* tau)
    {
        if (link[L_STIFF]) add(tau, deflection(real + L_SPRING, q) * splat(-real[L_STIFFNESS]));
    }

    DS_FN void coordinates_vjp(const int* link, const P* real, const R* q, const R* lambda, const R* turn, R* gq)
    {
        V3 rotate_by = vec(turn);
        if (link[L_STIFF]) {
            V3 phi = deflection(real + L_SPRING, q);
            rotate_by = rotate_by + deflection_vjp(phi, vec(lambda) * splat(-real[L_STIFFNESS]));
        }
        R by[3], out[4];
        put(by, rotate_by);
        pull_back(q, by, out);
        add(gq, quat(out));
    }

#if DS_PARAMS
    DS_FN void force_gains_vjp(const Model& m, const int* link, const P* real, const R* q, const R* lambda, R* bar)
    {
        if (link[L_STIFF]) accumulate(m, bar, real + L_STIFFNESS, -dot(vec(lambda), deflection(real + L_SPRING, q)));
    }
#endif
};

}  // namespace ds
