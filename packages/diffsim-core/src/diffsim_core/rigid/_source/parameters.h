// Model parameters as inputs. With DS_PARAMS the model's reals are lanes (P is R), read from the model and then, entry
// by entry, from each world's parameters: real[slot] = constant + sum of coefficient times parameter. The adjoint
// collects the cotangent of every real in an array of the same layout; see docs/development/adjoint.md, "Parameters".
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
// springs, limits, dampers, armature and servos of one sub-step
// added, damped: with the implicit part h qdd and qd + h qdd, see adjoint.h
DS_FN void force_parameters_vjp(const Model& m, const State& s, const R* u, const R* qdd, const R* added, const R* damped,
                                const R* lambda, R* bar)
{
    R z = R{};
    for (int d = 0; d < m.nv; d++) {
        accumulate(m, bar, m.armature + d, -(lambda[d] * qdd[d]));
        accumulate(m, bar, m.damping + d, -(lambda[d] * damped[d]));
    }
#if DS_LOSSES
    loss_parameters_vjp(m, s, lambda, damped, bar);
#endif
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        DS_WITH_JOINT(link, J::force_gains_vjp(m, link, real, s.q + link[L_Q], lambda + link[L_DOF], bar))
    }
    if (DS_SERVOS) {
        ServoBar of;
        servo_bar(m, s, u, lambda, added, of);
        for (int a = 0; a < m.ns; a++) {
            const int* servo = m.servo + a * SI_COLUMNS;
            const P* real = m.servor + a * SR_COLUMNS;
            R f = servo_force(m, s, u, a);
            int d = servo[S_DOF];
            R by = servo_force_vjp(real, f, of.force[d], of.damper[d], added[d]), by_v = by * s.v[d];
#if DS_IMPLICIT
            ServoDamper damper = servo_damper(real, f);
            by_v = by_v + select(damper.damping > R{}, of.damper[d] * added[d] * damper.share, R{});
#endif
            accumulate(m, bar, real + S_GAIN, by * u[servo[S_CONTROL]]);
            accumulate(m, bar, real + S_OFFSET, by);
            accumulate(m, bar, real + S_BY_Q, by * s.q[servo[S_Q]]);
            accumulate(m, bar, real + S_BY_V, by_v);
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

// A contact's gains, from x . f = x_n f_n - scale work with the scale of friction.h, work = x_t . u_t and square = |u_t|^2;
// against the world with the implicit part less x_n y_n c, with the c of firmness() and work = x_t . (u_t + y_t). Returns the
// derivative by distance.
DS_FN R gains_vjp(const Model& m, const P* row, R d, R un, R xn, R work, R square, R xy, T h, R* bar)
{
    T back = m.contacts.back;
    R z = R{};
    Normal n = normal_force(m, row, d, un, back);
    Mask inside = d < splat(back);
    FrictionBar f = friction_vjp(sticking(row, d, back), n.bound, square, work);
    R by_bound = -f.by_bound, by_force = select(inside, xn, z);
    accumulate(m, bar, row + C_KT, select(f.slipping, z, select(inside, -work, z)));
    Gains g;
    DS_WITH_LAW(m, g = Law::gains_vjp(row, inside_depth(d, back), un, n, by_force, by_bound))
    accumulate(m, bar, row + C_KN, g.kn);
    accumulate(m, bar, row + C_KD, g.kd);
    accumulate(m, bar, row + C_MU, g.mu);
    R by_d = by_force * n.by_d + by_bound * n.bound_by_d;
#if DS_IMPLICIT
    R depth = inside_depth(d, back), by_firmness = select(inside, -xy, z);
    Firmness c = firmness(row, d, depth, back, h);
    accumulate(m, bar, row + C_KD, -(by_firmness * depth));
    accumulate(m, bar, row + C_KN, select(row[C_KN] > z, by_firmness * (c.value + depth * row[C_KD]) / row[C_KN], z));
    by_d = by_d + by_firmness * c.by_d;
#endif
    return by_d;
}
DS_FN R touch_gains_vjp(const Model& m, const P* row, const Touch& at, V3 u, V3 x, R* bar)
{
    R un = dot(u, at.n), xn = dot(x, at.n);
    V3 ut = u - at.n * un;
    return gains_vjp(m, row, at.d, un, xn, dot(x, ut), dot(ut, ut), R{}, T(0), bar);
}
#if DS_IMPLICIT
DS_FN R touch_world_gains_vjp(const Model& m, const P* row, const Touch& at, V3 u, V3 x, V3 y, T h, R* bar)
{
    R un = dot(u, at.n), xn = dot(x, at.n), yn = dot(y, at.n);
    V3 ut = u - at.n * un, wt = ut + y - at.n * yn;
    return gains_vjp(m, row, ahead(at.d, un, h), un, xn, dot(x, wt), dot(ut, ut), xn * yn, h, bar);
}
#endif

#if DS_SPINS
// those of friction against turning
DS_FN void spin_parameters_vjp(const Model& m, const Kinematics& k, const SV* X, const SV* Y, T h, R* bar)
{
    T back = m.contacts.back;
    for (int j = 0; j < m.spins.n; j++) {
        SpinPoint p = spin_point(m, k, j);
        R z = R{}, un = dot(point_velocity(k.V[p.link], p.s.at.p), p.s.at.n), d = ahead(p.s.at.d, un, h);
        if (!any(d < splat(back))) continue;
        Slips s = slips(p.s.at.n, k.V[p.link].w, X[p.link].w, turning(Y, p.link));
        R about = p.spin * s.xn * (s.wn + s.yn), across = p.roll * dot(s.xt, s.wt + s.yt);
        R by_d = gains_vjp(m, p.row, d, un, z, about, p.square * s.wn * s.wn, z, h, bar) +
                 gains_vjp(m, p.row, d, un, z, across, p.square * dot(s.wt, s.wt), z, h, bar);
        if (!m.contacts.nx && !p.s.plane) accumulate(m, bar, m.reals + G_GROUND, -by_d);
    }
}
#endif

// contact's constants: of points on the plane, on other ground, and of pairs
DS_FN void contact_parameters_vjp(const Model& m, const Kinematics& k, const SV* X, const SV* Y, T h, R* bar)
{
    T back = m.contacts.back;
#if DS_SPINS
    spin_parameters_vjp(m, k, X, Y, h, bar);
#endif
    for (int c = 0, group = 0; (c = next_level_point(m, k, back, h, c, group)) < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
        V3 u = point_velocity(k.V[link], at.p), x = point_velocity(X[link], at.p);
        if (!any(ahead(at.d, u.z, h) < splat(back))) continue;
        R square = u.x * u.x + u.y * u.y;
#if DS_IMPLICIT
        V3 y = point_velocity(Y[link], at.p), w = u + y;
        R by_d = gains_vjp(m, point, ahead(at.d, u.z, h), u.z, x.z, x.x * w.x + x.y * w.y, square, x.z * y.z, h, bar);
#else
        R by_d = gains_vjp(m, point, at.d, u.z, x.z, x.x * u.x + x.y * u.y, square, R{}, T(0), bar);
#endif
        accumulate(m, bar, m.reals + G_GROUND, -by_d);
    }
    for (int c = 0, group = m.contacts.ng; (c = next_surface_point(m, k, back, h, c, group)) < m.contacts.nf; c++) {
        int link = m.contacts.surface[c * FI_COLUMNS + F_LINK];
        SurfacePoint s = surface_point(m, k, c);
        const Touch& at = s.at;
        V3 u = shortened(s, point_velocity(k.V[link], at.p)), x = shortened(s, point_velocity(X[link], at.p));
        if (!any(ahead(at.d, dot(u, at.n), h) < splat(back))) continue;
#if DS_IMPLICIT
        V3 y = shortened(s, point_velocity(Y[link], at.p));
        R by_d = touch_world_gains_vjp(m, m.touchr + c * CR_COLUMNS, at, u, x, y, h, bar);
#else
        R by_d = touch_gains_vjp(m, m.touchr + c * CR_COLUMNS, at, u, x, bar);
#endif
        if (!m.contacts.nx && !s.plane) accumulate(m, bar, m.reals + G_GROUND, -by_d);
    }
    if (m.contacts.np) pair_gains_vjp(m, k, X, bar);
}
#endif

}  // namespace ds
