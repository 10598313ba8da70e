// Shapes against the ground where the touching point wanders over the shape (ellipsoids, of which a cylinder has two
// flat ones) or the ground is a height field. The ground is replaced by its tangent plane below the shape's centre c; the point is
// c + o with o(n) the shape's support point against the normal n. As o turns with shape and normal together, all
// derivatives follow from the symmetric matrix do/dn.
#pragma once
#include "terrain.h"
#include "touch.h"

namespace ds {

struct Support {
    V3 o, a[3];  // support point from the centre, and an ellipsoid's axes
    V3 m;        // A n with A = sum a_i s_i^2 a_i^T over the axes and semi-axes
    R scale;     // 1 / sqrt(n . A n)
};

DS_FN V3 stretched(const Support& s, const T* shape, V3 b)
{
    return s.a[0] * (dot(s.a[0], b) * shape[F_SIZE]) + s.a[1] * (dot(s.a[1], b) * shape[F_SIZE + 1]) +
           s.a[2] * (dot(s.a[2], b) * shape[F_SIZE + 2]);
}

DS_FN Support support(int kind, const P* row, const T* shape, const M3& E, V3 n)
{
    Support s;
    V3 round = n * splat(-row[C_RADIUS]);
    if (kind == ROUND) {
        s.o = round;
        return s;
    }
    for (int i = 0; i < 3; i++) s.a[i] = rotate(E, shape + F_AXES + 3 * i);
    s.m = stretched(s, shape, n);
    s.scale = splat(T(1)) / sqrt_(dot(n, s.m));
    s.o = round - s.m * s.scale;
    return s;
}

// (do/dn) b
DS_FN V3 support_by_normal(int kind, const P* row, const T* shape, const Support& s, V3 b)
{
    V3 round = b * splat(-row[C_RADIUS]);
    if (kind == ROUND) return round;
    return round + (s.m * (dot(s.m, b) * s.scale * s.scale) - stretched(s, shape, b)) * s.scale;
}

struct SurfacePoint {
    Touch at;
    Support s;
    Terrain t;
    R gap;           // height of the centre above the ground, or its distance from the plane
    const T* plane;  // null for the ground
    T ratio;         // friction along the plane's second tangent, as a part of that along the first
};

DS_FN V3 constant3(const T* a) { return {splat(a[0]), splat(a[1]), splat(a[2])}; }
// of a place at a link's reference point plus `at`: its height above the ground, and its distance from a plane
DS_FN R above(const Model& m, const Kinematics& k, int link, V3 at, Terrain& t)
{
    if (m.contacts.nx)
        t = terrain(m.contacts, at.x + k.x[link], at.y + k.y[link]);
    else
        t = level(m.ground);
    return at.z + (k.height[link] - t.h);
}
DS_FN R distance(const Kinematics& k, int link, V3 at, const T* plane)
{
    V3 place = at + V3{k.x[link], k.y[link], k.height[link]};
    return dot(constant3(plane + PL_NORMAL), place) - plane[PL_DISTANCE];
}

// Friction whose bound differs along the two tangents is even to a velocity that is shorter along the second. This is that
// velocity of u; the same again turns the force on it into the true one.
DS_FN V3 shortened(const SurfacePoint& s, V3 u)
{
    if (s.ratio == T(1)) return u;
    V3 along = constant3(s.plane + PL_TANGENT);
    return u + along * (dot(along, u) * (s.ratio - 1));
}

// of a point of a kind, in a row of touchr or contactr, with a plane or, where that is null, the ground
DS_FN SurfacePoint surface_place(const Model& m, const Kinematics& k, int link, int kind, const T* plane, const P* row,
                                 const T* shape)
{
    SurfacePoint f;
    V3 at = k.r[link] + rotate(k.E[link], row + C_POS);
    f.plane = plane;
    f.ratio = T(1);
    if (f.plane) {
        f.gap = distance(k, link, at, f.plane);
        f.at.n = constant3(f.plane + PL_NORMAL);
    } else {
        f.gap = above(m, k, link, at, f.t);
        f.at.n = terrain_normal(f.t);
    }
    f.s = support(kind, row, shape, k.E[link], f.at.n);
    f.at.p = at + f.s.o;
    f.at.d = (f.plane ? f.gap : f.gap * f.at.n.z) + dot(f.at.n, f.s.o);
    return f;
}

// adds to W what the cotangents of distance, normal and point come to
DS_FN void surface_place_vjp(const Model& m, const SurfacePoint& s, int kind, const P* row, const T* shape, R by_d, V3 by_n,
                             V3 by_p, SV& W)
{
    // the point p = c + o, and o in d and p together
    V3 p = s.at.p, n = s.at.n, by_o = by_p + n * by_d, turned = support_by_normal(kind, row, shape, s.s, by_o);
    V3 centre = p - s.s.o, by_c = by_p;
    if (s.plane) {
        by_c = by_c + n * by_d;
    } else {
        by_c.z = by_c.z + by_d * n.z;
        by_n = by_n + s.s.o * by_d + turned;
        by_n.z = by_n.z + by_d * s.gap;
        if (m.contacts.nx) by_c = by_c + terrain_vjp(s.t, n, by_n, -(by_d * n.z));
    }
    W.w = W.w - cross(p, by_p) + cross(centre, by_c) + cross(s.s.o, by_o) - cross(n, turned);
    W.v = W.v - by_p + by_c;
}

DS_FN SurfacePoint surface_point(const Model& m, const Kinematics& k, int c)
{
    const int* surface = m.contacts.surface + c * FI_COLUMNS;
    const T* shape = m.contacts.surfacer + c * FR_COLUMNS;
    const T* plane = surface[F_PLANE] < 0 ? nullptr : m.contacts.planer + surface[F_PLANE] * PLR_COLUMNS;
    const P* row = m.touchr + c * CR_COLUMNS;
    SurfacePoint f = surface_place(m, k, surface[F_LINK], surface[F_KIND], plane, row, shape);
    f.ratio = shape[F_RATIO];
    return f;
}

// the next point that the ground may touch, see groups.h: no slope is steeper than the steepest
DS_FN int next_surface_point(const Model& m, const Kinematics& k, T width, T h, int c, int& group)
{
    const Contacts& f = m.contacts;
    return next_point(m, c, group, f.ng + f.nfg, [&](int g) {
        Group of = point_group(m, k, g, h);
        int plane = f.group[g * GPI_COLUMNS + GP_PLANE];
        if (plane >= 0) return any(distance(k, of.link, of.centre, f.planer + plane * PLR_COLUMNS) < of.reach + width);
        Terrain t;
        return any(above(m, k, of.link, of.centre, t) < (of.reach + width) * f.steepest);
    });
}

#if DS_IMPLICIT
// what friction that is less along the second tangent takes from what damps; u: the shortened velocity
DS_FN void damp_less(const Model& m, const P* row, const SurfacePoint& s, V3 u, T width, T h, int link, Damping& C)
{
    R un = dot(u, s.at.n), d = ahead(s.at.d, un, h);
    V3 ut = u - s.at.n * un;
    R scale = friction(sticking(row, d, width), normal_force(m, row, d, un, width).bound, dot(ut, ut));
    damp_point(C, link, s.at.p, constant3(s.plane + PL_TANGENT), scale * (s.ratio * s.ratio - 1), R{});
}
#endif

// subtract the ground's wrench from F, link by link
DS_ENTRY void surface_forces(const Model& m, const Kinematics& k, T h, SV* F, Damping& C)
{
    T width = m.contacts.width;
    for (int c = 0, group = m.contacts.ng; (c = next_surface_point(m, k, width, h, c, group)) < m.contacts.nf; c++) {
        int link = m.contacts.surface[c * FI_COLUMNS + F_LINK];
        SurfacePoint s = surface_point(m, k, c);
        const P* row = m.touchr + c * CR_COLUMNS;
        V3 u = shortened(s, point_velocity(k.V[link], s.at.p));
        if (!any(ahead(s.at.d, dot(u, s.at.n), h) < splat(width))) continue;
#if DS_IMPLICIT
        V3 f = shortened(s, touch_world(m, row, s.at, u, width, h, link, C));
        if (s.ratio != T(1)) damp_less(m, row, s, u, width, h, link, C);
#else
        V3 f = shortened(s, touch_force(m, row, s.at, u, width));
#endif
        F[link].w = F[link].w - cross(s.at.p, f);
        F[link].v = F[link].v - f;
    }
}

DS_ENTRY void surface_vjp(const Model& m, const Kinematics& k, const SV* X, const SV* Y, T h, LinkBar* bar)
{
    T back = m.contacts.back;
    for (int c = 0, group = m.contacts.ng; (c = next_surface_point(m, k, back, h, c, group)) < m.contacts.nf; c++) {
        const int* surface = m.contacts.surface + c * FI_COLUMNS;
        const P* row = m.touchr + c * CR_COLUMNS;
        const T* shape = m.contacts.surfacer + c * FR_COLUMNS;
        int link = surface[F_LINK], kind = surface[F_KIND];
        SurfacePoint s = surface_point(m, k, c);
        V3 p = s.at.p, n = s.at.n, u = point_velocity(k.V[link], p), x = point_velocity(X[link], p);
        if (!any(ahead(s.at.d, dot(u, n), h) < splat(back))) continue;
        // the velocities differ from place to place
#if DS_IMPLICIT
        V3 y = point_velocity(Y[link], p);
        Psi g = touch_world_vjp(m, row, s.at, shortened(s, u), shortened(s, x), shortened(s, y), back, h);
        g.u = shortened(s, g.u), g.x = shortened(s, g.x), g.y = shortened(s, g.y);
        V3 by_p = cross(g.u, k.V[link].w) + cross(g.x, X[link].w) + cross(g.y, Y[link].w);
        bar[link].Y = bar[link].Y + SV{cross(p, g.y), g.y};
        bar[link].W.w = bar[link].W.w + cross(y, g.y);
#else
        Psi g = touch_vjp(m, row, s.at, shortened(s, u), shortened(s, x), back);
        g.u = shortened(s, g.u), g.x = shortened(s, g.x);
        V3 by_p = cross(g.u, k.V[link].w) + cross(g.x, X[link].w);
#endif
        LinkBar& b = bar[link];
        b.X.w = b.X.w + cross(p, g.x);
        b.X.v = b.X.v + g.x;
        b.V.w = b.V.w + cross(p, g.u);
        b.V.v = b.V.v + g.u;
        b.W.w = b.W.w + cross(u, g.u) + cross(x, g.x);
        surface_place_vjp(m, s, kind, row, shape, g.d, g.n, by_p, b.W);
    }
}

DS_FN R surfaces_touching(const Model& m, const Kinematics& k)
{
    R count = R{};
    for (int c = 0; c < m.contacts.nf; c++)
        count = count + select(surface_point(m, k, c).at.d < R{}, splat(T(1)), R{});
    return count;
}

}  // namespace ds
