// Points of a free rigid body on the sides of the grid: penalty forces as in the SHAC paper's released code (Xu et al. 2022).
// A point, which has a radius, at signed distance d < 0 and normal velocity u feels f = d (kd min(u, 0) - kn) along the normal
// and, on the ground, friction of at most mu kn |d|, which sticks with kt.
#pragma once
#include "rigid.h"

namespace ds {

struct Side {
    int axis;
    T sign, at, friction;  // the normal is sign times the axis; the plane is at x[axis] = at
};
// What holds on to all that touches it has a coefficient without bound; products with this one stay numbers in float32.
constexpr T MOST_FRICTION = T(1e6);
// The ground first. Particles come to rest a quarter of a cell beyond the innermost nodes that let nothing pass.
DS_FN Side side(const Model& m, int k)
{
    int axis = (k / 2 + 2) % 3, far = k % 2;
    T wall = T(m.head[I_WALL]) - T(0.25), cells = T(m.head[I_CELLS + axis]);
    return {axis, far ? T(-1) : T(1), (far ? cells - wall : wall) * m.dx, k > 0 ? T(0) : m.friction < MOST_FRICTION ? m.friction : MOST_FRICTION};
}
struct Touch {
    V3 n, centre, arm, u, ut;  // arms are from the centre of mass: of the point's middle, and of where it touches
    R d, un, fn, share, bound, slip;
    Mask inside, approaching, slides;
};
DS_FN bool touch(const Rigid& g, int j, int block, const Side& s, Touch& t)
{
    const RigidState& b = g.now[j];
    const T* gains = g.reals + j * GR_COLUMNS;
    R row[4], zero = R{};
    from_nodes(g.points + 4 * block * DS_LANES, row);
    t.centre = mul(all33(g.work[j].E), V3{row[0], row[1], row[2]});
    V3 axis = {splat(T(s.axis == 0)), splat(T(s.axis == 1)), splat(T(s.axis == 2))};
    t.n = axis * splat(s.sign);
    t.d = dot(t.n, t.centre) + splat(s.sign * (b.c[s.axis] - s.at)) - row[3];
    t.inside = t.d < zero;
    if (!any(t.inside)) return false;
    t.arm = t.centre - t.n * row[3];
    t.u = all3(b.v) + cross(all3(b.w), t.arm);
    t.un = dot(t.u, t.n);
    t.ut = t.u - t.n * t.un;
    t.approaching = t.un < zero;
    t.fn = t.d * (min_(t.un, zero) * gains[GR_DAMPING] - splat(gains[GR_STIFFNESS]));
    t.slip = sqrt_(dot(t.ut, t.ut) + splat(T(1e-12)));
    t.bound = t.d * (-s.friction * gains[GR_STIFFNESS]);
    t.share = min_(splat(s.friction > 0 ? gains[GR_GRIP] : T(0)), t.bound / t.slip);
    t.slides = t.bound < t.slip * gains[GR_GRIP];
    return true;
}
// force and torque about the centre of mass of a body on all sides
DS_ENTRY void sides_force(const Model& m, const Rigid& g, int j, T* load)
{
    const int* row = g.integers + j * GI_COLUMNS;
    Touch t;
    for (int k = 0; k < 6; k++) {
        Side s = side(m, k);
        for (int b = row[GI_POINT]; b < row[GI_POINT] + row[GI_POINTS]; b++) {
            if (!touch(g, j, b, s, t)) continue;
            V3 f = chosen(t.inside, t.n * t.fn - t.ut * t.share);
            plus3(sum_of(f), load);
            plus3(sum_of(cross(t.arm, f)), load + 3);
        }
    }
}
// From the cotangents of that force and torque.
DS_ENTRY void sides_force_vjp(const Model& m, const Rigid& g, int j, const T* gload, RigidBar& bar)
{
    const int* row = g.integers + j * GI_COLUMNS;
    const T* gains = g.reals + j * GR_COLUMNS;
    V3 force = all3(gload), torque = all3(gload + 3), w = all3(g.now[j].w);
    R zero = R{};
    Touch t;
    for (int k = 0; k < 6; k++) {
        Side s = side(m, k);
        for (int b = row[GI_POINT]; b < row[GI_POINT] + row[GI_POINTS]; b++) {
            if (!touch(g, j, b, s, t)) continue;
            V3 f = t.n * t.fn - t.ut * t.share, x = force + cross(torque, t.arm);
            R along = dot(x, t.n), across = dot(x, t.ut), per = splat(T(1)) / t.slip;
            R slides = select(t.slides, across * per, zero);
            R gd = along * (min_(t.un, zero) * gains[GR_DAMPING] - splat(gains[GR_STIFFNESS])) +
                   slides * (s.friction * gains[GR_STIFFNESS]);
            R gun = select(t.approaching, along * t.d * gains[GR_DAMPING], zero);
            V3 gu = t.n * (gun + along * t.share) - x * t.share + t.ut * (slides * t.bound * per * per);
            V3 garm = cross(f, torque) + cross(gu, w), gcentre = chosen(t.inside, garm + t.n * gd);
            plus3(sum_of(chosen(t.inside, t.n * gd)), bar.c);
            plus3(sum_of(cross(t.centre, gcentre)), bar.turn);
            plus3(sum_of(chosen(t.inside, gu)), bar.v);
            plus3(sum_of(chosen(t.inside, cross(t.arm, gu))), bar.w);
        }
    }
}

}  // namespace ds
