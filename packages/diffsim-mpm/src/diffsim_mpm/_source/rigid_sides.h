// Points of a free rigid body on the sides of the grid: penalty forces as in the SHAC paper's released code (Xu et al. 2022).
// A point, which has a radius, at signed distance d < 0 and normal velocity u feels f = d (kd min(u, 0) - kn) along the normal
// and friction of at most mu kn |d|, which sticks with kt.
#pragma once
#include "rigid.h"

namespace ds {

// What holds on to all that touches it has a coefficient without bound; products with this one stay numbers in float32.
constexpr T MOST_FRICTION = T(1e6);

struct Contact {
    V3 n, u, ut;
    R d, un, fn, share, bound, slip, friction;
    Mask approaching, slides;
};
// `gains`: a body's columns; n: away from what it touches; u: relative to that
DS_FN Contact contact(const T* gains, T friction, V3 n, R d, V3 u)
{
    Contact c;
    R zero = R{};
    c.n = n;
    c.d = d;
    c.u = u;
    c.un = dot(u, n);
    c.ut = u - n * c.un;
    c.approaching = c.un < zero;
    c.fn = d * (min_(c.un, zero) * gains[GR_DAMPING] - splat(gains[GR_STIFFNESS]));
    c.slip = sqrt_(dot(c.ut, c.ut) + splat(T(1e-12)));
    c.friction = splat(friction);
    c.bound = d * (-friction * gains[GR_STIFFNESS]);
    c.share = min_(splat(friction > 0 ? gains[GR_GRIP] : T(0)), c.bound / c.slip);
    c.slides = c.bound < c.slip * gains[GR_GRIP];
    return c;
}
DS_FN V3 contact_force(const Contact& c) { return c.n * c.fn - c.ut * c.share; }
// Cotangents of n, u and d where x . force is wanted.
struct ContactBar {
    V3 n, u;
    R d;
};
DS_FN ContactBar contact_vjp(const T* gains, const Contact& c, V3 x)
{
    R zero = R{}, along = dot(x, c.n), per = splat(T(1)) / c.slip;
    R slides = select(c.slides, dot(x, c.ut) * per, zero), by_slip = slides * c.bound * per * per;
    R gun = select(c.approaching, along * c.d * gains[GR_DAMPING], zero);
    return {x * c.fn + c.u * gun + (x * c.un + c.u * along) * c.share - c.ut * (c.un * by_slip),
            c.n * (gun + along * c.share) - x * c.share + c.ut * by_slip,
            along * (min_(c.un, zero) * gains[GR_DAMPING] - splat(gains[GR_STIFFNESS])) + slides * c.friction * gains[GR_STIFFNESS]};
}

struct Side {
    int axis;
    T sign, at, friction;  // the normal is sign times the axis; the plane is at x[axis] = at
};
// The ground first. Particles come to rest a quarter of a cell beyond the innermost nodes that let nothing pass.
DS_FN Side side(const Model& m, int k)
{
    int axis = (k / 2 + 2) % 3, far = k % 2;
    T wall = T(m.head[I_WALL]) - T(0.25), cells = T(m.head[I_CELLS + axis]);
    T friction = k > 0 ? T(0) : m.friction < MOST_FRICTION ? m.friction : MOST_FRICTION;
    return {axis, far ? T(-1) : T(1), (far ? cells - wall : wall) * m.dx, friction};
}
struct SideTouch {
    Contact c;
    V3 centre, arm;  // from the centre of mass: of the point's middle, and of where it touches
    Mask inside;
};
DS_FN bool touch_side(const Rigid& g, int j, int block, const Side& s, SideTouch& t)
{
    const RigidState& b = g.now[j];
    R row[4];
    from_nodes(g.points + 4 * block * DS_LANES, row);
    t.centre = mul(all33(g.work[j].E), V3{row[0], row[1], row[2]});
    V3 n = V3{splat(T(s.axis == 0)), splat(T(s.axis == 1)), splat(T(s.axis == 2))} * splat(s.sign);
    R d = dot(n, t.centre) + splat(s.sign * (b.c[s.axis] - s.at)) - row[3];
    t.inside = d < R{};
    if (!any(t.inside)) return false;
    t.arm = t.centre - n * row[3];
    t.c = contact(g.reals + j * GR_COLUMNS, s.friction, n, d, all3(b.v) + cross(all3(b.w), t.arm));
    return true;
}
// Adds force and torque about the centre of mass of a body on all sides.
DS_ENTRY void sides_force(const Model& m, const Rigid& g, int j, T* load)
{
    const int* row = g.integers + j * GI_COLUMNS;
    SideTouch t;
    for (int k = 0; k < 6; k++) {
        Side s = side(m, k);
        for (int b = row[GI_POINT]; b < row[GI_POINT] + row[GI_POINTS]; b++) {
            if (!touch_side(g, j, b, s, t)) continue;
            V3 f = chosen(t.inside, contact_force(t.c));
            plus3(sum_of(f), load);
            plus3(sum_of(cross(t.arm, f)), load + 3);
        }
    }
}
// From the cotangents of that force and torque.
DS_ENTRY void sides_force_vjp(const Model& m, const Rigid& g, int j, const T* gload, RigidBar& bar)
{
    const int* row = g.integers + j * GI_COLUMNS;
    V3 force = all3(gload), torque = all3(gload + 3), w = all3(g.now[j].w);
    SideTouch t;
    for (int k = 0; k < 6; k++) {
        Side s = side(m, k);
        for (int b = row[GI_POINT]; b < row[GI_POINT] + row[GI_POINTS]; b++) {
            if (!touch_side(g, j, b, s, t)) continue;
            ContactBar c = contact_vjp(g.reals + j * GR_COLUMNS, t.c, force + cross(torque, t.arm));
            V3 garm = cross(contact_force(t.c), torque) + cross(c.u, w);
            plus3(sum_of(chosen(t.inside, t.c.n * c.d)), bar.c);
            plus3(sum_of(cross(t.centre, chosen(t.inside, garm + t.c.n * c.d))), bar.turn);
            plus3(sum_of(chosen(t.inside, c.u)), bar.v);
            plus3(sum_of(chosen(t.inside, cross(t.arm, c.u))), bar.w);
        }
    }
}

}  // namespace ds
