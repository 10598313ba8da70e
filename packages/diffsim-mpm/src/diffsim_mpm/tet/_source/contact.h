// Contact of nodes with the ground and with moving capsules: a spring and a damper along the normal, and friction that is
// viscous up to Coulomb's limit.
#pragma once
#include "model.h"

namespace ds {

constexpr T TINY = T(1e-30);  // keeps square roots away from zero

// The force on a node whose gap is c < 0, and what its adjoint needs. n: normal; u: velocity relative to the surface.
struct Touch {
    R un, fn, drag, speed2;
    V3 ut, force;
    Mask slips;
};
DS_FN Touch touch(const T* k, R c, V3 n, V3 u)
{
    Touch t;
    t.un = dot(n, u);
    t.fn = -(c * k[C_KE] + min_(t.un, R{}) * k[C_KD]);
    t.ut = u - n * t.un;
    t.speed2 = dot(t.ut, t.ut) + splat(TINY);
    R coulomb = t.fn * k[C_MU] / sqrt_(t.speed2), viscous = splat(k[C_KF]);
    t.slips = coulomb < viscous;
    t.drag = select(t.slips, coulomb, viscous);
    t.force = n * t.fn - t.ut * t.drag;
    return t;
}
struct Pull {
    R c;
    V3 n, u;
};
DS_FN Pull touch_vjp(const T* k, const Touch& t, V3 n, V3 u, V3 g)
{
    Pull p;
    R zero = R{}, gdrag = -dot(t.ut, g);
    R gfn = dot(n, g) + select(t.slips, gdrag * k[C_MU] / sqrt_(t.speed2), zero);
    V3 gut = g * -t.drag - t.ut * select(t.slips, gdrag * t.drag / t.speed2, zero);
    R gun = -dot(n, gut) - select(t.un < zero, gfn * k[C_KD], zero);
    p.c = gfn * -k[C_KE];
    p.n = g * t.fn - gut * t.un + u * gun;
    p.u = gut + n * gun;
    return p;
}

DS_FN V3 only(Mask m, V3 a)
{
    R zero = R{};
    return {select(m, a.x, zero), select(m, a.y, zero), select(m, a.z, zero)};
}
DS_FN V3 up() { return {R{}, R{}, splat(T(1))}; }
DS_FN R above_ground(const Model& m, V3 x) { return x.z - splat(m.c[C_HEIGHT] + m.c[C_RADIUS]); }

// Capsules of a world: ends and their velocities, each [capsules][2][3], after a time of a control step.
struct Capsules {
    Field ends, ends_v;
    T time;
};
// where a node at x, of velocity v, is over a capsule
struct Over {
    V3 e, d, n, u, ve;
    R s, ee, distance, gap;
    Mask between;
};
DS_FN Over over(const Model& m, const Capsules& k, int i, V3 x, V3 v)
{
    Over o;
    R zero = R{}, one = splat(T(1));
    V3 va = get3(k.ends_v, 2 * i), vb = get3(k.ends_v, 2 * i + 1);
    V3 a = get3(k.ends, 2 * i) + va * splat(k.time), b = get3(k.ends, 2 * i + 1) + vb * splat(k.time);
    o.e = b - a;
    o.ve = vb - va;
    o.ee = dot(o.e, o.e) + splat(TINY);
    R s = dot(x - a, o.e) / o.ee;
    o.between = (s > zero) & (s < one);
    o.s = min_(max_(s, zero), one);
    o.d = x - a - o.e * o.s;
    o.distance = sqrt_(dot(o.d, o.d) + splat(TINY));
    o.n = o.d * (one / o.distance);
    o.u = v - va - o.ve * o.s;
    o.gap = o.distance - splat(m.thick[i]);
    return o;
}

// Force of the ground and of the capsules on a node.
DS_FN V3 contact(const Model& m, const Capsules& k, V3 x, V3 v)
{
    V3 f = zero3();
    if (m.ground) {
        R c = above_ground(m, x);
        Mask in = c < R{};
        if (any(in)) f = only(in, touch(m.c, c, up(), v).force);
    }
    for (int i = 0; i < m.capsules; i++) {
        Over o = over(m, k, i, x, v);
        Mask in = o.gap < R{};
        if (any(in)) f = f + only(in, touch(m.c, o.gap, o.n, o.u).force);
    }
    return f;
}

// Adds to the cotangents of x and v, and of the capsules, given that of the force.
DS_FN void contact_vjp(const Model& m, const Capsules& k, V3 x, V3 v, V3 g, V3& gx, V3& gv, const Field& gends, const Field& gends_v)
{
    R zero = R{}, one = splat(T(1));
    if (m.ground) {
        R c = above_ground(m, x);
        Mask in = c < zero;
        if (any(in)) {
            Pull p = touch_vjp(m.c, touch(m.c, c, up(), v), up(), v, g);
            gx.z = gx.z + select(in, p.c, zero);
            gv = gv + only(in, p.u);
        }
    }
    for (int i = 0; i < m.capsules; i++) {
        Over o = over(m, k, i, x, v);
        Mask in = o.gap < zero;
        if (!any(in)) continue;
        Pull p = touch_vjp(m.c, touch(m.c, o.gap, o.n, o.u), o.n, o.u, g);
        V3 gd = only(in, o.n * p.c + (p.n - o.n * dot(o.n, p.n)) * (one / o.distance)), gu = only(in, p.u);
        R gs = select(in & o.between, -dot(o.ve, p.u) - dot(o.e, gd), zero) / o.ee;
        V3 ge = gd * -o.s + (o.d - o.e * o.s) * gs;
        V3 along = o.e * gs;
        gx = gx + gd + along;
        gv = gv + gu;
        // x - a and e = b - a hold the ends
        V3 ga = -(gd + along) - ge, gva = gu * (o.s - one), gvb = gu * -o.s;
        R t = splat(k.time);
        add3(gends, 2 * i, ga);
        add3(gends, 2 * i + 1, ge);
        add3(gends_v, 2 * i, ga * t + gva);
        add3(gends_v, 2 * i + 1, ge * t + gvb);
    }
}

}  // namespace ds
