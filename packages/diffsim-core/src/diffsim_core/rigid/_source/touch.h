// One contact of link A with link B, or with the world: the force law at any normal, and what its adjoint needs.
// With unit normal n (from B to A), u the velocity of A against B at the point p and x the same of the test
// velocity, Phi's share is psi(d, n, u, x) = -x . f(d, n, u); see docs/development/adjoint.md. With the implicit part contact
// with the world adds x . D y, where D damps (damp_point in implicit.h) and y is the velocity that the sub-step adds.
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

#if DS_IMPLICIT
// the same against the world, where the sub-step of length h will bring it; what damps goes to C
DS_FN V3 touch_world(const Model& m, const P* row, const Touch& at, V3 u, T width, T h, int link, Damping& C)
{
    R un = dot(u, at.n), d = ahead(at.d, un, h);
    V3 ut = u - at.n * un;
    Normal n = normal_force(m, row, d, un, width);
    R scale = friction(sticking(row, d, width), n.bound, dot(ut, ut));
    damp_point(C, link, at.p, at.n, firmness(row, d, inside_depth(d, width), width, h).value, scale);
    return at.n * n.force - ut * scale;
}
#endif

struct Psi {
    R d;
    V3 n, u, x;
#if DS_IMPLICIT
    V3 y;
#endif
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

#if DS_IMPLICIT
DS_FN Psi touch_world_vjp(const Model& m, const P* row, const Touch& at, V3 u, V3 x, V3 y, T width, T h)
{
    R z = R{}, un = dot(u, at.n), xn = dot(x, at.n), yn = dot(y, at.n), d = ahead(at.d, un, h);
    V3 w = u + y;
    R wn = un + yn;
    V3 ut = u - at.n * un, xt = x - at.n * xn, wt = w - at.n * wn;
    Normal n = normal_force(m, row, d, un, width);
    Firmness c = firmness(row, d, inside_depth(d, width), width, h);
    Mask inside = d < splat(width);
    // psi = scale (x_t . w_t) - x_n f_n + x_n c y_n
    FrictionBar f = friction_vjp(sticking(row, d, width), n.bound, dot(ut, ut), dot(xt, wt));
    Psi g;
    g.d = select(inside, f.by_bound * n.bound_by_d - xn * n.by_d + xn * yn * c.by_d, z);
    R by_un = select(inside, f.by_bound * n.bound_by_u - xn * n.by_u, z) + g.d * h;
    g.u = xt * f.scale + ut * f.by_u + at.n * by_un;
    g.x = wt * f.scale + at.n * (c.value * yn - n.force);
    g.y = xt * f.scale + at.n * (c.value * xn);
    g.n = u * (by_un - f.scale * xn - f.by_u * un) + x * (c.value * yn - n.force - f.scale * wn) +
          y * (xn * (c.value - f.scale));
    return g;
}
#endif

DS_FN V3 point_velocity(const SV& V, V3 p) { return V.v + cross(V.w, p); }
// the same of a link, of the velocity or the test velocity; the world's is zero
DS_FN V3 velocity_at(const SV* field, int link, V3 p) { return link < 0 ? zero3() : point_velocity(field[link], p); }

}  // namespace ds
