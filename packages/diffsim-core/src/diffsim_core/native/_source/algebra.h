// Vectors, rotations, spatial vectors and inertias (Featherstone, Rigid Body Dynamics Algorithms, ch. 2), in
// world axes about a point fixed for the instant. A motion vector is (angular, linear velocity of that point);
// a force vector is (torque about that point, force).
#pragma once
#include "lanes.h"

namespace ds {

struct V3 {
    R x, y, z;
};
DS_FN V3 operator+(V3 a, V3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
DS_FN V3 operator-(V3 a, V3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
DS_FN V3 operator-(V3 a) { return {-a.x, -a.y, -a.z}; }
DS_FN V3 operator*(V3 a, R s) { return {a.x * s, a.y * s, a.z * s}; }
DS_FN R dot(V3 a, V3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
DS_FN V3 cross(V3 a, V3 b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }
DS_FN V3 zero3() { return {R{}, R{}, R{}}; }

// Rotation matrix by columns: the link's axes in the world.
struct M3 {
    V3 c[3];
};
DS_FN V3 operator*(const M3& E, V3 a) { return E.c[0] * a.x + E.c[1] * a.y + E.c[2] * a.z; }
template <class X>
DS_FN V3 rotate(const M3& E, const X* a)
{
    return E.c[0] * splat(a[0]) + E.c[1] * splat(a[1]) + E.c[2] * splat(a[2]);
}
DS_FN M3 operator*(const M3& A, const M3& B) { return {{A * B.c[0], A * B.c[1], A * B.c[2]}}; }
// E times a constant rotation stored by columns
template <class X>
DS_FN M3 rotate9(const M3& E, const X* m) { return {{rotate(E, m), rotate(E, m + 3), rotate(E, m + 6)}}; }
DS_FN M3 identity()
{
    R o = splat(T(1)), z = R{};
    return {{{o, z, z}, {z, o, z}, {z, z, o}}};
}

struct Quat {
    R w, x, y, z;
};
// scale invariant, so a quaternion need not be normalised and its ambient gradient is tangential
DS_FN M3 rotation(Quat q, R two_over_norm2)
{
    R x = q.x * two_over_norm2, y = q.y * two_over_norm2, z = q.z * two_over_norm2, one = splat(T(1));
    R wx = q.w * x, wy = q.w * y, wz = q.w * z;
    R xx = q.x * x, xy = q.x * y, xz = q.x * z, yy = q.y * y, yz = q.y * z, zz = q.z * z;
    return {{{one - yy - zz, xy + wz, xz - wy}, {xy - wz, one - xx - zz, yz + wx}, {xz + wy, yz - wx, one - xx - yy}}};
}
DS_FN R norm2(Quat q) { return q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z; }
// q (0, v) and conj(q) p's vector part
DS_FN Quat mul_pure(Quat q, V3 v)
{
    return {-(q.x * v.x + q.y * v.y + q.z * v.z), q.w * v.x + q.y * v.z - q.z * v.y, q.w * v.y + q.z * v.x - q.x * v.z,
            q.w * v.z + q.x * v.y - q.y * v.x};
}
DS_FN V3 conj_mul_vec(Quat q, Quat p)
{
    return {q.w * p.x - q.x * p.w - q.y * p.z + q.z * p.y, q.w * p.y - q.y * p.w - q.z * p.x + q.x * p.z,
            q.w * p.z - q.z * p.w - q.x * p.y + q.y * p.x};
}

DS_FN Quat conj(Quat a) { return {a.w, -a.x, -a.y, -a.z}; }
DS_FN Quat operator*(Quat a, Quat b)
{
    V3 v = {b.x, b.y, b.z}, u = {a.x, a.y, a.z}, c = v * a.w + u * b.w + cross(u, v);
    return {a.w * b.w - dot(u, v), c.x, c.y, c.z};
}
DS_FN Quat unit(Quat q)
{
    R scale = splat(T(1)) / sqrt_(norm2(q));
    return {q.w * scale, q.x * scale, q.y * scale, q.z * scale};
}
// E turned by an angle about a unit axis of its own
template <class X>
DS_FN M3 turned(const M3& E, const X* axis, R angle)
{
    R s, c;
    sincos_(angle, s, c);
    R o = splat(T(1)) - c;
    X x = axis[0], y = axis[1], z = axis[2];
    R sx = s * x, sy = s * y, sz = s * z, xy = o * (x * y), xz = o * (x * z), yz = o * (y * z);
    M3 Q = {{{o * (x * x) + c, xy + sz, xz - sy}, {xy - sz, o * (y * y) + c, yz + sx}, {xz + sy, yz - sx, o * (z * z) + c}}};
    return E * Q;
}
template <class X>
DS_FN Quat turned(Quat q, const X* axis, R angle)
{
    R sine, cosine;
    sincos_(angle * T(0.5), sine, cosine);
    return q * Quat{cosine, sine * axis[0], sine * axis[1], sine * axis[2]};
}

struct SV {
    V3 w, v;
};
DS_FN SV operator+(SV a, SV b) { return {a.w + b.w, a.v + b.v}; }
DS_FN SV operator-(SV a, SV b) { return {a.w - b.w, a.v - b.v}; }
DS_FN SV operator*(SV a, R s) { return {a.w * s, a.v * s}; }
DS_FN R dot(SV a, SV b) { return dot(a.w, b.w) + dot(a.v, b.v); }
DS_FN SV zero6() { return {zero3(), zero3()}; }
// motion x motion, and its dual motion x* force: (a x b).f = -b.(a x* f)
DS_FN SV cross_motion(SV a, SV b) { return {cross(a.w, b.w), cross(a.w, b.v) + cross(a.v, b.w)}; }
DS_FN SV cross_force(SV a, SV f) { return {cross(a.w, f.w) + cross(a.v, f.v), cross(a.w, f.v)}; }

// Inertia about the reference point: mass, first moment h = m c, second moment (xx yy zz xy xz yz).
struct Inertia {
    R m;
    V3 h;
    R i[6];
};
DS_FN Inertia operator+(const Inertia& a, const Inertia& b)
{
    Inertia r;
    r.m = a.m + b.m;
    r.h = a.h + b.h;
    for (int k = 0; k < 6; k++) r.i[k] = a.i[k] + b.i[k];
    return r;
}
DS_FN SV operator*(const Inertia& I, SV a)
{
    V3 w = a.w;
    V3 t = {I.i[0] * w.x + I.i[3] * w.y + I.i[4] * w.z, I.i[3] * w.x + I.i[1] * w.y + I.i[5] * w.z,
            I.i[4] * w.x + I.i[5] * w.y + I.i[2] * w.z};
    return {t + cross(I.h, a.v), a.v * I.m - cross(I.h, w)};
}

}  // namespace ds
