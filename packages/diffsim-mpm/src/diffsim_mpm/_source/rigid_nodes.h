// Grid nodes and a free rigid body: a collision in which both give way. With the velocity u and mass m of a node, the body's
// twist V and its velocity J V there, the node gets
//
//     u' = u - D (u - J V'),   D = s (a n n^T + b (I - n n^T)),
//
// with the shape's influence s, a = 1 where the two approach, and the part b of sliding that friction takes away. The body gets
// what the nodes lose, so its own new twist V' is in it: M (V' - V) = sum m J^T D (u - J V'), six linear equations. They hold
// momentum to rounding, and neither side can overshoot, however light the body. D is found in two steps: first without
// friction at the twist that the body has alone, then at the twist that this leads to.
#pragma once
#include "rigid.h"

namespace ds {

// A body at a node: way from its centre of mass, the shape that is closest, and how strong it is there (0 where it is not).
struct Press {
    V3 arm, n;
    R d, s, friction, shape;
    Mask sticky;
};
// False where no node of the lane is within reach.
DS_ENTRY bool press(const Rigid& g, int j, V3 x, R mass, Press& p)
{
    const int* row = g.integers + j * GI_COLUMNS;
    R ball = splat(g.reals[j * GR_COLUMNS + GR_BALL]);
    p.arm = x - all3(g.now[j].c);
    Mask occupied = mass > R{};
    if (!any(occupied & (dot(p.arm, p.arm) <= ball * ball))) return false;
    M3 E = all33(g.work[j].E);
    V3 at = mul_t(E, p.arm);
    p.n = zero3();
    p.s = p.friction = R{};
    p.d = splat(T(DS_HUGE));
    p.shape = splat(T(-1));
    bool found = false;
    for (int k = row[GI_SHAPE]; k < row[GI_SHAPE] + row[GI_SHAPES]; k++) {
        const T *reals = g.shapes.reals + k * SR_COLUMNS, *place = reals + SR_PLACE;
        Surface f = surface(g.shapes, k, to_shape(place, from_origin(place, at)));
        Mask closest = occupied & ((f.d <= R{}) | (f.d < splat(reals[SR_REACH]))) & (f.d < p.d);
        if (!any(closest)) continue;
        found = true;
        V3 n = mul(E, to_world(place, f.n));
        p.n = {select(closest, n.x, p.n.x), select(closest, n.y, p.n.y), select(closest, n.z, p.n.z)};
        p.d = select(closest, f.d, p.d);
        p.s = select(closest, exp_(min_(f.d * -reals[SR_SOFTNESS], R{})), p.s);
        p.friction = select(closest, splat(reals[SR_FRICTION]), p.friction);
        p.shape = select(closest, splat(T(k)), p.shape);
    }
    p.sticky = p.friction >= splat(STICKY);
    return found;
}
// From the cotangents of n and s, adds those of the body's place and turn: [6] sums.
DS_ENTRY void press_vjp(const Rigid& g, int j, const Press& p, V3 gn, R gs, R* sums)
{
    const int* row = g.integers + j * GI_COLUMNS;
    M3 E = all33(g.work[j].E);
    V3 at = mul_t(E, p.arm), by_arm = zero3();
    for (int k = row[GI_SHAPE]; k < row[GI_SHAPE] + row[GI_SHAPES]; k++) {
        const T *reals = g.shapes.reals + k * SR_COLUMNS, *place = reals + SR_PLACE;
        Mask here = (p.shape > splat(T(k) - T(0.5))) & (p.shape < splat(T(k) + T(0.5)));
        if (!any(here)) continue;
        R gd = select(here & (p.d > R{}), gs * p.s * -reals[SR_SOFTNESS], R{});
        V3 direction = to_shape(place, mul_t(E, chosen(here, gn)));
        V3 local = surface_vjp(g.shapes, k, to_shape(place, from_origin(place, at)), gd, direction);
        by_arm = by_arm + chosen(here, mul(E, to_world(place, local)));
    }
    V3 turn = cross(p.n, gn) - cross(p.arm, by_arm);
    sums[0] -= by_arm.x, sums[1] -= by_arm.y, sums[2] -= by_arm.z;
    sums[3] += turn.x, sums[4] += turn.y, sums[5] += turn.z;
}

// What a body takes away of a velocity relative to it: shares a along n and b across.
struct Hold {
    R along, across;
};
DS_FN V3 held(const Press& p, const Hold& h, V3 a) { return (p.n * (dot(p.n, a) * (h.along - h.across)) + a * h.across) * p.s; }
DS_FN Hold without_friction(const Press& p, V3 rel)
{
    R zero = R{}, one = splat(T(1));
    return {select(p.sticky | (dot(rel, p.n) < zero), one, zero), select(p.sticky, one, zero)};
}
struct Friction {
    Hold hold;
    Mask slides;
    R vn, speed;
    V3 t;
};
DS_FN Friction with_friction(const Press& p, V3 rel)
{
    Friction f;
    R zero = R{}, one = splat(T(1));
    f.vn = dot(rel, p.n);
    f.t = rel - p.n * f.vn;
    f.speed = sqrt_(dot(f.t, f.t) + splat(NOTHING));
    R share = -(f.vn * p.friction) / f.speed;
    Mask approaching = f.vn < zero;
    f.slides = approaching & (share < one) & (p.friction < splat(STICKY));
    f.hold.along = select(p.sticky | approaching, one, zero);
    f.hold.across = select(p.sticky, one, select(approaching, min_(share, one), zero));
    return f;
}
// Cotangent of `rel` from that of the share across, and adds to gn.
DS_FN V3 with_friction_vjp(const Press& p, const Friction& f, V3 rel, R gacross, V3& gn)
{
    R inverse = splat(T(1)) / f.speed, gshare = select(f.slides, gacross * p.friction * inverse, R{});
    V3 gt = f.t * (gshare * f.vn * inverse * inverse);
    gn = gn - rel * gshare - gt * f.vn;
    return gt - p.n * gshare;
}

// What a body leaves of a node's velocity.
DS_FN void give_way(const Rigid& g, int j, V3 x, R mass, V3& v)
{
    Press p;
    if (!press(g, j, x, mass, p)) return;
    Friction f = with_friction(p, v - carried(g.work[j].first, p.arm));
    v = v - held(p, f.hold, v - carried(g.work[j].last, p.arm));
}
// what the first `count` bodies leave of it
DS_FN void give_way_all(const Rigid& g, int count, V3 x, R mass, V3& v)
{
    for (int j = 0; j < count; j++) give_way(g, j, x, mass, v);
}

// J^T f
DS_FN void add_wrench(V3 arm, V3 f, R* sums)
{
    V3 m = cross(arm, f);
    sums[0] += f.x, sums[1] += f.y, sums[2] += f.z, sums[3] += m.x, sums[4] += m.y, sums[5] += m.z;
}
// Adds to SUMS sums of the equations for V', in step 0 or 1; v is the node's velocity before it meets this body.
DS_FN void add_equations(const Rigid& g, int j, int step, V3 x, R mass, V3 v, R* sums)
{
    Press p;
    if (!press(g, j, x, mass, p)) return;
    const RigidWork& w = g.work[j];
    V3 rel = v - carried(w.alone, p.arm), a = p.arm;
    Hold h = step == 0 ? without_friction(p, rel) : with_friction(p, v - carried(w.first, p.arm)).hold;
    R weight = mass * p.s, b = weight * h.across, c = weight * (h.along - h.across);
    V3 nn = p.n, an = cross(a, p.n);
    R row[6] = {nn.x, nn.y, nn.z, an.x, an.y, an.z}, zero = R{};
    // b J^T J: I, -[a], and |a|^2 I - a a^T
    R square = dot(a, a);
    R even[TRIANGLE] = {b, zero, b, zero, zero, b,
                        zero, -(b * a.z), b * a.y, b * (square - a.x * a.x),
                        b * a.z, zero, -(b * a.x), -(b * a.x * a.y), b * (square - a.y * a.y),
                        -(b * a.y), b * a.x, zero, -(b * a.x * a.z), -(b * a.y * a.z), b * (square - a.z * a.z)};
    for (int i = 0, k = 0; i < 6; i++)
        for (int l = 0; l <= i; l++, k++) sums[k] += even[k] + c * (row[i] * row[l]);
    add_wrench(a, held(p, h, rel) * mass, sums + TRIANGLE);
}

// The way back, in three visits of the nodes: with the cotangent gv of the velocity that body j leaves,
// (0) adds J^T D gv, which is what the nodes make of V';
DS_FN void add_last_vjp(const Rigid& g, int j, V3 x, R mass, V3 v, V3 gv, R* sums)
{
    Press p;
    if (!press(g, j, x, mass, p)) return;
    add_wrench(p.arm, held(p, with_friction(p, v - carried(g.work[j].first, p.arm)).hold, gv), sums);
}
// All that both steps make of D. With y = J lambda, lambda from the equations of a step, r = u - J V of its outcome V, and
// z = m y - gv (gv only in the second step): their loss is z . D r.
struct Pulled {
    V3 z, r, y, Dz, Dr;
    R zn, rn;
};
DS_FN Pulled pulled(const Press& p, const Hold& h, const T* lambda, const T* outcome, R mass, V3 v, V3 gv)
{
    Pulled a;
    a.y = carried(lambda, p.arm);
    a.z = a.y * mass - gv;
    a.r = v - carried(outcome, p.arm);
    a.Dz = held(p, h, a.z);
    a.Dr = held(p, h, a.r);
    a.zn = dot(a.z, p.n);
    a.rn = dot(a.r, p.n);
    return a;
}
DS_FN V3 second_vjp(const Press& p, const Friction& f, const Pulled& a, V3 rel, V3& gn)
{
    return with_friction_vjp(p, f, rel, p.s * (dot(a.z, a.r) - a.zn * a.rn), gn);
}
// (1) adds what the nodes make of the first step's V, by which D of the second was found;
DS_FN void add_first_vjp(const Rigid& g, int j, V3 x, R mass, V3 v, V3 gv, R* sums)
{
    Press p;
    if (!press(g, j, x, mass, p)) return;
    const RigidWork& w = g.work[j];
    V3 rel = v - carried(w.first, p.arm), gn = zero3();
    Friction f = with_friction(p, rel);
    Pulled a = pulled(p, f.hold, w.lambda[1], w.last, mass, v, gv);
    add_wrench(p.arm, -second_vjp(p, f, a, rel, gn), sums);
}
// (2) turns gv into the cotangent of the velocity before, adds to gmass, and adds the cotangents of place and turn.
DS_FN void give_way_vjp(const Rigid& g, int j, V3 x, R mass, V3 v, V3& gv, R& gmass, R* sums)
{
    Press p;
    if (!press(g, j, x, mass, p)) return;
    const RigidWork& w = g.work[j];
    V3 rel = v - carried(w.first, p.arm), gn = zero3();
    Friction f = with_friction(p, rel);
    Hold h = without_friction(p, v - carried(w.alone, p.arm));
    Pulled a = pulled(p, f.hold, w.lambda[1], w.last, mass, v, gv), b = pulled(p, h, w.lambda[0], w.first, mass, v, zero3());
    V3 grel = second_vjp(p, f, a, rel, gn);
    R ca = f.hold.along - f.hold.across, cb = h.along - h.across;
    R gs = ca * a.zn * a.rn + f.hold.across * dot(a.z, a.r) + cb * b.zn * b.rn + h.across * dot(b.z, b.r);
    gn = gn + (a.z * a.rn + a.r * a.zn) * (ca * p.s) + (b.z * b.rn + b.r * b.zn) * (cb * p.s);
    gv = gv + a.Dz + b.Dz + grel;
    gmass = gmass + dot(a.y, a.Dr) + dot(b.y, b.Dr);
    // J = [I, -[arm]] in each of its places
    V3 by_arm = cross(a.Dr * mass, all3(w.lambda[1] + 3)) - cross(a.Dz, all3(w.last + 3)) - cross(grel + b.Dz, all3(w.first + 3)) +
                cross(b.Dr * mass, all3(w.lambda[0] + 3));
    sums[0] -= by_arm.x, sums[1] -= by_arm.y, sums[2] -= by_arm.z;
    press_vjp(g, j, p, gn, gs, sums);
}

}  // namespace ds
