// One contact of link A with link B, or with the world: the force law at any normal, and what its adjoint needs.
// With unit normal n (from B to A), u the velocity of A against B at the point p and x the same of the test
// velocity, Phi's share is psi(d, n, u, x) = -x . f(d, n, u); see docs/development/adjoint.md.
#pragma once
#include "forces.h"

namespace ds {

// cotangents of a link's fields: velocity V, acceleration A, test velocity X, and its rigid displacement W
struct LinkBar {
    SV V, A, X, W;
};

struct Touch {
    V3 p, n;  // the point, from A's reference point, and the normal
    R d;      // signed distance, negative inside
};

DS_FN V3 touch_force(const Model& m, const P* row, const Touch& at, V3 u, T width)
{
    R un = dot(u, at.n);
    V3 ut = u - at.n * un;
    Normal n = normal_force(m, row, at.d, un, width);
    R stick = select(at.d < splat(width), splat(row[C_KT]), R{});
    return at.n * n.force - ut * min_(stick, n.bound / sqrt_(dot(ut, ut) + T(1e-12)));
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
    R inverse = splat(T(1)) / sqrt_(dot(ut, ut) + T(1e-12));
    R kt = select(inside, splat(row[C_KT]), z), slip = n.bound * inverse, scale = min_(kt, slip);
    R by_scale = select(slip < kt, dot(xt, ut) * inverse, z);
    R by_ut = -(by_scale * scale * inverse);
    R by_un = select(inside, by_scale * n.bound_by_u - xn * n.by_u, z);
    Psi g;
    g.d = select(inside, by_scale * n.bound_by_d - xn * n.by_d, z);
    g.u = xt * scale + ut * by_ut + at.n * by_un;
    g.x = ut * scale - at.n * n.force;
    // the normal splits u and x: x_t . u_t = x . u - x_n u_n and |u_t|^2 = |u|^2 - u_n^2
    g.n = u * (by_un - scale * xn - by_ut * un) - x * (n.force + scale * un);
    return g;
}

DS_FN V3 point_velocity(const SV& V, V3 p) { return V.v + cross(V.w, p); }
// the same of a link, of the velocity or the test velocity; the world's is zero
DS_FN V3 velocity_at(const SV* field, int link, V3 p) { return link < 0 ? zero3() : point_velocity(field[link], p); }

}  // namespace ds
