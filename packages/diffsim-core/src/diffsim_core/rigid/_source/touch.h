// One contact of link A with link B, or with the world: the force law at any normal, and what its adjoint needs.
// With unit normal n (from B to A), u the velocity of A against B at the point p and x the same of the test
// velocity, Phi's share is psi(d, n, u, x) = -x . f(d, n, u); see docs/development/adjoint.md.
#pragma once
#include "contact.h"

namespace ds {

struct Touch {
    V3 p, n;  // the point, from A's reference point, and the normal
    R d;      // signed distance, negative inside
};

DS_FN V3 touch_force(const Model& m, const P* row, const Touch& at, V3 u, T width)
{
    R un = dot(u, at.n);
    V3 ut = u - at.n * un;
    Normal n = normal_force(m, row, at.d, un, width);
    return at.n * n.force - ut * friction(sticking(row, at.d, width), n.bound, dot(ut, ut));
}

struct Psi {
    R d;
    V3 n, u, x;
};
DS_FN Psi touch_vjp(const Model& m, const P* row, const Touch& at, V3 u, V3 x, T width)
{
    R z = R{}, un = dot(u, at.n), xn = dot(x, at.n);
    V3 ut = u - at.n * un, xt = x - at.n * xn;
    Normal n = normal_force(m, row, at.d, un, width);
    Mask inside = at.d < splat(width);
    FrictionBar f = friction_vjp(sticking(row, at.d, width), n.bound, dot(ut, ut), dot(xt, ut));
    R by_un = select(inside, f.by_bound * n.bound_by_u - xn * n.by_u, z);
    Psi g;
    g.d = select(inside, f.by_bound * n.bound_by_d - xn * n.by_d, z);
    g.u = xt * f.scale + ut * f.by_u + at.n * by_un;
    g.x = ut * f.scale - at.n * n.force;
    // the normal splits u and x: x_t . u_t = x . u - x_n u_n and |u_t|^2 = |u|^2 - u_n^2
    g.n = u * (by_un - f.scale * xn - f.by_u * un) - x * (n.force + f.scale * un);
    return g;
}

DS_FN V3 point_velocity(const SV& V, V3 p) { return V.v + cross(V.w, p); }
// the same of a link, of the velocity or the test velocity; the world's is zero
DS_FN V3 velocity_at(const SV* field, int link, V3 p) { return link < 0 ? zero3() : point_velocity(field[link], p); }

}  // namespace ds
