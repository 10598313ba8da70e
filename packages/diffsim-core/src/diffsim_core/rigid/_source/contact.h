// Contact: the normal force of a model's law, smoothed, and spheres and corners over a level ground, the fast path. DS_LAWS(X, ...),
// X(number, Struct, ...) for each law that a module is compiled with, is generated from the registry
// (rigid/contact_laws.py), and their headers come before this one.
#pragma once
#include "friction.h"
#include "groups.h"
#include "implicit.h"
#include "law.h"

namespace ds {

// run a statement in which Law is the struct of the model's law
#define DS_LAW_CASE(number, Struct, ...) case number: { typedef Struct Law; __VA_ARGS__; break; }
#define DS_WITH_LAW(model, ...) switch ((model).contact_law) { DS_LAWS(DS_LAW_CASE, __VA_ARGS__) default: unknown_type(); }

// cotangents of a link's fields: velocity V, acceleration A, test velocity X, its rigid displacement W, and, with the implicit
// part, the velocity Y that the sub-step adds
struct LinkBar {
    SV V, A, X, W;
#if DS_IMPLICIT
    SV Y;
#endif
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

// the next point that a level ground may touch, see groups.h
DS_FN int next_level_point(const Model& m, const Kinematics& k, T width, T h, int c, int& group)
{
    return next_point(m, c, group, m.contacts.ng, [&](int g) {
        Group of = point_group(m, k, g, h);
        return any(of.centre.z + (k.height[of.link] - m.ground) < of.reach + width);
    });
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

// Where a contact will be after the sub-step: the implicit part's spring pushes there. Else where it is.
DS_FN R ahead(R d, R un, T h)
{
#if DS_IMPLICIT
    return d + un * h;
#else
    return d;
#endif
}

// force of a level ground on a point that moves with u
DS_FN V3 level_force(const Model& m, const P* point, R d, V3 u)
{
    T width = m.contacts.width;
    Normal n = normal_force(m, point, d, u.z, width);
    R scale = friction(sticking(point, d, width), n.bound, u.x * u.x + u.y * u.y);
    return {-(scale * u.x), -(scale * u.y), n.force};
}

// subtract the ground's wrench from F, link by link, and add what damps to C
DS_FN void contact_forces(const Model& m, const Kinematics& k, T h, SV* F, Damping& C)
{
    T width = m.contacts.width;
    for (int c = 0, group = 0; (c = next_level_point(m, k, width, h, c, group)) < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
#if DS_IMPLICIT
        V3 u = k.V[link].v + cross(k.V[link].w, at.p);
        R d = ahead(at.d, u.z, h);
        if (!any(d < splat(width))) continue;
        Normal n = normal_force(m, point, d, u.z, width);
        R scale = friction(sticking(point, d, width), n.bound, u.x * u.x + u.y * u.y);
        V3 f = {-(scale * u.x), -(scale * u.y), n.force}, up = {R{}, R{}, splat(T(1))};
        damp_point(C, link, at.p, up, firmness(point, d, inside_depth(d, width), width, h).value, scale);
#else
        if (!any(at.d < splat(width))) continue;
        V3 f = level_force(m, point, at.d, k.V[link].v + cross(k.V[link].w, at.p));
#endif
        F[link].w = F[link].w - cross(at.p, f);
        F[link].v = F[link].v - f;
    }
}

// The gradient of psi = -x . f for the level ground's force f on a point: by distance, by u, and f itself (for x's). With the
// implicit part psi = -x . f + x . D y, D the damper of damp_point and y the velocity that the sub-step adds.
struct LevelBar {
    R d;
    V3 u, x;
#if DS_IMPLICIT
    V3 y;
#endif
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
#if DS_IMPLICIT
DS_FN LevelBar level_vjp(const Model& m, const P* point, R d, V3 u, V3 x, V3 y, T h)
{
    R z = R{};
    T back = m.contacts.back;
    R soon = ahead(d, u.z, h);
    Normal n = normal_force(m, point, soon, u.z, back);
    Firmness c = firmness(point, soon, inside_depth(soon, back), back, h);
    Mask inside = soon < splat(back);
    V3 w = u + y;
    // psi = scale (x_t . w_t) - x_z f_n + x_z c y_z
    FrictionBar f = friction_vjp(sticking(point, soon, back), n.bound, u.x * u.x + u.y * u.y, x.x * w.x + x.y * w.y);
    LevelBar g;
    g.x = {f.scale * w.x, f.scale * w.y, c.value * y.z - n.force};
    g.y = {f.scale * x.x, f.scale * x.y, c.value * x.z};
    g.d = select(inside, f.by_bound * n.bound_by_d - x.z * n.by_d + x.z * y.z * c.by_d, z);
    g.u = {f.scale * x.x + f.by_u * u.x, f.scale * x.y + f.by_u * u.y,
           select(inside, f.by_bound * n.bound_by_u - x.z * n.by_u, z) + g.d * h};
    return g;
}
#endif

// Y, with the implicit part: the velocities that the sub-step of length h adds
DS_FN void contact_vjp(const Model& m, const Kinematics& k, const SV* X, const SV* Y, T h, LinkBar* bar)
{
    T back = m.contacts.back;
    for (int c = 0, group = 0; (c = next_level_point(m, k, back, h, c, group)) < m.nc; c++) {
        const P* point = m.contactr + c * CR_COLUMNS;
        int link = m.contact[c];
        ContactPoint at = contact_point(m, k, link, point);
        V3 p = at.p, u = k.V[link].v + cross(k.V[link].w, p);
        if (!any(ahead(at.d, u.z, h) < splat(back))) continue;
        V3 x = X[link].v + cross(X[link].w, p);
        LinkBar& b = bar[link];
#if DS_IMPLICIT
        V3 y = Y[link].v + cross(Y[link].w, p);
        LevelBar g = level_vjp(m, point, at.d, u, x, y, h);
        b.Y.w = b.Y.w + cross(p, g.y);
        b.Y.v = b.Y.v + g.y;
        b.W.w = b.W.w + cross(y, g.y);
#else
        LevelBar g = level_vjp(m, point, at.d, u, x);
#endif
        b.X.w = b.X.w + cross(p, g.x);
        b.X.v = b.X.v + g.x;
        b.V.w = b.V.w + cross(p, g.u);
        b.V.v = b.V.v + g.u;
        b.W.w = b.W.w + V3{p.y * g.d, -(p.x * g.d), R{}} + cross(u, g.u) + cross(x, g.x);
        b.W.v.z = b.W.v.z + g.d;
        // the lowest point of a sphere does not turn with the link: its offset -r e_z stays vertical
        V3 e = cross(g.u, k.V[link].w) + cross(g.x, X[link].w);
#if DS_IMPLICIT
        e = e + cross(g.y, Y[link].w);
#endif
        b.W.w.x = b.W.w.x - e.y * point[C_RADIUS];
        b.W.w.y = b.W.w.y + e.x * point[C_RADIUS];
    }
}

}  // namespace ds
