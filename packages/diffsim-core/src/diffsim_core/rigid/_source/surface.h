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
    if (kind == ROUND) {
        s.o = n * splat(-row[C_RADIUS]);
        return s;
    }
    for (int i = 0; i < 3; i++) s.a[i] = rotate(E, shape + F_AXES + 3 * i);
    s.m = stretched(s, shape, n);
    s.scale = splat(T(1)) / sqrt_(dot(n, s.m));
    s.o = -(s.m * s.scale);
    return s;
}

// (do/dn) b
DS_FN V3 support_by_normal(int kind, const P* row, const T* shape, const Support& s, V3 b)
{
    if (kind == ROUND) return b * splat(-row[C_RADIUS]);
    return (s.m * (dot(s.m, b) * s.scale * s.scale) - stretched(s, shape, b)) * s.scale;
}

struct SurfacePoint {
    Touch at;
    Support s;
    Terrain t;
    R gap;  // height of the centre above the ground
};

DS_FN SurfacePoint surface_point(const Model& m, const Kinematics& k, int c)
{
    const int* surface = m.contacts.surface + c * FI_COLUMNS;
    const P* row = m.touchr + c * CR_COLUMNS;
    const T* shape = m.contacts.surfacer + c * FR_COLUMNS;
    int link = surface[F_LINK];
    SurfacePoint f;
    V3 at = k.r[link] + rotate(k.E[link], row + C_POS);
    if (m.contacts.nx)
        f.t = terrain(m.contacts, at.x + k.x[link], at.y + k.y[link]);
    else
        f.t = level(m.ground);
    f.gap = at.z + (k.height[link] - f.t.h);
    f.at.n = terrain_normal(f.t);
    f.s = support(surface[F_KIND], row, shape, k.E[link], f.at.n);
    f.at.p = at + f.s.o;
    f.at.d = f.gap * f.at.n.z + dot(f.at.n, f.s.o);
    return f;
}

// the next point that the ground may touch, see groups.h: no slope is steeper than the steepest
DS_FN int next_surface_point(const Model& m, const Kinematics& k, T width, T h, int c, int& group)
{
    const Contacts& f = m.contacts;
    return next_point(m, c, group, f.ng + f.nfg, [&](int g) {
        Group of = point_group(m, k, g, h);
        V3 at = of.centre;
        R ground = f.nx ? terrain(f, at.x + k.x[of.link], at.y + k.y[of.link]).h : splat(m.ground);
        return any(at.z + (k.height[of.link] - ground) < (of.reach + width) * f.steepest);
    });
}

// subtract the ground's wrench from F, link by link
DS_ENTRY void surface_forces(const Model& m, const Kinematics& k, T h, SV* F, Damping& C)
{
    T width = m.contacts.width;
    for (int c = 0, group = m.contacts.ng; (c = next_surface_point(m, k, width, h, c, group)) < m.contacts.nf; c++) {
        int link = m.contacts.surface[c * FI_COLUMNS + F_LINK];
        SurfacePoint s = surface_point(m, k, c);
        V3 u = point_velocity(k.V[link], s.at.p);
        if (!any(ahead(s.at.d, dot(u, s.at.n), h) < splat(width))) continue;
#if DS_IMPLICIT
        V3 f = touch_world(m, m.touchr + c * CR_COLUMNS, s.at, u, width, h, link, C);
#else
        V3 f = touch_force(m, m.touchr + c * CR_COLUMNS, s.at, u, width);
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
        // psi by the point p = c + o (the velocities differ from place to place) and by o in d and p together
#if DS_IMPLICIT
        V3 y = point_velocity(Y[link], p);
        Psi g = touch_world_vjp(m, row, s.at, u, x, y, back, h);
        V3 by_p = cross(g.u, k.V[link].w) + cross(g.x, X[link].w) + cross(g.y, Y[link].w), by_o = by_p + n * g.d;
        bar[link].Y = bar[link].Y + SV{cross(p, g.y), g.y};
        bar[link].W.w = bar[link].W.w + cross(y, g.y);
#else
        Psi g = touch_vjp(m, row, s.at, u, x, back);
        V3 by_p = cross(g.u, k.V[link].w) + cross(g.x, X[link].w), by_o = by_p + n * g.d;
#endif
        V3 turned = support_by_normal(kind, row, shape, s.s, by_o);
        V3 by_n = g.n + s.s.o * g.d + turned;
        by_n.z = by_n.z + g.d * s.gap;
        V3 by_c = by_p;
        by_c.z = by_c.z + g.d * n.z;
        if (m.contacts.nx) by_c = by_c + terrain_vjp(s.t, n, by_n, -(g.d * n.z));
        V3 centre = p - s.s.o;
        LinkBar& b = bar[link];
        b.X.w = b.X.w + cross(p, g.x);
        b.X.v = b.X.v + g.x;
        b.V.w = b.V.w + cross(p, g.u);
        b.V.v = b.V.v + g.u;
        b.W.w = b.W.w + cross(u, g.u) + cross(x, g.x) - cross(p, by_p) + cross(centre, by_c) +
                cross(s.s.o, by_o) - cross(n, turned);
        b.W.v = b.W.v - by_p + by_c;
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
