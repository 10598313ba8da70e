// Model parameters as inputs. With DS_PARAMS the model's reals are lanes (P is R), read from the model and then, entry
// by entry, from each world's parameters: real[slot] = constant + sum of coefficient times parameter. The adjoint
// collects the cotangent of every real in an array of the same layout; see docs/adjoint.md, "Parameters".
#pragma once
#include "actuators.h"
#include "dynamics.h"

namespace ds {

struct Parameters {
    int np, ne, nr;        // parameters, entries, reals that may be inputs
    const int* entry;      // [ne][2] real, parameter
    const T* coefficient;  // [ne]
};
DS_FN Parameters parameters(const int* i, const T* r)
{
    return {i[H_PARAMETERS], i[H_ENTRIES], i[H_REALS], i + i[H_ENTRIES_AT], r + i[H_COEFFICIENTS_AT]};
}

#if DS_PARAMS
// the cotangent of a real of the model, by its place
DS_FN void accumulate(const Model& m, R* bar, const P* real, R by) { bar[real - m.reals] = bar[real - m.reals] + by; }

// springs, limits, dampers, armature and servos of one sub-step
DS_FN void force_parameters_vjp(const Model& m, const State& s, const R* u, const R* qdd, const R* lambda, R* bar)
{
    R z = R{};
    for (int d = 0; d < m.nv; d++) {
        accumulate(m, bar, m.armature + d, -(lambda[d] * qdd[d]));
        accumulate(m, bar, m.damping + d, -(lambda[d] * s.v[d]));
    }
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        const R* q = s.q + link[L_Q];
        int d = link[L_DOF];
        if (link[L_TYPE] >= SLIDE) {
            R below = max_(real[L_LOWER] - q[0], z), above = max_(q[0] - real[L_UPPER], z);
            accumulate(m, bar, real + L_LIMIT_K, lambda[d] * (below - above));
            accumulate(m, bar, real + L_STIFFNESS, -(lambda[d] * (q[0] - real[L_SPRING])));
        } else if (link[L_STIFF]) {
            accumulate(m, bar, real + L_STIFFNESS, -dot(vec(lambda + d), ball_deflection(real + L_SPRING, q)));
        }
    }
    if (DS_SERVOS) {
        for (int a = 0; a < m.ns; a++) {
            const int* servo = m.servo + a * SI_COLUMNS;
            const P* real = m.servor + a * SR_COLUMNS;
            R f = servo_force(m, s, u, a);
            R by = select(f < real[S_LOWER], z, lambda[servo[S_DOF]]);
            by = select(f > real[S_UPPER], z, by);
            accumulate(m, bar, real + S_GAIN, by * u[servo[S_CONTROL]]);
            accumulate(m, bar, real + S_OFFSET, by);
            accumulate(m, bar, real + S_BY_Q, by * s.q[servo[S_Q]]);
            accumulate(m, bar, real + S_BY_V, by * s.v[servo[S_DOF]]);
        }
    }
}

// mass, centre of mass and inertia in a . I b: with the velocities a_c, b_c of the centre of mass it is
// mass a_c . b_c + a_w . (E J E^T) b_w
DS_FN void pairing_vjp(const Model& m, const M3& E, V3 c, const P* real, SV a, SV b, R* bar)
{
    V3 ac = a.v + cross(a.w, c), bc = b.v + cross(b.w, c);
    accumulate(m, bar, real + L_MASS, -dot(ac, bc));
    V3 along = cross(bc, a.w) + cross(ac, b.w);
    for (int j = 0; j < 3; j++) accumulate(m, bar, real + L_COM + j, -(dot(E.c[j], along) * real[L_MASS]));
    R x[3], y[3];
    for (int j = 0; j < 3; j++) x[j] = dot(E.c[j], a.w), y[j] = dot(E.c[j], b.w);
    for (int j = 0; j < 3; j++) accumulate(m, bar, real + L_INERTIA + j, -(x[j] * y[j]));
    accumulate(m, bar, real + L_INERTIA + 3, -(x[0] * y[1] + x[1] * y[0]));
    accumulate(m, bar, real + L_INERTIA + 4, -(x[0] * y[2] + x[2] * y[0]));
    accumulate(m, bar, real + L_INERTIA + 5, -(x[1] * y[2] + x[2] * y[1]));
}

// inertial parameters and gravity: Phi holds A . I X + (X x V) . I V of every link, and -gravity in every A
DS_FN void inertia_parameters_vjp(const Model& m, const Kinematics& k, const SV* A, const SV* X, R* bar)
{
    V3 gravity = zero3();
    for (int i = 0; i < m.nl; i++) {
        if (!m.link[i * LI_COLUMNS + L_MASSIVE]) continue;
        const P* real = m.linkr + i * LR_COLUMNS;
        V3 c = k.r[i] + rotate(k.E[i], real + L_COM);
        pairing_vjp(m, k.E[i], c, real, A[i], X[i], bar);
        pairing_vjp(m, k.E[i], c, real, cross_motion(X[i], k.V[i]), k.V[i], bar);
        gravity = gravity + (X[i].v + cross(X[i].w, c)) * real[L_MASS];
    }
    accumulate(m, bar, m.reals + G_GRAVITY, gravity.x);
    accumulate(m, bar, m.reals + G_GRAVITY + 1, gravity.y);
    accumulate(m, bar, m.reals + G_GRAVITY + 2, gravity.z);
}

// contact with the ground: the force's derivatives by its own constants, paired with the test velocity x
DS_FN void contact_parameters_vjp(const Model& m, const Kinematics& k, const SV* X, R* bar)
{
    R z = R{};
    for (int c = 0; c < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
        if (!any(at.d < splat(m.contacts.back))) continue;
        V3 p = at.p, u = k.V[link].v + cross(k.V[link].w, p), x = X[link].v + cross(X[link].w, p);
        Normal n = normal_force(m, point, at.d, u.z, m.contacts.back);
        Mask inside = at.d < splat(m.contacts.back);
        R inverse = splat(T(1)) / tangential_speed(u), slip = n.bound * inverse;
        Mask slipping = slip < point[C_KT];
        R work = x.x * u.x + x.y * u.y, dm = inside_depth(at.d, m.contacts.back);
        // x . f = x_z f_n - work scale, and scale is kt or, slipping, bound over speed
        R by_bound = select(slipping, select(inside, -(work * inverse), z), z), by_force = select(inside, x.z, z);
        accumulate(m, bar, point + C_KT, select(slipping, z, select(inside, -work, z)));
        R by_d = by_force * n.by_d + by_bound * n.bound_by_d;
        accumulate(m, bar, m.reals + G_GROUND, -by_d);
        if (m.contact_released) {
            accumulate(m, bar, point + C_KN, -(by_force * dm) - by_bound * point[C_MU] * dm);
            accumulate(m, bar, point + C_KD, by_force * min_(u.z, z) * dm);
            accumulate(m, bar, point + C_MU, -(by_bound * point[C_KN] * dm));
        } else {
            R sign = select(n.force < z, -point[C_MU], point[C_MU]);
            R by_normal = by_force + by_bound * sign;
            accumulate(m, bar, point + C_KN, -(by_normal * dm));
            accumulate(m, bar, point + C_KD, by_normal * u.z * dm);
            accumulate(m, bar, point + C_MU, by_bound * abs_(n.force));
        }
    }
}
#endif

}  // namespace ds
