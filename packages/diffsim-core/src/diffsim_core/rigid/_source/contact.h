// Contact: the normal force of a model's law, smoothed, and spheres and corners over a level ground, the fast path. DS_LAWS(X, ...),
// X(number, Struct, ...) for each law that a module is compiled with, is generated from the registry
// (rigid/contact_laws.py), and their headers come before this one.
#pragma once
#include "friction.h"
#include "kinematics.h"
#include "law.h"

namespace ds {

// run a statement in which Law is the struct of the model's law
#define DS_LAW_CASE(number, Struct, ...) case number: { typedef Struct Law; __VA_ARGS__; break; }
#define DS_WITH_LAW(model, ...) switch ((model).contact_law) { DS_LAWS(DS_LAW_CASE, __VA_ARGS__) default: unknown_type(); }

// cotangents of a link's fields: velocity V, acceleration A, test velocity X, and its rigid displacement W
struct LinkBar {
    SV V, A, X, W;
};

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

DS_FN Normal normal_force(const Model& m, const P* row, R d, R u, T width)
{
    R dm = inside_depth(d, width);
    Normal n;
    DS_WITH_LAW(m, n = Law::normal(row, dm, u))
    if (width > 0) {
        R slope = min_(max_(splat(width) - d, R{}) * (T(0.5) / width), splat(T(1)));
        n.by_d = n.by_d * slope;
        n.bound_by_d = n.bound_by_d * slope;
    }
    return n;
}

// kt where the two are near enough to touch
DS_FN R sticking(const P* row, R d, T width) { return select(d < splat(width), splat(row[C_KT]), R{}); }

// force of a level ground on a point that moves with u
DS_FN V3 level_force(const Model& m, const P* point, R d, V3 u)
{
    T width = m.contacts.width;
    Normal n = normal_force(m, point, d, u.z, width);
    R scale = friction(sticking(point, d, width), n.bound, u.x * u.x + u.y * u.y);
    return {-(scale * u.x), -(scale * u.y), n.force};
}

// subtract the ground's wrench from F, link by link
DS_FN void contact_forces(const Model& m, const Kinematics& k, SV* F)
{
    for (int c = 0; c < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
        if (!any(at.d < splat(m.contacts.width))) continue;
        V3 f = level_force(m, point, at.d, k.V[link].v + cross(k.V[link].w, at.p));
        F[link].w = F[link].w - cross(at.p, f);
        F[link].v = F[link].v - f;
    }
}

// The gradient of psi = -x . f for the level ground's force f on a point: by distance, by u, and f itself (for x's).
struct LevelBar {
    R d;
    V3 u, x;
};
DS_FN LevelBar level_vjp(const Model& m, const P* point, R d, V3 u, V3 x)
{
    R z = R{};
    T back = m.contacts.back;
    Normal n = normal_force(m, point, d, u.z, back);
    Mask inside = d < splat(back);
    // psi = scale (x_t . u_t) - x_z f_n
    FrictionBar f = friction_vjp(sticking(point, d, back), n.bound, u.x * u.x + u.y * u.y, x.x * u.x + x.y * u.y);
    LevelBar g;
    g.x = {f.scale * u.x, f.scale * u.y, -n.force};
    g.d = select(inside, f.by_bound * n.bound_by_d - x.z * n.by_d, z);
    g.u = {f.scale * x.x + f.by_u * u.x, f.scale * x.y + f.by_u * u.y,
           select(inside, f.by_bound * n.bound_by_u - x.z * n.by_u, z)};
    return g;
}

DS_FN void contact_vjp(const Model& m, const Kinematics& k, const SV* X, LinkBar* bar)
{
    for (int c = 0; c < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
        if (!any(at.d < splat(m.contacts.back))) continue;
        V3 p = at.p, u = k.V[link].v + cross(k.V[link].w, p), x = X[link].v + cross(X[link].w, p);
        LevelBar g = level_vjp(m, point, at.d, u, x);
        LinkBar& b = bar[link];
        b.X.w = b.X.w + cross(p, g.x);
        b.X.v = b.X.v + g.x;
        b.V.w = b.V.w + cross(p, g.u);
        b.V.v = b.V.v + g.u;
        b.W.w = b.W.w + V3{p.y * g.d, -(p.x * g.d), R{}} + cross(u, g.u) + cross(x, g.x);
        b.W.v.z = b.W.v.z + g.d;
        // the lowest point of a sphere does not turn with the link: its offset -r e_z stays vertical
        V3 e = cross(g.u, k.V[link].w) + cross(g.x, X[link].w);
        b.W.w.x = b.W.w.x - e.y * point[C_RADIUS];
        b.W.w.y = b.W.w.y + e.x * point[C_RADIUS];
    }
}

}  // namespace ds
