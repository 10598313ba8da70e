// Rigid shapes: the signed distance of a point in the shape's own frame, its direction, and how both change with the point.
// The direction n is a unit vector; the gradient of the distance is n, too, but for SAMPLED, whose samples are interpolated.
#pragma once
#include "tensor.h"

namespace ds {

// ROUNDED is a box with rounded edges: a sphere (no half sizes), a capsule (one) and a box (three, no radius) in one.
enum { ROUNDED, CYLINDER, PLANE, SAMPLED };
// columns of a shape's integers: its kind, its joint (-1: the world), and its samples: the first one, how many along x, y, z
enum { SI_KIND, SI_JOINT, SI_FIRST, SI_N, SI_COLUMNS = SI_N + 3 };
// columns of a shape's reals: half sizes [m] (SAMPLED: the place of the first sample), radius of the rounding (SAMPLED: the
// spacing) [m], friction, softness [1/m], distance within which it acts [m], radius of a ball about the shape's origin
// that holds all of this [m], and the shape's pose in its joint's frame
enum { SR_SIZE, SR_RADIUS = 3, SR_FRICTION, SR_SOFTNESS, SR_REACH, SR_BALL, SR_PLACE, SR_COLUMNS = SR_PLACE + 12 };

struct Shapes {
    int count;
    const int* integers;
    const T* reals;
    const T* samples;
    const int* near;  // the shapes to look at, in order; all of them if this is null
};
DS_FN int shape_at(const Shapes& s, int k) { return s.near ? s.near[k] : k; }

// What becomes of a division by the length of nothing: zero.
constexpr T NOTHING = T(1e-24);
DS_FN R inverse_length(R squared) { return splat(T(1)) / sqrt_(max_(squared, splat(NOTHING))); }
DS_FN R sign_(R a) { return select(a < R{}, splat(T(-1)), splat(T(1))); }

struct Surface {
    R d;        // signed distance [m]
    V3 n;       // direction away from the shape
    V3 rising;  // gradient of d
};

// A box in the quadrant of positive coordinates: distance and direction from how far the point is beyond each face.
struct Corner {
    V3 beyond, m;
    R d, inverse;  // inverse: of the distance, outside; zero inside
};
DS_FN Corner corner(V3 q)
{
    Corner k;
    R zero = R{}, one = splat(T(1));
    k.beyond = {max_(q.x, zero), max_(q.y, zero), max_(q.z, zero)};
    R squared = dot(k.beyond, k.beyond), inverse = inverse_length(squared);
    Mask outside = squared > splat(NOTHING), x = (q.x >= q.y) & (q.x >= q.z), y = q.y >= q.z;
    V3 face = {select(x, one, zero), select(x, zero, select(y, one, zero)), select(x | y, zero, one)};
    k.m = {select(outside, k.beyond.x * inverse, face.x), select(outside, k.beyond.y * inverse, face.y),
           select(outside, k.beyond.z * inverse, face.z)};
    k.d = select(outside, squared * inverse, max_(q.x, max_(q.y, q.z)));
    k.inverse = select(outside, inverse, zero);
    return k;
}
// cotangents of d and m to that of q
DS_FN V3 corner_vjp(const Corner& k, V3 q, R gd, V3 gm)
{
    R zero = R{};
    // A round shape has no half size: on its plane of symmetry, where q is 0, the direction still turns with the point.
    V3 w = {select(q.x >= zero, gm.x, zero), select(q.y >= zero, gm.y, zero), select(q.z >= zero, gm.z, zero)};
    return k.m * gd + (w - k.m * dot(k.m, w)) * k.inverse;
}

// quadratic B-spline weights about the middle one of three samples, f from it, with first and second derivatives
DS_FN void spline(T f, T w[3][3])
{
    w[0][0] = T(0.5) * (T(0.5) - f) * (T(0.5) - f), w[0][1] = T(0.75) - f * f, w[0][2] = T(0.5) * (T(0.5) + f) * (T(0.5) + f);
    w[1][0] = f - T(0.5), w[1][1] = T(-2) * f, w[1][2] = f + T(0.5);
    w[2][0] = T(1), w[2][1] = T(-2), w[2][2] = T(1);
}

// Value, gradient (3) and second derivatives (xx yy zz xy xz yz) of the samples' spline; far away outside of them.
DS_FN void sampled_at(const int* integers, const T* reals, const T* samples, const T x[3], T out[10])
{
    // which derivative along each axis makes each output
    const int order[10][3] = {{0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {2, 0, 0}, {0, 2, 0}, {0, 0, 2}, {1, 1, 0}, {1, 0, 1}, {0, 1, 1}};
    const int* n = integers + SI_N;
    T w[3][3][3], per = T(1) / reals[SR_RADIUS];
    int first[3];
    for (int k = 0; k < 10; k++) out[k] = T(0);
    out[0] = T(DS_HUGE);
    for (int a = 0; a < 3; a++) {
        T u = (x[a] - reals[SR_SIZE + a]) * per;
        if (!(u >= T(0.5) && u < T(n[a]) - T(1.5))) return;
        int middle = int(u + T(0.5));
        first[a] = middle - 1;
        spline(u - T(middle), w[a]);
    }
    out[0] = T(0);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) {
                T c = samples[integers[SI_FIRST] + ((first[0] + i) * n[1] + first[1] + j) * n[2] + first[2] + k];
                for (int o = 0; o < 10; o++) out[o] += c * w[0][order[o][0]][i] * w[1][order[o][1]][j] * w[2][order[o][2]][k];
            }
    for (int o = 1; o < 4; o++) out[o] *= per;
    for (int o = 4; o < 10; o++) out[o] *= per * per;
}
struct Samples {
    R d;
    V3 g;
    R h[6];
};
DS_ENTRY void read_samples(const int* integers, const T* reals, const T* samples, const V3& x, Samples& s)
{
    for (int l = 0; l < DS_LANES; l++) {
        T at[3] = {get(x.x, l), get(x.y, l), get(x.z, l)}, out[10];
        sampled_at(integers, reals, samples, at, out);
        set(s.d, l, out[0]);
        set(s.g.x, l, out[1]);
        set(s.g.y, l, out[2]);
        set(s.g.z, l, out[3]);
        for (int k = 0; k < 6; k++) set(s.h[k], l, out[4 + k]);
    }
}

// the point in the quadrant of positive coordinates, with the axis of a cylinder at x = y = 0
struct Folded {
    V3 s, q;      // signs of the coordinates, and how far the point is beyond the faces
    V3 e;         // CYLINDER: unit vector away from the axis
    R per_radius; // CYLINDER: 1 / distance from the axis
};
DS_FN Folded fold(int kind, const T* size, V3 x)
{
    Folded f;
    f.s = {sign_(x.x), sign_(x.y), sign_(x.z)};
    f.q = {abs_(x.x) - size[0], abs_(x.y) - size[1], abs_(x.z) - size[2]};
    if (kind == CYLINDER) {
        R squared = x.x * x.x + x.y * x.y;
        f.per_radius = inverse_length(squared);
        f.e = {x.x * f.per_radius, x.y * f.per_radius, R{}};
        f.q.x = squared * f.per_radius - size[0];
        f.q.y = splat(T(-DS_HUGE));
    }
    return f;
}

DS_FN Surface surface(const Shapes& shapes, int shape, V3 x)
{
    const int* integers = shapes.integers + shape * SI_COLUMNS;
    const T* reals = shapes.reals + shape * SR_COLUMNS;
    int kind = integers[SI_KIND];
    R zero = R{}, one = splat(T(1));
    if (kind == PLANE) return {x.z, {zero, zero, one}, {zero, zero, one}};
    if (kind == SAMPLED) {
        Samples s;
        read_samples(integers, reals, shapes.samples, x, s);
        return {s.d, s.g * inverse_length(dot(s.g, s.g)), s.g};
    }
    Folded f = fold(kind, reals + SR_SIZE, x);
    Corner k = corner(f.q);
    V3 n = kind == CYLINDER ? V3{f.e.x * k.m.x, f.e.y * k.m.x, f.s.z * k.m.z} : V3{f.s.x * k.m.x, f.s.y * k.m.y, f.s.z * k.m.z};
    return {k.d - reals[SR_RADIUS], n, n};
}

// cotangents of d and n to that of x
DS_FN V3 surface_vjp(const Shapes& shapes, int shape, V3 x, R gd, V3 gn)
{
    const int* integers = shapes.integers + shape * SI_COLUMNS;
    const T* reals = shapes.reals + shape * SR_COLUMNS;
    int kind = integers[SI_KIND];
    if (kind == PLANE) return {R{}, R{}, gd};
    if (kind == SAMPLED) {
        Samples s;
        read_samples(integers, reals, shapes.samples, x, s);
        R inverse = inverse_length(dot(s.g, s.g));
        V3 n = s.g * inverse, g = (gn - n * dot(n, gn)) * inverse;
        V3 bent = {s.h[0] * g.x + s.h[3] * g.y + s.h[4] * g.z, s.h[3] * g.x + s.h[1] * g.y + s.h[5] * g.z,
                   s.h[4] * g.x + s.h[5] * g.y + s.h[2] * g.z};
        return s.g * gd + bent;
    }
    Folded f = fold(kind, reals + SR_SIZE, x);
    Corner k = corner(f.q);
    if (kind == CYLINDER) {
        R along = f.e.x * gn.x + f.e.y * gn.y;
        V3 g = corner_vjp(k, f.q, gd, {along, R{}, f.s.z * gn.z});
        R turn = k.m.x * f.per_radius;
        return {f.e.x * g.x + (gn.x - f.e.x * along) * turn, f.e.y * g.x + (gn.y - f.e.y * along) * turn, f.s.z * g.z};
    }
    V3 g = corner_vjp(k, f.q, gd, {f.s.x * gn.x, f.s.y * gn.y, f.s.z * gn.z});
    return {f.s.x * g.x, f.s.y * g.y, f.s.z * g.z};
}

// Shapes whose ball meets the box from low to high, listed in `room`: all that its nodes need to look at.
DS_FN Shapes shapes_near(Shapes all, const T* pose, const T* low, const T* high, int* room)
{
    int found = 0;
    for (int s = 0; s < all.count; s++) {
        T ball = all.reals[s * SR_COLUMNS + SR_BALL], squared = T(0);
        for (int a = 0; a < 3; a++) {
            T p = pose[12 * s + 9 + a], e = p < low[a] ? low[a] - p : p > high[a] ? p - high[a] : T(0);
            squared += e * e;
        }
        if (squared <= ball * ball) room[found++] = s;
    }
    all.count = found;
    all.near = room;
    return all;
}

}  // namespace ds
