// A piece of a path that may wrap around a sphere or a cylinder (DS_WRAPS): the shortest way from one end to the other that
// does not pass through the shape, or, with a side site inside it, through the shape's opening. Its length L depends on the ends
// d0, d1 from the shape's centre, which an arc of radius r joins in the plane across the cylinder's axis (or in that of ends
// and centre): with the distances l0, l1 and the angle between them,
//     L = h(l0) + h(l1) + r angle,    h(l) = sqrt(l^2 - r^2) - r acos(r / l).
// Along a cylinder the path is straight on the unrolled surface. As the path is the shortest, its ends pull along its ends.
#pragma once
#include "touch.h"

namespace ds {

#if DS_WRAPS
struct Shape {
    int kind;     // WRAP_SPHERE or WRAP_CYLINDER
    T radius;
    bool sided;
    V3 axis, side;  // unit axis of a cylinder, and the side site from the centre
};

// length, its gradient by both ends, and how the gradient changes as the ends move with z0, z1
struct Bend {
    R length;
    V3 g0, g1, h0, h1;
};

// length in the plane over distances and angle, its derivatives, and how these change as distances and angle do
struct Planar {
    R length, by0, by1, by_angle, d0, d1, d_angle;
};
DS_FN R tiny_or(R x) { return max_(x, splat(T(1e-24))); }
DS_FN Mask none_of(Mask m) { return m ^ (R{} == R{}); }
DS_FN V3 select(Mask m, V3 a, V3 b) { return {select(m, a.x, b.x), select(m, a.y, b.y), select(m, a.z, b.z)}; }

DS_FN Planar around(R l0, R l1, R angle, T r, R to_l0, R to_l1)
{
    R s0 = sqrt_(tiny_or(l0 * l0 - T(r * r))), s1 = sqrt_(tiny_or(l1 * l1 - T(r * r))), z = R{};
    R free = atan2_(s0, splat(r)) + atan2_(s1, splat(r));
    return {s0 + s1 + (angle - free) * r, s0 / l0, s1 / l1, splat(r), to_l0 * T(r * r) / (l0 * l0 * s0),
            to_l1 * T(r * r) / (l1 * l1 * s1), z};
}

// distance from an end to the point of the circle at an angle from it, and its derivatives
struct Chord {
    R length, by_l, by_angle, by_ll, by_la, by_aa;
};
DS_FN Chord chord(R l, R angle, T r)
{
    R s, c;
    sincos_(angle, s, c);
    R d = sqrt_(tiny_or((l - r) * (l - r) + (splat(T(1)) - c) * (T(2) * r) * l)), inverse = splat(T(1)) / d;
    R by_l = (l - c * r) * inverse, by_a = l * s * r * inverse;
    return {d, by_l, by_a, (splat(T(1)) - by_l * by_l) * inverse, (s * r - by_l * by_a) * inverse,
            (l * c * r - by_a * by_a) * inverse};
}
// through the opening: over the point of the circle where the way is shortest, found by Newton's method within brackets
DS_FN Planar through(R l0, R l1, R angle, T r, R to_l0, R to_l1, R to_angle)
{
    R low = R{}, high = angle, x = angle * l1 / (l0 + l1);
    for (int i = 0; i < 24; i++) {
        Chord a = chord(l0, x, r), b = chord(l1, angle - x, r);
        R slope = a.by_angle - b.by_angle, curve = a.by_aa + b.by_aa;
        low = select(slope < R{}, x, low), high = select(slope < R{}, high, x);
        R next = x - slope / curve;
        x = select((next >= low) & (next <= high), next, (low + high) * T(0.5));
    }
    Chord a = chord(l0, x, r), b = chord(l1, angle - x, r);
    R moved = (b.by_aa * to_angle + b.by_la * to_l1 - a.by_la * to_l0) / (a.by_aa + b.by_aa), back = to_angle - moved;
    return {a.length + b.length, a.by_l, b.by_l, b.by_angle, a.by_ll * to_l0 + a.by_la * moved,
            b.by_ll * to_l1 + b.by_la * back, b.by_la * to_l1 + b.by_aa * back};
}

// which way a path goes: straight, or else around the far side, or through the opening
struct Way {
    Mask bent, far, inner;
};
DS_FN Way way(const Shape& w, V3 p0, V3 p1, V3 t0, V3 t1, R l0, R l1)
{
    R z = R{}, one = splat(T(1)), r = splat(w.radius);
    V3 d = p1 - p0;
    R square = dot(d, d), at = -dot(d, p0) / tiny_or(square);
    V3 near = p0 + d * min_(max_(at, z), one);
    Mask outside = (l0 >= r) & (l1 >= r) & (square > splat(T(1e-15)));
    Mask hit = dot(near, near) <= r * r;
    if (!w.sided) return {outside & hit, z > one, z > one};
    // the straight line passes opposite to the side site, seen from the centre
    Mask far = (dot(w.side, t0) <= z) & (dot(w.side, t1) <= z);
    Mask inner = dot(w.side, w.side) < r * r, passes = none_of(hit & (at > z) & (at < one));
    return {outside & ((inner & passes) | (none_of(inner) & (hit | far))), far, inner};
}

template <bool TURN>
DS_FN Bend bend(const Shape& w, V3 d0, V3 d1, V3 z0, V3 z1)
{
    R z = R{}, one = splat(T(1));
    bool cylinder = w.kind == WRAP_CYLINDER;
    V3 p0 = d0, p1 = d1, y0 = z0, y1 = z1;
    R height = z, to_height = z;
    if (cylinder) {
        R a0 = dot(w.axis, d0), a1 = dot(w.axis, d1);
        p0 = d0 - w.axis * a0, p1 = d1 - w.axis * a1, height = a1 - a0;
        if (TURN) {
            R b0 = dot(w.axis, z0), b1 = dot(w.axis, z1);
            y0 = z0 - w.axis * b0, y1 = z1 - w.axis * b1, to_height = b1 - b0;
        }
    }
    R l0 = sqrt_(tiny_or(dot(p0, p0))), l1 = sqrt_(tiny_or(dot(p1, p1)));
    V3 e0 = p0 * (one / l0), e1 = p1 * (one / l1), c = cross(p0, p1), n;
    R sine;
    if (cylinder) {
        R turn = dot(w.axis, c);
        n = w.axis * select(turn < z, -one, one), sine = abs_(turn);
    } else {
        sine = sqrt_(tiny_or(dot(c, c))), n = c * (one / sine);
    }
    V3 t0 = cross(n, e0), t1 = cross(e1, n);  // across the ends' directions, towards each other
    R angle = atan2_(sine, dot(p0, p1));
    Way go = way(w, p0, p1, t0, t1, l0, l1);

    R sign = select(go.far, -one, one);
    R to_l0 = z, to_l1 = z, to_angle = z;
    if (TURN) to_l0 = dot(e0, y0), to_l1 = dot(e1, y1), to_angle = -(dot(t0, y0) / l0 + dot(t1, y1) / l1);
    Planar q = around(l0, l1, select(go.far, splat(T(6.283185307179586)) - angle, angle), w.radius, to_l0, to_l1);
    q.by_angle = q.by_angle * sign;
    if (any(go.inner & go.bent)) {
        Planar i = through(l0, l1, angle, w.radius, to_l0, to_l1, to_angle);
        q = {select(go.inner, i.length, q.length), select(go.inner, i.by0, q.by0), select(go.inner, i.by1, q.by1),
             select(go.inner, i.by_angle, q.by_angle), select(go.inner, i.d0, q.d0), select(go.inner, i.d1, q.d1),
             select(go.inner, i.d_angle, q.d_angle)};
    }
    R k0 = q.by_angle / l0, k1 = q.by_angle / l1;
    Bend b = {q.length, e0 * q.by0 - t0 * k0, e1 * q.by1 - t1 * k1, zero3(), zero3()};
    if (TURN) {
        V3 de0 = (y0 - e0 * to_l0) * (one / l0), de1 = (y1 - e1 * to_l1) * (one / l1), dn = zero3();
        if (!cylinder) {
            V3 dc = cross(y0, p1) + cross(p0, y1);
            dn = (dc - n * dot(n, dc)) * (one / sine);
        }
        V3 dt0 = cross(dn, e0) + cross(n, de0), dt1 = cross(de1, n) + cross(e1, dn);
        R dk0 = (q.d_angle - k0 * to_l0) / l0, dk1 = (q.d_angle - k1 * to_l1) / l1;
        b.h0 = e0 * q.d0 + de0 * q.by0 - t0 * dk0 - dt0 * k0;
        b.h1 = e1 * q.d1 + de1 * q.by1 - t1 * dk1 - dt1 * k1;
    }
    if (cylinder) {
        R total = sqrt_(tiny_or(b.length * b.length + height * height)), u = b.length / total, v = height / total;
        if (TURN) {
            R to_length = dot(b.g0, y0) + dot(b.g1, y1), to_total = u * to_length + v * to_height;
            R du = (to_length - u * to_total) / total, dv = (to_height - v * to_total) / total;
            b.h0 = b.h0 * u + b.g0 * du - w.axis * dv;
            b.h1 = b.h1 * u + b.g1 * du + w.axis * dv;
        }
        b.g0 = b.g0 * u - w.axis * v, b.g1 = b.g1 * u + w.axis * v, b.length = total;
    }
    V3 d = d1 - d0;
    R straight = sqrt_(dot(d, d) + T(1e-24));
    V3 m = d * (one / straight), h = zero3();
    if (TURN) h = (z1 - z0 - m * dot(m, z1 - z0)) * (one / straight);
    b.length = select(go.bent, b.length, straight);
    b.g0 = select(go.bent, b.g0, -m), b.g1 = select(go.bent, b.g1, m);
    b.h0 = select(go.bent, b.h0, -h), b.h1 = select(go.bent, b.h1, h);
    return b;
}
#endif

}  // namespace ds
