// The drag and lift of a fluid that does not move with the robot, by the two models that MuJoCo documents (Computation,
// Passive forces): of a body's box of equal inertia, or of an ellipsoid. A shape's wrench depends on its velocity against
// the fluid alone, both in its own axes, so its adjoint is that of a function of six numbers. rigid/_twin_passive.py is
// this file written to be read.
#pragma once
#include "touch.h"

namespace ds {

#if DS_PASSIVE
DS_FN V3 scaled(const T* a, V3 b) { return {b.x * a[0], b.y * a[1], b.z * a[2]}; }
DS_FN V3 absolute(V3 a) { return {abs_(a.x), abs_(a.y), abs_(a.z)}; }
DS_FN V3 product(V3 a, V3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }

// wrench of a box about its centre, moving with u
DS_FN SV box_drag(const T* row, SV u)
{
    return {product(scaled(row + FL_BOX_TURN, absolute(u.w)), -u.w) - u.w * splat(row[FL_VISCOUS_TURN]),
            product(scaled(row + FL_BOX_DRAG, absolute(u.v)), -u.v) - u.v * splat(row[FL_VISCOUS])};
}
// gradient of x . wrench by u
DS_FN SV box_drag_vjp(const T* row, SV u, SV x)
{
    R two = splat(T(-2));
    return {product(scaled(row + FL_BOX_TURN, absolute(u.w)) * two, x.w) - x.w * splat(row[FL_VISCOUS_TURN]),
            product(scaled(row + FL_BOX_DRAG, absolute(u.v)) * two, x.v) - x.v * splat(row[FL_VISCOUS])};
}

// what lift and drag of an ellipsoid have in common; FL_SHAPE: squared areas of its sections, of the largest
struct Stream {
    V3 n, n2;                            // normal to the projected section, not of unit length, and its like of 2nd order
    R speed, across, along, area, lift;  // across = n . v, along = n2 . v; of these the area, and the scale of the lift
};
DS_FN Stream stream_of(const T* row, V3 v)
{
    Stream s;
    T tiny = T(1e-30);
    s.n = scaled(row + FL_SHAPE, v);
    s.n2 = scaled(row + FL_SHAPE, s.n);
    s.speed = sqrt_(dot(v, v) + tiny);
    s.across = dot(s.n, v) + tiny;
    s.along = dot(s.n2, v) + tiny;
    s.area = sqrt_(s.along / s.across);
    s.lift = splat(row[FL_KUTTA]) / (s.area * s.speed);
    return s;
}

DS_FN SV ellipsoid_drag(const T* row, SV u)
{
    Stream s = stream_of(row, u.v);
    V3 momentum = scaled(row + FL_MASS, u.v), spin = scaled(row + FL_INERTIA, u.w), turn = scaled(row + FL_TURN, u.w);
    R slowing = s.speed * (s.area * row[FL_BLUNT] + row[FL_SLENDER]) + row[FL_VISCOUS];
    R braking = sqrt_(dot(turn, turn) + T(1e-30)) + row[FL_VISCOUS_TURN];
    V3 lift = u.v * dot(s.n, u.v) - s.n * dot(u.v, u.v);  // (n x v) x v
    return {cross(momentum, u.v) + cross(spin, u.w) - u.w * braking,
            cross(momentum, u.w) + cross(u.w, u.v) * splat(row[FL_MAGNUS]) + lift * s.lift - u.v * slowing};
}
DS_FN SV ellipsoid_drag_vjp(const T* row, SV u, SV x)
{
    V3 v = u.v, w = u.w;
    Stream s = stream_of(row, v);
    V3 momentum = scaled(row + FL_MASS, v), spin = scaled(row + FL_INERTIA, w), turn = scaled(row + FL_TURN, w);
    // fluid that moves along, and lift by spin
    V3 by_momentum = cross(v, x.w) + cross(w, x.v), by_spin = cross(w, x.w);
    SV g = {scaled(row + FL_INERTIA, by_spin) + cross(x.w, spin) + cross(x.v, momentum) +
                cross(v, x.v) * splat(row[FL_MAGNUS]),
            scaled(row + FL_MASS, by_momentum) + cross(x.w, momentum) + cross(x.v, w) * splat(row[FL_MAGNUS])};
    // lift by circulation: the derivative of log(area) is bend . dv
    R square = dot(v, v), nv = dot(s.n, v), xv = dot(x.v, v), xn = dot(x.v, s.n), inverse = splat(T(1)) / (s.speed * s.speed);
    V3 bend = s.n2 * (splat(T(1)) / s.along) - s.n * (splat(T(1)) / s.across);
    R along = nv * xv - square * xn;
    V3 by_lift = (bend + v * inverse) * -along + s.n * (xv * T(2)) + x.v * nv - v * (xn * T(2)) -
                 scaled(row + FL_SHAPE, x.v) * square;
    g.v = g.v + by_lift * s.lift;
    // drag
    R area = s.area * row[FL_BLUNT] + row[FL_SLENDER];
    g.v = g.v - v * (area * xv / s.speed) - bend * (s.speed * s.area * row[FL_BLUNT] * xv) -
          x.v * (s.speed * area + row[FL_VISCOUS]);
    R braking = sqrt_(dot(turn, turn) + T(1e-30));
    g.w = g.w - scaled(row + FL_TURN, turn) * (dot(x.w, w) / braking) - x.w * (braking + row[FL_VISCOUS_TURN]);
    return g;
}

// a shape's centre from its link's reference point, its axes, and its velocity against the fluid in these
struct Immersed {
    V3 p;
    M3 E;
    SV u;
};
DS_FN V3 inside(const M3& E, V3 a) { return {dot(E.c[0], a), dot(E.c[1], a), dot(E.c[2], a)}; }
DS_FN Immersed immersed(const Model& m, const Kinematics& k, int j)
{
    int i = m.passive.shape[j * FLI_COLUMNS + FL_LINK];
    const T* row = m.passive.shaper + j * FLR_COLUMNS;
    Immersed s;
    s.p = k.r[i] + rotate(k.E[i], row + FL_POS);
    s.E = rotate9(k.E[i], row + FL_AXES);
    V3 v = point_velocity(k.V[i], s.p);
    v = {v.x - m.passive.wind[0], v.y - m.passive.wind[1], v.z - m.passive.wind[2]};
    s.u = {inside(s.E, k.V[i].w), inside(s.E, v)};
    return s;
}
DS_FN SV about_reference(V3 p, const M3& E, SV f)
{
    V3 force = E * f.v;
    return {E * f.w + cross(p, force), force};
}

// subtract the fluid's wrenches from F, link by link
DS_ENTRY void fluid_forces(const Model& m, const Kinematics& k, SV* F)
{
    for (int j = 0; j < m.passive.shapes; j++) {
        const int* shape = m.passive.shape + j * FLI_COLUMNS;
        const T* row = m.passive.shaper + j * FLR_COLUMNS;
        Immersed s = immersed(m, k, j);
        SV f = shape[FL_KIND] == FLUID_BOX ? box_drag(row, s.u) : ellipsoid_drag(row, s.u);
        F[shape[FL_LINK]] = F[shape[FL_LINK]] - about_reference(s.p, s.E, f);
    }
}

// psi = -x . wrench(u), where only the wind does not turn with the robot
DS_ENTRY void fluid_vjp(const Model& m, const Kinematics& k, const SV* X, LinkBar* bar)
{
    V3 wind = {splat(m.passive.wind[0]), splat(m.passive.wind[1]), splat(m.passive.wind[2])};
    for (int j = 0; j < m.passive.shapes; j++) {
        const int* shape = m.passive.shape + j * FLI_COLUMNS;
        const T* row = m.passive.shaper + j * FLR_COLUMNS;
        int i = shape[FL_LINK];
        Immersed s = immersed(m, k, j);
        SV x = {inside(s.E, X[i].w), inside(s.E, point_velocity(X[i], s.p))}, f, by_u;
        if (shape[FL_KIND] == FLUID_BOX) {
            f = box_drag(row, s.u);
            by_u = box_drag_vjp(row, s.u, x);
        } else {
            f = ellipsoid_drag(row, s.u);
            by_u = ellipsoid_drag_vjp(row, s.u, x);
        }
        bar[i].X = bar[i].X - about_reference(s.p, s.E, f);
        bar[i].V = bar[i].V - about_reference(s.p, s.E, by_u);
        bar[i].W.w = bar[i].W.w - cross(wind, s.E * by_u.v);
    }
}
#endif

}  // namespace ds
