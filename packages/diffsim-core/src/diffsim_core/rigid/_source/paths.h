// What units pull along: segments between points on links and, with DS_TENDONS, sums of joint coordinates, or a wrench fixed
// to a link. A unit's length L is the sum of its parts, and a force f along it gives the generalised force f dL/dq.
#pragma once
#include "wrapping.h"

namespace ds {

#if DS_MUSCLES
DS_FN V3 material_point(const Kinematics& k, int link, const T* pos)
{
    if (link < 0) return {splat(pos[0]), splat(pos[1]), splat(pos[2])};
    return k.r[link] + rotate(k.E[link], pos);
}
DS_FN V3 reference_point(const Kinematics& k, int link)
{
    return link < 0 ? zero3() : V3{k.x[link], k.y[link], k.height[link]};
}

// one straight piece of a unit, from a on one link to b on another
struct Segment {
    int A, B;
    T scale;    // what a metre of it adds to the unit's length
    V3 a, b, n; // ends, each from its link's reference point, and the direction from a to b
    R length, inverse;
};
DS_FN Segment segment(const Model& m, const Kinematics& k, int i)
{
    const int* link = m.muscles.segment + i * SGI_COLUMNS;
    const T* real = m.muscles.segmentr + i * SGR_COLUMNS;
    Segment s;
    s.A = link[SG_A], s.B = link[SG_B], s.scale = real[SG_SCALE];
    s.a = material_point(k, s.A, real + SG_POS_A);
    s.b = material_point(k, s.B, real + SG_POS_B);
    V3 d = s.b - s.a;
    if (link[SG_APART]) d = d + (reference_point(k, s.B) - reference_point(k, s.A));
    R square = dot(d, d) + T(1e-24);
    s.length = sqrt_(square);
    s.inverse = s.length / square;
    s.n = d * s.inverse;
    return s;
}

#if DS_WRAPS
DS_FN bool wraps(const Model& m, int i) { return m.muscles.segment[i * SGI_COLUMNS + SG_WRAP] >= 0; }

// a piece that may wrap around a shape of link G; all places from G's reference point
struct Wrapped {
    int A, B, G;
    T scale;
    V3 a, b, c;            // ends, and the shape's centre
    V3 shift_a, shift_b;   // reference points of A and B
    Shape shape;
};
DS_FN Wrapped wrapped(const Model& m, const Kinematics& k, int i)
{
    const int* link = m.muscles.segment + i * SGI_COLUMNS;
    const T* real = m.muscles.segmentr + i * SGR_COLUMNS;
    const int* wrap = m.muscles.wrap + link[SG_WRAP] * WRI_COLUMNS;
    const T* wrapr = m.muscles.wrapr + link[SG_WRAP] * WRR_COLUMNS;
    Wrapped s;
    s.A = link[SG_A], s.B = link[SG_B], s.G = wrap[WR_LINK], s.scale = real[SG_SCALE];
    s.a = material_point(k, s.A, real + SG_POS_A), s.b = material_point(k, s.B, real + SG_POS_B);
    s.c = material_point(k, s.G, wrapr + WR_POS);
    s.shift_a = s.shift_b = zero3();
    int side = wrap[WR_SIDE];
    s.shape.kind = wrap[WR_KIND], s.shape.radius = wrapr[WR_RADIUS], s.shape.sided = side >= -1;
    const T* axis = wrapr + WR_AXIS;
    s.shape.axis = s.G < 0 ? V3{splat(axis[0]), splat(axis[1]), splat(axis[2])} : rotate(k.E[s.G], axis);
    s.shape.side = zero3();
    if (s.shape.sided) s.shape.side = material_point(k, side, wrapr + WR_SIDE_POS) - s.c;
    if (wrap[WR_APART]) {
        V3 from = reference_point(k, s.G);
        s.shift_a = reference_point(k, s.A) - from, s.shift_b = reference_point(k, s.B) - from;
        s.a = s.a + s.shift_a, s.b = s.b + s.shift_b;
        if (s.shape.sided) s.shape.side = s.shape.side + (reference_point(k, side) - from);
    }
    return s;
}
// velocity of an end against the shape's link
DS_FN V3 against(const SV* field, int link, int G, V3 p, V3 shift)
{
    return velocity_at(field, link, p - shift) - velocity_at(field, G, p);
}
DS_FN void measure_wrapped(const Model& m, const Kinematics& k, int i, const SV* V, R& length, R& rate)
{
    Wrapped s = wrapped(m, k, i);
    Bend d = bend<false>(s.shape, s.a - s.c, s.b - s.c, zero3(), zero3());
    length = length + d.length * s.scale;
    V3 va = against(V, s.A, s.G, s.a, s.shift_a), vb = against(V, s.B, s.G, s.b, s.shift_b);
    rate = rate + (dot(d.g0, va) + dot(d.g1, vb)) * s.scale;
}
DS_FN void pull_wrapped(const Model& m, const Kinematics& k, int i, R f, SV* F)
{
    Wrapped s = wrapped(m, k, i);
    Bend d = bend<false>(s.shape, s.a - s.c, s.b - s.c, zero3(), zero3());
    V3 ga = d.g0 * (f * s.scale), gb = d.g1 * (f * s.scale);
    if (s.A >= 0) F[s.A] = F[s.A] - SV{cross(s.a - s.shift_a, ga), ga};
    if (s.B >= 0) F[s.B] = F[s.B] - SV{cross(s.b - s.shift_b, gb), gb};
    if (s.G >= 0) F[s.G] = F[s.G] + SV{cross(s.a, ga) + cross(s.b, gb), ga + gb};
}
#endif

// A motion of everything: of the links, and of the degrees of freedom. Two of them matter: the velocity, and the test
// velocity that lambda would give.
struct Motion {
    const SV* link;  // [nl]
    const R* dof;    // [nv]
};

#if DS_TENDONS
// the wrench of a unit's site for a force of one, about its link's reference point
DS_FN SV site_wrench(const Kinematics& k, const int* unit, const T* p)
{
    int i = unit[MU_SITE];
    V3 f = rotate(k.E[i], p + MR_WRENCH + 3);
    return {rotate(k.E[i], p + MR_WRENCH) + cross(k.r[i], f), f};
}
#endif

// length, and its rate in a motion
DS_FN void measure(const Model& m, const State& s, const Kinematics& k, const int* unit, const T* p, const Motion& motion,
                   R& length, R& rate)
{
    length = splat(p[MR_SLACK]), rate = R{};
    for (int i = unit[MU_FIRST]; i < unit[MU_FIRST] + unit[MU_COUNT]; i++) {
#if DS_WRAPS
        if (wraps(m, i)) {
            measure_wrapped(m, k, i, motion.link, length, rate);
            continue;
        }
#endif
        Segment g = segment(m, k, i);
        length = length + g.length * g.scale;
        rate = rate + dot(g.n, velocity_at(motion.link, g.B, g.b) - velocity_at(motion.link, g.A, g.a)) * g.scale;
    }
#if DS_TENDONS
    for (int i = unit[MU_TERM]; i < unit[MU_TERM] + unit[MU_TERMS]; i++) {
        const int* term = m.muscles.term + i * TMI_COLUMNS;
        length = length + s.q[term[TM_Q]] * m.muscles.termr[i];
        rate = rate + motion.dof[term[TM_DOF]] * m.muscles.termr[i];
    }
    if (unit[MU_SITE] >= 0) rate = rate + dot(motion.link[unit[MU_SITE]], site_wrench(k, unit, p));
#endif
}

// a force along a unit: subtract its wrenches from F, link by link, and add what acts on joints to tau
DS_FN void pull_along(const Model& m, const Kinematics& k, const int* unit, const T* p, R f, SV* F, R* tau)
{
    for (int i = unit[MU_FIRST]; i < unit[MU_FIRST] + unit[MU_COUNT]; i++) {
#if DS_WRAPS
        if (wraps(m, i)) {
            pull_wrapped(m, k, i, f, F);
            continue;
        }
#endif
        Segment s = segment(m, k, i);
        V3 g = s.n * (f * s.scale);
        if (s.A >= 0) F[s.A] = F[s.A] + SV{cross(s.a, g), g};
        if (s.B >= 0) F[s.B] = F[s.B] - SV{cross(s.b, g), g};
    }
#if DS_TENDONS
    for (int i = unit[MU_TERM]; i < unit[MU_TERM] + unit[MU_TERMS]; i++) {
        R& t = tau[m.muscles.term[i * TMI_COLUMNS + TM_DOF]];
        t = t + f * m.muscles.termr[i];
    }
    if (unit[MU_SITE] >= 0) F[unit[MU_SITE]] = F[unit[MU_SITE]] - site_wrench(k, unit, p) * f;
#endif
}

// cotangents of a point's place, velocity and test velocity, into those of its link
DS_FN void point_vjp(LinkBar& b, V3 p, V3 v, V3 x, V3 by_p, V3 by_v, V3 by_x)
{
    b.X = b.X + SV{cross(p, by_x), by_x};
    b.V = b.V + SV{cross(p, by_v), by_v};
    b.W = b.W + SV{cross(p, by_p) + cross(v, by_v) + cross(x, by_x), by_p};
}

#if DS_WRAPS
// Only the ends' part is worked out: a rigid motion of everything changes nothing, so the shape's link has the opposite part.
DS_FN void wrapped_vjp(const Model& m, const Kinematics& k, int i, const SV* V, const SV* X, R f, R by_length, R by_rate,
                       LinkBar* bar)
{
    Wrapped s = wrapped(m, k, i);
    V3 va = against(V, s.A, s.G, s.a, s.shift_a), vb = against(V, s.B, s.G, s.b, s.shift_b);
    V3 xa = against(X, s.A, s.G, s.a, s.shift_a), xb = against(X, s.B, s.G, s.b, s.shift_b);
    Bend d = bend<true>(s.shape, s.a - s.c, s.b - s.c, va * by_rate + xa * f, vb * by_rate + xb * f);
    V3 turn_v = s.G < 0 ? zero3() : V[s.G].w, turn_x = s.G < 0 ? zero3() : X[s.G].w;
    for (int end = 0; end < 2; end++) {
        int link = end ? s.B : s.A;
        V3 g = end ? d.g1 : d.g0, h = end ? d.h1 : d.h0, at = end ? s.b : s.a, shift = end ? s.shift_b : s.shift_a;
        V3 by_v = g * (by_rate * -s.scale), by_x = g * (f * -s.scale);
        V3 by_p = (g * by_length + h) * splat(-s.scale) + cross(turn_v, by_v) + cross(turn_x, by_x), p = at - shift;
        LinkBar own;
        own.V = own.X = own.W = zero6();
        point_vjp(own, p, velocity_at(V, link, p), velocity_at(X, link, p), by_p, by_v, by_x);
        if (link >= 0) {
            LinkBar& b = bar[link];
            b.V = b.V + own.V, b.X = b.X + own.X, b.W = b.W + own.W;
        }
        if (s.G >= 0) {
            LinkBar& b = bar[s.G];
            b.V = b.V - SV{cross(at, by_v), by_v}, b.X = b.X - SV{cross(at, by_x), by_x};
            b.W = b.W - SV{own.W.w + cross(shift, own.W.v), own.W.v};
        }
    }
}
#endif

// psi = -f dL/dt[X] with the force f and, times dL/dt[X], its derivatives by length and rate; into the cotangents of links
// and, as the joints' own forces, of the state
DS_FN void path_vjp(const Model& m, const Kinematics& k, const int* unit, const T* p, const Motion& V, const Motion& X, R f,
                    R by_length, R by_rate, LinkBar* bar, State& g)
{
    for (int i = unit[MU_FIRST]; i < unit[MU_FIRST] + unit[MU_COUNT]; i++) {
#if DS_WRAPS
        if (wraps(m, i)) {
            wrapped_vjp(m, k, i, V.link, X.link, f, by_length, by_rate, bar);
            continue;
        }
#endif
        Segment s = segment(m, k, i);
        V3 va = velocity_at(V.link, s.A, s.a), vb = velocity_at(V.link, s.B, s.b);
        V3 xa = velocity_at(X.link, s.A, s.a), xb = velocity_at(X.link, s.B, s.b);
        V3 w = vb - va, y = xb - xa;
        // d n = (1 - n n^T) d / length
        V3 turning = (w - s.n * dot(w, s.n)) * by_rate + (y - s.n * dot(y, s.n)) * f;
        V3 by_d = (s.n * by_length + turning * s.inverse) * splat(-s.scale);
        V3 by_w = s.n * (by_rate * -s.scale), by_y = s.n * (f * -s.scale);
        if (s.A >= 0) point_vjp(bar[s.A], s.a, va, xa, -by_d, -by_w, -by_y);
        if (s.B >= 0) point_vjp(bar[s.B], s.b, vb, xb, by_d, by_w, by_y);
    }
#if DS_TENDONS
    for (int i = unit[MU_TERM]; i < unit[MU_TERM] + unit[MU_TERMS]; i++) {
        const int* term = m.muscles.term + i * TMI_COLUMNS;
        g.q[term[TM_Q]] = g.q[term[TM_Q]] + by_length * m.muscles.termr[i];
        g.v[term[TM_DOF]] = g.v[term[TM_DOF]] + by_rate * m.muscles.termr[i];
    }
    if (unit[MU_SITE] >= 0) {
        // carried along with its link, the wrench does the same work in any displacement: nothing for W
        LinkBar& b = bar[unit[MU_SITE]];
        SV wrench = site_wrench(k, unit, p);
        b.V = b.V - wrench * by_rate;
        b.X = b.X - wrench * f;
    }
#endif
}
#endif

}  // namespace ds
