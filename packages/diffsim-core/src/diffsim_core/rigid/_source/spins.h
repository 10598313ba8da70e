// Friction against turning: torsional, about the normal, and rolling, across it. With a lever l, friction.h brakes the slip
// l w of the angular velocity w as it brakes sliding, with the same kt and the same bound, but the force on it has the arm of
// a radius r: a moment of at most r times the bound. The normal force is that of contact.h and surface.h.
#pragma once
#include "surface.h"

namespace ds {

#if DS_SPINS
struct SpinPoint {
    int link, kind;
    const P* row;
    const T* shape;
    SurfacePoint s;
    R spin, roll, square;  // the columns of spin_tables.h
};
DS_FN SpinPoint spin_point(const Model& m, const Kinematics& k, int j)
{
    const int* spin = m.spins.spin + j * SNI_COLUMNS;
    const T* radius = m.spins.spinr + j * SNR_COLUMNS;
    int c = spin[SN_POINT];
    SpinPoint p;
    p.spin = splat(radius[SN_SPIN]), p.roll = splat(radius[SN_ROLL]), p.square = splat(radius[SN_SQUARE]);
    if (spin[SN_SURFACE]) {
        const int* surface = m.contacts.surface + c * FI_COLUMNS;
        p.link = surface[F_LINK], p.kind = surface[F_KIND];
        p.row = m.touchr + c * CR_COLUMNS, p.shape = m.contacts.surfacer + c * FR_COLUMNS;
        p.s = surface_point(m, k, c);
    } else {
        p.link = m.contact[c], p.kind = ROUND;
        p.row = m.contactr + c * CR_COLUMNS, p.shape = nullptr;
        p.s = surface_place(m, k, p.link, ROUND, nullptr, p.row, nullptr);
    }
    return p;
}

// subtract the moments from F, and add what damps to C
DS_ENTRY void spin_forces(const Model& m, const Kinematics& k, T h, SV* F, Damping& C)
{
    T width = m.contacts.width;
    for (int j = 0; j < m.spins.n; j++) {
        SpinPoint p = spin_point(m, k, j);
        V3 n = p.s.at.n, w = k.V[p.link].w;
        R un = dot(point_velocity(k.V[p.link], p.s.at.p), n), d = ahead(p.s.at.d, un, h), wn = dot(w, n);
        if (!any(d < splat(width))) continue;
        V3 wt = w - n * wn;
        R bound = normal_force(m, p.row, d, un, width).bound, kt = sticking(p.row, d, width);
        R about = p.spin * friction(kt, bound, p.square * wn * wn);
        R across = p.roll * friction(kt, bound, p.square * dot(wt, wt));
        F[p.link].w = F[p.link].w + n * (about * wn) + wt * across;
#if DS_IMPLICIT
        damp_turn(C, p.link, n, about, across);
#endif
    }
}

// Angular velocities about the normal and across it: w, that of a test motion x, and y that the sub-step adds.
struct Slips {
    V3 n, w, x, y;
    R wn, xn, yn;
    V3 wt, xt, yt;
};
DS_FN Slips slips(V3 n, V3 w, V3 x, V3 y)
{
    Slips s = {n, w, x, y, dot(n, w), dot(n, x), dot(n, y)};
    s.wt = w - n * s.wn, s.xt = x - n * s.xn, s.yt = y - n * s.yn;
    return s;
}
DS_FN V3 turning(const SV* field, int link)
{
#if DS_IMPLICIT
    return field[link].w;
#else
    return zero3();
#endif
}

DS_ENTRY void spin_vjp(const Model& m, const Kinematics& k, const SV* X, const SV* Y, T h, LinkBar* bar)
{
    T back = m.contacts.back;
    for (int j = 0; j < m.spins.n; j++) {
        SpinPoint p = spin_point(m, k, j);
        const Touch& at = p.s.at;
        V3 u = point_velocity(k.V[p.link], at.p);
        R un = dot(u, at.n), d = ahead(at.d, un, h);
        Mask inside = d < splat(back);
        if (!any(inside)) continue;
        Slips s = slips(at.n, k.V[p.link].w, X[p.link].w, turning(Y, p.link));
        Normal normal = normal_force(m, p.row, d, un, back);
        R kt = sticking(p.row, d, back), on = s.wn + s.yn;
        V3 ot = s.wt + s.yt;
        // psi = spin scale_a x_n o_n + roll scale_c x_t . o_t, each scale by its own slip and by the bound
        FrictionBar a = friction_vjp(kt, normal.bound, p.square * s.wn * s.wn, p.spin * s.xn * on);
        FrictionBar c = friction_vjp(kt, normal.bound, p.square * dot(s.wt, s.wt), p.roll * dot(s.xt, ot));
        R spin = p.spin * a.scale, roll = p.roll * c.scale, turned = p.square * c.by_u;
        R by_w = spin * s.xn + p.square * a.by_u * s.wn, by_x = spin * on, by_y = spin * s.xn;
        V3 gw = s.n * by_w + s.xt * roll + s.wt * turned, gx = s.n * by_x + ot * roll, gy = s.n * by_y + s.xt * roll;
        R by_bound = a.by_bound + c.by_bound;
        R by_d = select(inside, by_bound * normal.bound_by_d, R{});
        R by_un = select(inside, by_bound * normal.bound_by_u, R{}) + (ahead(R{}, splat(T(1)), h) * by_d);
        // the normal splits all: x_t . o_t = x . o - x_n o_n, and |w_t|^2 = |w|^2 - w_n^2
        V3 by_n = u * by_un + s.w * (by_w - roll * s.xn - turned * s.wn) + s.x * (by_x - roll * on) +
                  s.y * (by_y - roll * s.xn);
        LinkBar& b = bar[p.link];
        V3 by_u = s.n * by_un, by_p = cross(by_u, s.w);
        b.X.w = b.X.w + gx;
        b.V.w = b.V.w + gw + cross(at.p, by_u);
        b.V.v = b.V.v + by_u;
        b.W.w = b.W.w + cross(s.w, gw) + cross(s.x, gx) + cross(u, by_u);
#if DS_IMPLICIT
        b.Y.w = b.Y.w + gy;
        b.W.w = b.W.w + cross(s.y, gy);
#endif
        surface_place_vjp(m, p.s, p.kind, p.row, p.shape, by_d, by_n, by_p, b.W);
    }
}
#endif

}  // namespace ds
