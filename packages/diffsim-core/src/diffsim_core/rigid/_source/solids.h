// Convex solids in their link's axes, from their centre: a segment with a radius (a sphere if it has no length), or a
// polyhedron of edges and faces. Two questions about one: how far away is a point, and which part of a segment is near.
#pragma once
#include "contact_tables.h"

namespace ds {

struct Solid {
    int link, segments, planes;
    const T *real, *segment, *plane;
};
DS_FN Solid solid(const Contacts& c, int index)
{
    const int* i = c.solid + index * BI_COLUMNS;
    const T* real = c.pairr + i[B_REALS];
    const T* segment = real + BR_COLUMNS;
    return {i[B_LINK], i[B_SEGMENTS], i[B_PLANES], real, segment, segment + i[B_SEGMENTS] * E_COLUMNS};
}

DS_FN R clamp1(R x) { return min_(max_(x, splat(T(-1))), splat(T(1))); }
DS_FN R one_if(Mask m) { return select(m, splat(T(1)), R{}); }
DS_FN V3 splat3(const T* a) { return {splat(a[0]), splat(a[1]), splat(a[2])}; }
DS_FN V3 select3(Mask m, V3 a, V3 b) { return {select(m, a.x, b.x), select(m, a.y, b.y), select(m, a.z, b.z)}; }
DS_FN R along(const T* n, V3 a) { return a.x * n[0] + a.y * n[1] + a.z * n[2]; }

// Signed distance of a point from a solid, negative inside, and its gradient n. A displacement dy of the point turns n by
// turn (1 - n n^T - e e^T) dy: the edge direction e is zero where n points at a corner, and turn is zero over a face. A
// displacement of the other solid's centre adds behind n to the gradient.
struct Distance {
    R d, turn, behind;
    V3 n, e;
};
DS_FN V3 turned(const Distance& at, V3 v) { return (v - at.n * dot(at.n, v) - at.e * dot(at.e, v)) * at.turn; }

DS_FN void distance_to_round(const Solid& b, V3 y, Distance& at)
{
    const T* half = b.segment + E_HALF;
    T per_square = b.segment[E_PER_SQUARE];
    V3 h = splat3(half);
    R free = dot(h, y) * per_square, s = clamp1(free);
    V3 r = y - h * s;
    R length = sqrt_(dot(r, r) + T(DS_DOUBLE ? 1e-30 : 1e-20));
    at.turn = splat(T(1)) / length;
    at.n = r * at.turn;
    at.e = h * (one_if(abs_(free) < splat(T(1))) * sqrt_(splat(per_square)));
    at.d = length - b.real[B_RADIUS];
    at.behind = R{};
}

// Outside: the face above which the point is, or else the nearest edge or corner. Inside: the nearest face, where one that
// the other solid's centre is behind counts as that much further away: nobody is pushed through most of a solid.
DS_FN void distance_to_polyhedron(const Solid& b, V3 y, V3 centre, Distance& at)
{
    R one = splat(T(1)), z = R{}, best = splat(T(-1e30)), behind = z;
    V3 way = zero3();
    at.d = best, at.n = at.e = zero3(), at.turn = at.behind = z;
    for (int f = 0; f < b.planes; f++) {
        const T* plane = b.plane + f * N_COLUMNS;
        R d = along(plane, y) - plane[N_DISTANCE];
        Mask further = d > at.d;
        at.d = select(further, d, at.d);
        at.n = select3(further, splat3(plane), at.n);
        R ahead = along(plane, centre) - plane[N_DISTANCE], score = d + min_(ahead, z);
        Mask better = score > best;
        best = select(better, score, best);
        behind = select(better, one_if(ahead < z), behind);
        way = select3(better, splat3(plane), way);
    }
    Mask outside = at.d > z;
    at.d = select(outside, at.d, best);
    at.n = select3(outside, at.n, way);
    at.behind = select(outside, z, behind);
    if (!any(outside)) return;
    V3 foot = y - at.n * at.d;
    R beyond = splat(T(-1e30));
    for (int f = 0; f < b.planes; f++) {
        const T* plane = b.plane + f * N_COLUMNS;
        beyond = max_(beyond, along(plane, foot) - plane[N_DISTANCE]);
    }
    Mask side = outside & (beyond > splat(b.real[B_BOUND] * T(DS_DOUBLE ? 1e-9 : 1e-6)));
    if (!any(side)) return;
    R least = splat(T(1e30));
    V3 to = zero3(), e = zero3();
    for (int k = 0; k < b.segments; k++) {
        const T* edge = b.segment + k * E_COLUMNS;
        V3 h = splat3(edge + E_HALF), r = y - splat3(edge + E_CENTRE);
        R free = dot(h, r) * edge[E_PER_SQUARE], s = clamp1(free);
        r = r - h * s;
        R square = dot(r, r);
        Mask nearer = square < least;
        least = select(nearer, square, least);
        to = select3(nearer, r, to);
        e = select3(nearer, h * (one_if(abs_(free) < one) * sqrt_(splat(edge[E_PER_SQUARE]))), e);
    }
    R length = sqrt_(least + T(DS_DOUBLE ? 1e-30 : 1e-20)), inverse = one / length;
    at.d = select(side, length, at.d);
    at.n = select3(side, to * inverse, at.n);
    at.e = select3(side, e, at.e);
    at.turn = select(side, inverse, at.turn);
}
// of the point y of another solid with that centre
DS_ENTRY void distance_to(const Solid& b, V3 y, V3 centre, Distance& at)
{
    if (b.planes) distance_to_polyhedron(b, y, centre, at);
    else distance_to_round(b, y, at);
}

// The part of a segment c + t h, t in [-1, 1], that is near: from t[0] to t[1], none if these are equal. How an end moves
// with the segment: dt = -n . (dc + t dh) / (n . h), or not at all where n is zero, the segment's own end.
struct Strip {
    R t[2];
    V3 n[2];
};

// within `near` of the segment of a sphere or capsule: where the line enters and leaves the balls about its ends and the
// cylinder between them
DS_FN void clip_to_round(const Solid& b, V3 c, V3 h, R near, Strip& s)
{
    V3 hb = splat3(b.segment + E_HALF);
    T per_square = b.segment[E_PER_SQUARE];
    R one = splat(T(1)), z = R{}, a = dot(h, h), huge = splat(T(1e30));
    R enter = huge, leave = -huge;
    for (int k = 0; k < (per_square > 0 ? 2 : 1); k++) {
        V3 r = k ? c + hb : c - hb;
        R half = dot(h, r), free = half * half - a * (dot(r, r) - near * near);
        R root = sqrt_(max_(free, z));
        enter = select(free > z, min_(enter, -(half + root) / a), enter);
        leave = select(free > z, max_(leave, (root - half) / a), leave);
    }
    if (per_square > 0) {
        R sc = dot(c, hb) * per_square, sh = dot(h, hb) * per_square;
        V3 ca = c - hb * sc, ha = h - hb * sh;
        R aa = dot(ha, ha), half = dot(ha, ca), free = half * half - aa * (dot(ca, ca) - near * near);
        Mask skew = (aa > a * T(DS_DOUBLE ? 1e-12 : 1e-6)) & (free > z);
        R root = sqrt_(max_(free, z)), per = one / select(skew, aa, one);
        R first = -(half + root) * per, last = (root - half) * per;
        enter = select(skew & (abs_(sc + sh * first) <= one), min_(enter, first), enter);
        leave = select(skew & (abs_(sc + sh * last) <= one), max_(leave, last), leave);
    }
    R end[2] = {enter, leave};
    Mask met = (enter < leave) & (enter < one) & (leave > -one);
    for (int k = 0; k < 2; k++) {
        s.t[k] = select(met, clamp1(end[k]), z);
        V3 y = c + h * s.t[k];
        Mask own = met & (abs_(end[k]) < one);
        s.n[k] = (y - hb * clamp1(dot(y, hb) * per_square)) * select(own, one, z);
    }
}

// within `near` of all faces' planes
DS_FN void clip_to_planes(const Solid& b, V3 c, V3 h, R near, Strip& s)
{
    R one = splat(T(1)), z = R{}, tiny = splat(T(1e-15));
    s.t[0] = -one, s.t[1] = one, s.n[0] = s.n[1] = zero3();
    for (int f = 0; f < b.planes; f++) {
        const T* plane = b.plane + f * N_COLUMNS;
        R rise = along(plane, h), over = along(plane, c) - plane[N_DISTANCE] - near;
        rise = select(abs_(rise) > tiny, rise, tiny);
        R at = -over / rise;
        Mask enters = (rise < z) & (at > s.t[0]), leaves = (rise > z) & (at < s.t[1]);
        s.t[0] = select(enters, at, s.t[0]);
        s.t[1] = select(leaves, at, s.t[1]);
        s.n[0] = select3(enters, splat3(plane), s.n[0]);
        s.n[1] = select3(leaves, splat3(plane), s.n[1]);
        if (!any(s.t[0] < s.t[1])) break;
    }
    Mask met = s.t[0] < s.t[1];
    for (int k = 0; k < 2; k++) {
        s.t[k] = select(met, s.t[k], z);
        s.n[k] = select3(met, s.n[k], zero3());
    }
}
DS_ENTRY void clip(const Solid& b, V3 c, V3 h, R near, Strip& s)
{
    if (b.planes) clip_to_planes(b, c, h, near, s);
    else clip_to_round(b, c, h, near + b.real[B_RADIUS], s);
}

}  // namespace ds
