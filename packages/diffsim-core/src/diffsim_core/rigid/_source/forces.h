// Penalty contact (SHAC paper, Eq. 3), joint springs and limits (Eq. 4), and their derivatives.
#pragma once
#include "kinematics.h"

namespace ds {

struct ContactPoint {
    V3 p;  // lowest point of the sphere, from the reference point
    R d;   // signed distance to the ground, negative inside
};

DS_FN ContactPoint contact_point(const Model& m, const Kinematics& k, int link, const P* point)
{
    V3 p = k.r[link] + rotate(k.E[link], point + C_POS);
    p.z = p.z - point[C_RADIUS];
    return {p, p.z + (k.height[link] - m.ground)};
}

// min(d, 0), or its smoothed form: equal beyond +-width, a parabola between
DS_FN R inside_depth(R d, T width)
{
    R z = R{}, dm = min_(d, z);
    if (width > 0) {
        R left = max_(splat(width) - d, z);
        dm = select(d < splat(-width), d, left * left * (T(-0.25) / width));
    }
    return dm;
}

// Normal force, friction bound and their derivatives by depth and by normal velocity.
struct Normal {
    R force, by_d, by_u, bound, bound_by_d, bound_by_u;
};
template <class X>
DS_FN Normal normal_force(const Model& m, const X* point, R d, R u, T width)
{
    R z = R{}, dm = inside_depth(d, width);
    X kn = point[C_KN], kd = point[C_KD], mu = point[C_MU];
    Normal n;
    if (m.contact_released) {
        // damping only while approaching; Coulomb bound from the spring alone
        R approach = min_(u, z) * kd - splat(kn);
        n.force = approach * dm;
        n.by_d = approach;
        n.by_u = select(u < z, dm * kd, z);
        n.bound = dm * (-mu * kn);
        n.bound_by_d = splat(-mu * kn);
        n.bound_by_u = z;
    } else {
        R stiff = u * kd - splat(kn);
        n.force = stiff * dm;
        n.by_d = stiff;
        n.by_u = dm * kd;
        R sign = select(n.force < z, splat(-mu), splat(mu));
        n.bound = n.force * sign;
        n.bound_by_d = n.by_d * sign;
        n.bound_by_u = n.by_u * sign;
    }
    if (width > 0) {
        R slope = min_(max_(splat(width) - d, z) * (T(0.5) / width), splat(T(1)));
        n.by_d = n.by_d * slope;
        n.bound_by_d = n.bound_by_d * slope;
    }
    return n;
}

DS_FN R tangential_speed(V3 u) { return sqrt_(u.x * u.x + u.y * u.y + T(1e-12)); }

// subtract the ground's wrench from F, link by link
DS_FN void contact_forces(const Model& m, const Kinematics& k, SV* F)
{
    for (int c = 0; c < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
        if (!any(at.d < splat(m.contacts.width))) continue;
        V3 u = k.V[link].v + cross(k.V[link].w, at.p);
        Normal n = normal_force(m, point, at.d, u.z, m.contacts.width);
        R scale = min_(select(at.d < splat(m.contacts.width), splat(point[C_KT]), R{}), n.bound / tangential_speed(u));
        V3 f = {-(scale * u.x), -(scale * u.y), n.force};
        F[link].w = F[link].w - cross(at.p, f);
        F[link].v = F[link].v - f;
    }
}

// rotation vector of conj(spring) q, and the transpose of its derivative by a body-frame rotation
DS_FN V3 ball_deflection(const P* spring, const R* q)
{
    Quat p = quat(q);
    Quat s = {splat(spring[0]), splat(spring[1]), splat(spring[2]), splat(spring[3])};
    V3 v = conj_mul_vec(s, p);
    R w = s.w * p.w + s.x * p.x + s.y * p.y + s.z * p.z;
    R n = sqrt_(dot(v, v) + T(1e-30)), turn = T(2) * atan2_(n, abs_(w)) / n;
    return v * select(w < R{}, -turn, turn);
}
DS_FN V3 ball_deflection_vjp(V3 phi, V3 g)
{
    // J^T g with J = 1 + [phi]/2 + b [phi]^2, b = (1 - t/2 cot(t/2)) / t^2: the inverse of SO(3)'s right Jacobian
    R t2 = dot(phi, phi), half = sqrt_(t2 + T(1e-30)) * T(0.5), s, c;
    sincos_(half, s, c);
    R exact = (splat(T(1)) - half * c / s) / (t2 + T(1e-30));
    R b = select(t2 < splat(T(1e-3)), splat(T(1.0 / 12)) + t2 * T(1.0 / 720), exact);
    return g - cross(phi, g) * splat(T(0.5)) + cross(phi, cross(phi, g)) * b;
}

// spring, limit and damping forces into tau
DS_FN void joint_forces(const Model& m, const State& s, R* tau)
{
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        const R* q = s.q + link[L_Q];
        int d = link[L_DOF];
        if (link[L_TYPE] >= SLIDE) {
            R below = max_(splat(real[L_LOWER]) - q[0], R{}), above = max_(q[0] - real[L_UPPER], R{});
            tau[d] = tau[d] + (below - above) * real[L_LIMIT_K] - (q[0] - real[L_SPRING]) * real[L_STIFFNESS];
        } else if (link[L_STIFF]) {
            add(tau + d, ball_deflection(real + L_SPRING, q) * splat(-real[L_STIFFNESS]));
        }
    }
    for (int d = 0; d < m.nv; d++) tau[d] = tau[d] - s.v[d] * m.damping[d];
}

}  // namespace ds
