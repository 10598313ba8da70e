// Closed loops: a spring and a damper hold a point b of link B at a point a of link A, and, of a weld, B's axes at A's. With
// the gap d = b - a, and the velocity u of B against A at the middle p between them, the force on A is
//     f = k d + (c + h k) u',
// on B its opposite at the same point, so that no momentum is made. u' is u after the sub-step: what qdd adds to it stands on
// the left of the equations of motion, M + h J^T (c + h k) J with J the rows of u, so any stiffness is stable. The axes' gap
// is e = sum a_i x b_i / 2, the axis of the turn times the sine of its angle, with a torque in f's place.
// rigid/_twin_loops.py is this file written to be read.
#pragma once
#include "touch.h"

namespace ds {

#if DS_LOOPS
struct Loop {
    int A, B;
    bool weld;
    V3 a, b, p, pB;   // ends and middle, each from its link's reference point; p from A's, pB from B's
    V3 d, e;          // gaps of places and of axes
    M3 axesA, axesB;  // where it is a weld
    T k, c, kr, cr;   // stiffness and what multiplies velocities
};

DS_FN V3 loop_point(const Kinematics& k, int link, const T* pos, const P* place)
{
    if (link < 0) return {splat(place[0]), splat(place[1]), splat(place[2])};
    return k.r[link] + rotate(k.E[link], pos);
}
DS_FN M3 loop_axes(const Kinematics& k, int link, const T* axes) { return rotate9(link < 0 ? identity() : k.E[link], axes); }

// h: duration of the sub-step, with the implicit part
DS_FN Loop loop(const Model& m, const Kinematics& k, int i, T h)
{
    const int* ints = m.loops.loop + i * LPI_COLUMNS;
    const T* real = m.loops.loopr + i * LPR_COLUMNS;
    Loop l;
    l.A = ints[LP_A], l.B = ints[LP_B], l.weld = ints[LP_WELD];
    l.a = loop_point(k, l.A, real + LP_POS_A, m.loops.place + 3 * i);
    l.b = loop_point(k, l.B, real + LP_POS_B, m.loops.place + 3 * i);
    l.d = l.b - l.a;
    if (ints[LP_APART]) {
        V3 from = l.A < 0 ? zero3() : V3{k.x[l.A], k.y[l.A], k.height[l.A]};
        V3 to = l.B < 0 ? zero3() : V3{k.x[l.B], k.y[l.B], k.height[l.B]};
        l.d = l.d + (to - from);
    }
    V3 half = l.d * splat(T(0.5));
    l.p = l.a + half;
    l.pB = l.b - half;
    l.k = real[LP_STIFFNESS], l.c = real[LP_DAMPING], l.kr = real[LP_TORSION], l.cr = real[LP_TWIST_DAMPING];
#if DS_IMPLICIT
    l.c += h * l.k, l.cr += h * l.kr;
#endif
    l.e = zero3();
    if (l.weld) {
        l.axesA = loop_axes(k, l.A, real + LP_AXES_A);
        l.axesB = loop_axes(k, l.B, real + LP_AXES_B);
        for (int j = 0; j < 3; j++) l.e = l.e + cross(l.axesA.c[j], l.axesB.c[j]) * splat(T(0.5));
    }
    return l;
}

// of a link after the sub-step; without the implicit part before it
DS_FN SV loop_velocity(const Kinematics& k, const SV* Y, int link)
{
    if (link < 0) return zero6();
#if DS_IMPLICIT
    return k.V[link] + Y[link];
#else
    return k.V[link];
#endif
}

DS_FN V3 turning_at(const SV* field, int link) { return link < 0 ? zero3() : field[link].w; }

// what a loop adds to a link's force balance F: its wrench with the sign reversed
DS_FN void loop_forces(const Model& m, const Kinematics& k, T h, SV* F)
{
    for (int i = 0; i < m.loops.n; i++) {
        Loop l = loop(m, k, i, h);
        V3 f = l.d * splat(l.k) + (velocity_at(k.V, l.B, l.pB) - velocity_at(k.V, l.A, l.p)) * splat(l.c), t = zero3();
        if (l.weld) t = l.e * splat(l.kr) + (turning_at(k.V, l.B) - turning_at(k.V, l.A)) * splat(l.cr);
        if (l.A >= 0) F[l.A] = F[l.A] - SV{cross(l.p, f) + t, f};
        if (l.B >= 0) F[l.B] = F[l.B] + SV{cross(l.pB, f) + t, f};
    }
}

#if DS_IMPLICIT
// M + h C: the degrees of freedom of a loop lie on one path of the elimination tree, so each pair has its place
DS_FN void add_loops(const Model& m, const Kinematics& k, T h, R* entries)
{
    V3 by_v[DS_MAX_NV], by_w[DS_MAX_NV];
    for (int i = 0; i < m.loops.n; i++) {
        const int* ints = m.loops.loop + i * LPI_COLUMNS;
        const int* dofs = m.loops.dof + ints[LP_FIRST] * LDI_COLUMNS;
        Loop l = loop(m, k, i, h);
        for (int j = 0; j < ints[LP_COUNT]; j++) {
            int d = dofs[j * LDI_COLUMNS + LD_DOF];
            bool end = dofs[j * LDI_COLUMNS + LD_END];
            V3 v = point_velocity(k.S[d], end ? l.pB : l.p), w = k.S[d].w;
            by_v[j] = end ? v : -v, by_w[j] = end ? w : -w;
            R* row = entries + m.row[d];
            V3 hv = by_v[j] * splat(h * l.c), hw = by_w[j] * splat(h * l.cr);
            for (int n = 0; n <= j; n++) {
                R& entry = row[m.depth[dofs[n * LDI_COLUMNS + LD_DOF]]];
                entry = entry + dot(hv, by_v[n]);
                if (l.weld) entry = entry + dot(hw, by_w[n]);
            }
        }
    }
}
#endif

// one end of a loop: cotangents of its velocity u and test velocity x at the middle p, of the place of its point, and of the
// same of its attitude: its turn, angular velocity and test velocity
struct LoopEnd {
    V3 point, p, by_point, by_u, by_x, by_turn, by_w, by_y;
};
DS_FN void loop_end_vjp(LinkBar& b, const SV& V, const SV& X, const LoopEnd& g)
{
    V3 u = point_velocity(V, g.p), x = point_velocity(X, g.p);
    V3 e = cross(g.by_u, V.w) + cross(g.by_x, X.w);  // the middle does not move with the link
    SV by_V = {cross(g.p, g.by_u) + g.by_w, g.by_u};
    b.V = b.V + by_V;
#if DS_IMPLICIT
    b.Y = b.Y + by_V;
#endif
    b.X = b.X + SV{cross(g.p, g.by_x) + g.by_y, g.by_x};
    V3 moment = cross(u, g.by_u) + cross(x, g.by_x) - cross(g.p, e) + cross(V.w, g.by_w) + cross(X.w, g.by_y) + g.by_turn;
    b.W = b.W + SV{moment + cross(g.point, g.by_point), g.by_point - e};
}

// psi = x . f + y . t with x and y the test field's velocities of B against A, loop by loop; Y: velocities that the sub-step
// adds, with the implicit part; reals: with DS_PARAMS the cotangent of the model's reals, added to
DS_FN void loop_vjp(const Model& m, const Kinematics& k, const SV* X, const SV* Y, T h, LinkBar* bar, R* reals)
{
    SV rest = zero6();
    for (int i = 0; i < m.loops.n; i++) {
        Loop l = loop(m, k, i, h);
        SV VA = loop_velocity(k, Y, l.A), VB = loop_velocity(k, Y, l.B);
        SV XA = l.A < 0 ? rest : X[l.A], XB = l.B < 0 ? rest : X[l.B];
        V3 u = point_velocity(VB, l.pB) - point_velocity(VA, l.p), x = point_velocity(XB, l.pB) - point_velocity(XA, l.p);
        V3 by_x = l.d * splat(l.k) + u * splat(l.c), by_u = x * splat(l.c), by_d = x * splat(l.k);
        V3 by_p = (cross(by_u, VB.w - VA.w) + cross(by_x, XB.w - XA.w)) * splat(T(0.5));
        LoopEnd A = {l.a, l.p, by_p - by_d, -by_u, -by_x, zero3(), zero3(), zero3()};
        LoopEnd B = {l.b, l.pB, by_p + by_d, by_u, by_x, zero3(), zero3(), zero3()};
        if (l.weld) {
            V3 w = VB.w - VA.w, y = XB.w - XA.w, by_e = y * splat(T(0.5) * l.kr);
            B.by_y = l.e * splat(l.kr) + w * splat(l.cr), B.by_w = y * splat(l.cr);
            A.by_y = -B.by_y, A.by_w = -B.by_w;
            for (int j = 0; j < 3; j++) {
                V3 a = l.axesA.c[j], b = l.axesB.c[j];
                B.by_turn = B.by_turn + cross(b, cross(by_e, a));
                A.by_turn = A.by_turn - cross(a, cross(by_e, b));
            }
        }
#if DS_PARAMS
        if (l.A < 0 || l.B < 0) {
            V3 by = l.A < 0 ? A.by_point : B.by_point;
            const P* place = m.loops.place + 3 * i;
            accumulate(m, reals, place, -by.x), accumulate(m, reals, place + 1, -by.y), accumulate(m, reals, place + 2, -by.z);
        }
#endif
        if (l.A >= 0) loop_end_vjp(bar[l.A], VA, XA, A);
        if (l.B >= 0) loop_end_vjp(bar[l.B], VB, XB, B);
    }
}
#endif

}  // namespace ds
