// Contact between two links: of a segment with a radius (a sphere if it has no length, else a capsule) with another
// one, or with a box. One contact at the closest points. Only derivatives by the first shape's motion are worked
// out: moving both shapes together changes nothing but directions, which gives the second's.
#pragma once
#include "touch.h"

namespace ds {

struct Pair {
    Touch at;
    V3 shift;         // from A's reference point to B's
    V3 c, h, hb;      // centre and half vectors of the segments, from A's reference point
    R s, t;           // where the closest points are, in [-1, 1]
    R length, inner;  // between closest points; inner: 1 where the segment enters the box
    // segments: the matrix of the closest points' equations, for those that are not at an end
    R freeA, freeB, inverse;
    // box: axes, and per axis whether the closest point lies beyond the face (on the side `side`); how t moves
    V3 axes[3];
    R side[3], beyond[3], by_y[3], by_h[3];
};

DS_FN R clamp1(R x) { return min_(max_(x, splat(T(-1))), splat(T(1))); }
DS_FN R one_if(Mask m) { return select(m, splat(T(1)), R{}); }

// closest points of segments (Ericson, Real-Time Collision Detection, 5.1.9), with parameters from -1 to 1
DS_FN void meet_segments(Pair& p, const P* row, const T* shape, V3 cb)
{
    V3 D = p.c - cb;
    R a = dot(p.h, p.h), e = dot(p.hb, p.hb), b = dot(p.h, p.hb), c = dot(p.h, D), f = dot(p.hb, D);
    R tiny = splat(T(DS_DOUBLE ? 1e-14 : 1e-6)), denominator = a * e - b * b, o = splat(T(1));
    Mask skew = denominator > tiny * a * e;
    // of all points of parallel segments that are equally close, A's middle if it faces B
    R s = clamp1(select(skew, (b * f - c * e) / select(skew, denominator, o), R{}));
    bool lineA = shape[P_HALF_A] != 0 || shape[P_HALF_A + 1] != 0 || shape[P_HALF_A + 2] != 0;
    bool lineB = shape[P_HALF_B] != 0 || shape[P_HALF_B + 1] != 0 || shape[P_HALF_B + 2] != 0;
    R free_t = lineB ? (b * s + f) / e : R{};
    R t = clamp1(free_t);
    if (lineA) s = clamp1((b * t - c) / a);
    p.s = s, p.t = t;
    p.freeA = lineA ? one_if(abs_(s) < o) : R{};
    p.freeB = lineB ? one_if(abs_(free_t) < o) : R{};
    // the inverse of [[a, -b], [-b, e]] between free parameters; a parameter at an end has a row of the identity
    R both = p.freeA * p.freeB, da = select(p.freeA > R{}, a, o), de = select(p.freeB > R{}, e, o);
    R determinant = da * de - both * b * b;
    p.inverse = o / select(determinant > tiny * da * de, determinant, tiny * da * de);
    V3 r = D + p.h * s - p.hb * t;
    p.length = sqrt_(dot(r, r) + T(DS_DOUBLE ? 1e-30 : 1e-20));
    p.at.n = r * (o / p.length);
    p.at.d = p.length - (row[C_RADIUS] + shape[P_RADIUS_B]);
    p.at.p = p.c + p.h * s - r * splat(T(0.5)) + p.at.n * splat((shape[P_RADIUS_B] - row[C_RADIUS]) / 2);
}

// Closest point of a segment to a box. g(t) = (y - nearest point of the box) . h, y = c + t h in the box's axes, rises
// in straight pieces between the planes of the faces. A segment that enters the box counts at the middle of its way
// through, and is pushed out of the nearest face.
DS_FN R slope_at(const R* c, const R* h, const T* size, R t)
{
    R g = R{};
    for (int i = 0; i < 3; i++) {
        R y = c[i] + h[i] * t;
        g = g + (y - min_(max_(y, splat(-size[i])), splat(size[i]))) * h[i];
    }
    return g;
}
DS_FN void meet_box(Pair& p, const P* row, const T* shape, V3 cb)
{
    const T* size = shape + P_HALF_B;
    R o = splat(T(1)), z = R{}, c[3], h[3], into[3], out[3];
    V3 D = p.c - cb;
    for (int i = 0; i < 3; i++) c[i] = dot(p.axes[i], D), h[i] = dot(p.axes[i], p.h);
    bool line = shape[P_HALF_A] != 0 || shape[P_HALF_A + 1] != 0 || shape[P_HALF_A + 2] != 0;
    R t = z, enter = -o, leave = o;
    for (int i = 0; i < 3; i++) p.by_y[i] = p.by_h[i] = z;
    Mask inside;
    if (line) {
        R low = -o, high = o, g_low = slope_at(c, h, size, -o), g_high = slope_at(c, h, size, o);
        Mask at_low = g_low >= z, at_high = g_high <= z;
        for (int i = 0; i < 3; i++) {
            R turn = o / select(abs_(h[i]) > splat(T(1e-18)), h[i], splat(T(1e-18)));
            R one = (-c[i] - size[i]) * turn, two = (splat(size[i]) - c[i]) * turn;
            into[i] = min_(one, two), out[i] = max_(one, two);
            enter = max_(enter, into[i]), leave = min_(leave, out[i]);
        }
        inside = enter < leave;
        for (int k = 0; k < 6; k++) {
            R at = clamp1(k < 3 ? into[k] : out[k - 3]), g = slope_at(c, h, size, at);
            Mask below = (g < z) & (at > low), above = (g >= z) & (at < high);
            low = select(below, at, low), g_low = select(below, g, g_low);
            high = select(above, at, high), g_high = select(above, g, g_high);
        }
        R rise = g_high - g_low;
        R closest = low - g_low * (high - low) / select(rise > z, rise, o);
        closest = select(at_low, -o, select(at_high, o, closest));
        closest = select(at_low & at_high, z, closest);
        t = select(inside, (enter + leave) * T(0.5), clamp1(closest));
        Mask moving = abs_(t) < o;
        R along = z, push[3];
        for (int i = 0; i < 3; i++) {
            R y = c[i] + h[i] * t;
            push[i] = y - min_(max_(y, splat(-size[i])), splat(size[i]));
            along = along + select(abs_(y) > splat(size[i]), h[i] * h[i], z);
        }
        for (int i = 0; i < 3; i++) {
            R y = c[i] + h[i] * t;
            R turn = o / select(abs_(h[i]) > splat(T(1e-18)), h[i], splat(T(1e-18))) * T(0.5);
            R first = select(enter == into[i], turn, z), last = select(leave == out[i], turn, z);
            R share = o / select(along > z, along, o);
            R free_y = select(abs_(y) > splat(size[i]), h[i] * share, z);
            Mask free = moving & (along > z);
            p.by_y[i] = select(inside, first + last, select(free, free_y, z));
            p.by_h[i] = select(inside, first * (enter - t) + last * (leave - t), select(free, push[i] * share, z));
        }
    } else {
        inside = (abs_(c[0]) < splat(size[0])) & (abs_(c[1]) < splat(size[1])) & (abs_(c[2]) < splat(size[2]));
    }
    R y[3], r2 = z, deepest = splat(T(-1e30));
    for (int i = 0; i < 3; i++) {
        y[i] = c[i] + h[i] * t;
        p.side[i] = select(y[i] < z, -o, o);
        p.beyond[i] = one_if(abs_(y[i]) > splat(size[i]));
        deepest = max_(deepest, abs_(y[i]) - size[i]);
    }
    // inside: the first of the nearest faces alone
    R taken = z;
    for (int i = 0; i < 3; i++) {
        R face = one_if(abs_(y[i]) - size[i] >= deepest) * (o - taken);
        taken = taken + face;
        p.beyond[i] = select(inside, face, p.beyond[i]);
        R gap = (y[i] - p.side[i] * size[i]) * p.beyond[i];
        r2 = r2 + gap * gap;
        y[i] = gap;
    }
    p.inner = one_if(inside);
    p.length = select(inside, -deepest, sqrt_(r2 + T(DS_DOUBLE ? 1e-30 : 1e-20)));
    R scale = o / select(p.length > z, p.length, o);
    V3 n = zero3();
    for (int i = 0; i < 3; i++)
        n = n + p.axes[i] * select(inside, p.side[i] * p.beyond[i], y[i] * scale);
    p.at.n = n;
    p.at.d = select(inside, deepest, p.length) - row[C_RADIUS];
    p.at.p = p.c + p.h * t - n * (p.at.d * T(0.5) + row[C_RADIUS]);
    p.t = t;
}

// centre and radius of the first shape, and gains
DS_FN const P* pair_row(const Model& m, int index) { return m.touchr + (m.contacts.nf + index) * CR_COLUMNS; }

// a link's axes and origin, and the world's place of its reference point
struct Frame {
    M3 E;
    V3 r, o;
};
DS_FN Frame frame(const Kinematics& k, int link)
{
    if (link < 0) return {identity(), zero3(), zero3()};
    return {k.E[link], k.r[link], {k.x[link], k.y[link], k.height[link]}};
}

// false where no world of the block is near enough
DS_FN bool meet(const Model& m, const Kinematics& k, int index, T width, Pair& p)
{
    const int* pair = m.contacts.pair + index * PI_COLUMNS;
    const P* row = pair_row(m, index);
    const T* shape = m.contacts.pairr + index * PR_COLUMNS;
    Frame a = frame(k, pair[P_A]), b = frame(k, pair[P_B]);
    p.shift = b.o - a.o;
    p.c = a.r + rotate(a.E, row + C_POS);
    V3 centre = b.r + rotate(b.E, shape + P_POS_B) + p.shift;
    V3 apart = p.c - centre;
    T reach = shape[P_REACH] + width;
    if (!any(dot(apart, apart) < splat(reach * reach))) return false;
    p.h = rotate(a.E, shape + P_HALF_A);
    if (pair[P_KIND] == SEGMENTS) {
        p.hb = rotate(b.E, shape + P_HALF_B);
        meet_segments(p, row, shape, centre);
    } else {
        M3 axes = rotate9(b.E, shape + P_AXES_B);
        for (int i = 0; i < 3; i++) p.axes[i] = axes.c[i];
        meet_box(p, row, shape, centre);
    }
    return any(p.at.d < splat(width));
}

// wrench on A's shape, about A's reference point, that pulls the cotangents of d, n and p back to its displacement
DS_FN SV pair_vjp(const Pair& p, int kind, const P* row, const T* shape, R by_d, V3 by_n, V3 by_p)
{
    V3 n = p.at.n, by_c, by_h;
    if (kind == SEGMENTS) {
        by_n = by_n + by_p * splat((shape[P_RADIUS_B] - row[C_RADIUS]) / 2);
        V3 half = by_p * splat(T(0.5)), r = n * p.length;
        V3 by_r = n * by_d + (by_n - n * dot(n, by_n)) * (splat(T(1)) / p.length);
        R by_s = dot(p.h, half + by_r) * p.freeA, by_t = dot(p.hb, half - by_r) * p.freeB;
        R a = select(p.freeA > R{}, dot(p.h, p.h), splat(T(1)));
        R e = select(p.freeB > R{}, dot(p.hb, p.hb), splat(T(1)));
        R b = dot(p.h, p.hb) * p.freeA * p.freeB;
        R u = (e * by_s + b * by_t) * p.inverse * p.freeA, v = (b * by_s + a * by_t) * p.inverse * p.freeB;
        V3 moved = half + by_r, follow = p.h * u - p.hb * v;
        by_c = moved - follow;
        by_h = (moved - follow) * p.s - r * u;
    } else {
        // p = c' - n (radius + d / 2)
        V3 moved = by_n - by_p * (p.at.d * T(0.5) + row[C_RADIUS]);
        R d = by_d - dot(by_p, n) * T(0.5), inverse = (splat(T(1)) - p.inner) / p.length;
        V3 by_r = n * d + (moved - n * dot(n, moved)) * inverse;
        V3 by_point = by_p;
        for (int i = 0; i < 3; i++) by_point = by_point + p.axes[i] * (dot(p.axes[i], by_r) * p.beyond[i]);
        R by_t = dot(by_point, p.h);
        by_c = by_point, by_h = by_point * p.t;
        for (int i = 0; i < 3; i++) {
            by_c = by_c - p.axes[i] * (by_t * p.by_y[i]);
            by_h = by_h - p.axes[i] * (by_t * (p.by_y[i] * p.t + p.by_h[i]));
        }
    }
    return {cross(p.c, by_c) + cross(p.h, by_h), by_c};
}

// subtract the wrenches of contact between links from F
DS_ENTRY void pair_forces(const Model& m, const Kinematics& k, SV* F)
{
    for (int index = 0; index < m.contacts.np; index++) {
        const int* pair = m.contacts.pair + index * PI_COLUMNS;
        Pair p;
        if (!meet(m, k, index, m.contacts.width, p)) continue;
        int a = pair[P_A], b = pair[P_B];
        V3 at = p.at.p, from_b = at - p.shift, u = velocity_at(k.V, a, at) - velocity_at(k.V, b, from_b);
        V3 f = touch_force(m, pair_row(m, index), p.at, u, m.contacts.width);
        if (a >= 0) {
            F[a].w = F[a].w - cross(at, f);
            F[a].v = F[a].v - f;
        }
        if (b >= 0) {
            F[b].w = F[b].w + cross(from_b, f);
            F[b].v = F[b].v + f;
        }
    }
}

DS_ENTRY void pair_forces_vjp(const Model& m, const Kinematics& k, const SV* X, LinkBar* bar)
{
    for (int index = 0; index < m.contacts.np; index++) {
        const int* pair = m.contacts.pair + index * PI_COLUMNS;
        const P* row = pair_row(m, index);
        Pair p;
        if (!meet(m, k, index, m.contacts.back, p)) continue;
        int a = pair[P_A], b = pair[P_B];
        V3 at = p.at.p, from_b = at - p.shift;
        V3 ua = velocity_at(k.V, a, at), xa = velocity_at(X, a, at);
        V3 ub = velocity_at(k.V, b, from_b), xb = velocity_at(X, b, from_b);
        Psi g = touch_vjp(m, row, p.at, ua - ub, xa - xb, m.contacts.back);
        V3 by_pa = zero3(), by_pb = zero3();
        if (a >= 0) by_pa = cross(g.u, k.V[a].w) + cross(g.x, X[a].w);
        if (b >= 0) by_pb = cross(g.u, k.V[b].w) + cross(g.x, X[b].w);
        V3 by_p = by_pa - by_pb;
        SV moved = pair_vjp(p, pair[P_KIND], row, m.contacts.pairr + index * PR_COLUMNS, g.d, g.n, by_p);
        if (a >= 0) {
            LinkBar& A = bar[a];
            A.X.w = A.X.w + cross(at, g.x);
            A.X.v = A.X.v + g.x;
            A.V.w = A.V.w + cross(at, g.u);
            A.V.v = A.V.v + g.u;
            A.W.w = A.W.w + moved.w + cross(ua, g.u) + cross(xa, g.x) - cross(at, by_pa);
            A.W.v = A.W.v + moved.v - by_pa;
        }
        if (b < 0) continue;
        LinkBar& B = bar[b];
        B.X.w = B.X.w - cross(from_b, g.x);
        B.X.v = B.X.v - g.x;
        B.V.w = B.V.w - cross(from_b, g.u);
        B.V.v = B.V.v - g.u;
        // both shapes together carry p and turn n; then about B's reference point
        V3 force = by_p - moved.v, moment = cross(at, by_p) + cross(p.at.n, g.n) - moved.w - cross(p.shift, force);
        B.W.w = B.W.w + moment - cross(ub, g.u) - cross(xb, g.x) + cross(from_b, by_pb);
        B.W.v = B.W.v + force + by_pb;
    }
}

DS_FN R pairs_touching(const Model& m, const Kinematics& k)
{
    R count = R{};
    for (int index = 0; index < m.contacts.np; index++) {
        Pair p;
        if (meet(m, k, index, T(0), p)) count = count + one_if(p.at.d < R{});
    }
    return count;
}

}  // namespace ds
