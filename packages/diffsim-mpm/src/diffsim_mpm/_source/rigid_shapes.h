// Points of a free rigid body on the shapes of a chain, which move as they are told: the forces of rigid_sides.h along the
// direction of each shape, with the velocity relative to the shape and the shape's friction. The shape feels the reaction.
#pragma once
#include "obstacles.h"
#include "rigid_sides.h"

namespace ds {

#if MPM_SHAPES
struct ShapeTouch {
    Contact c;
    Surface surface;
    V3 centre, arm, from, local, touching;  // of the point's middle and of where it touches: from centre of mass and from shape
    R d, radius;
    Mask inside;
};
DS_FN bool touch_shape(const Rigid& g, int j, int block, const Obstacles& o, int shape, T dt, ShapeTouch& t)
{
    const RigidState& b = g.now[j];
    const T *reals = o.shapes.reals + shape * SR_COLUMNS, *pose = o.pose + 12 * shape, *next = o.next + 12 * shape;
    R row[4];
    from_nodes(g.points + 4 * block * DS_LANES, row);
    t.radius = row[3];
    t.centre = mul(all33(g.work[j].E), V3{row[0], row[1], row[2]});
    t.from = from_origin(pose, all3(b.c) + t.centre);
    t.local = to_shape(pose, t.from);
    t.surface = surface(o.shapes, shape, t.local);
    t.d = t.surface.d - t.radius;
    t.inside = t.d < R{};
    if (!any(t.inside)) return false;
    V3 n = to_world(pose, t.surface.n);
    t.arm = t.centre - n * t.radius;
    V3 y = all3(b.c) + t.arm;
    t.touching = to_shape(pose, from_origin(pose, y));
    V3 moved = (y - to_world(next, t.touching) - V3{splat(next[9]), splat(next[10]), splat(next[11])}) * splat(T(1) / dt);
    V3 u = all3(b.v) + cross(all3(b.w), t.arm) + moved;
    T friction = reals[SR_FRICTION] < MOST_FRICTION ? reals[SR_FRICTION] : MOST_FRICTION;
    t.c = contact(g.reals + j * GR_COLUMNS, friction, n, t.d, u);
    return true;
}
DS_FN bool far_apart(const Rigid& g, int j, const Obstacles& o, int shape)
{
    T reach = g.reals[j * GR_COLUMNS + GR_BALL] + o.shapes.reals[shape * SR_COLUMNS + SR_BALL], squared = T(0);
    for (int k = 0; k < 3; k++) {
        T away = g.now[j].c[k] - o.pose[12 * shape + 9 + k];
        squared += away * away;
    }
    return squared > reach * reach;
}

// Adds force and torque on a body to `load`, and to the shapes' impulses.
DS_ENTRY void shapes_force(const Rigid& g, int j, const Obstacles& o, T dt, T* load)
{
    const int* row = g.integers + j * GI_COLUMNS;
    ShapeTouch t;
    for (int k = 0; k < o.total; k++) {
        if (far_apart(g, j, o, k)) continue;
        for (int b = row[GI_POINT]; b < row[GI_POINT] + row[GI_POINTS]; b++) {
            if (!touch_shape(g, j, b, o, k, dt, t)) continue;
            V3 f = chosen(t.inside, contact_force(t.c));
            plus3(sum_of(f), load);
            plus3(sum_of(cross(t.arm, f)), load + 3);
            if (!o.impulse) continue;
            V3 lost = f * splat(-dt);
            add_to(o.impulse + 6 * k, lost);
            add_to(o.impulse + 6 * k + 3, cross(to_world(o.pose + 12 * k, t.touching), lost));
        }
    }
}
// From the cotangents of force and torque, and of the impulses: to those of the body and of the shapes' poses.
DS_ENTRY void shapes_force_vjp(const Rigid& g, int j, const Obstacles& o, T dt, const T* gload, RigidBar& bar)
{
    const int* row = g.integers + j * GI_COLUMNS;
    V3 force = all3(gload), torque = all3(gload + 3), w = all3(g.now[j].w);
    ShapeTouch t;
    for (int k = 0; k < o.total; k++) {
        if (far_apart(g, j, o, k)) continue;
        const T *pose = o.pose + 12 * k, *next = o.next + 12 * k;
        Sum *gpose = o.gpose + 12 * k, *gnext = o.gnext + 12 * k;
        for (int b = row[GI_POINT]; b < row[GI_POINT] + row[GI_POINTS]; b++) {
            if (!touch_shape(g, j, b, o, k, dt, t)) continue;
            V3 f = contact_force(t.c), x = force + cross(torque, t.arm), garm = cross(f, torque), gy = zero3();
            V3 from = to_world(pose, t.touching);
            if (o.gimpulse) {
                V3 gf = all3(o.gimpulse + 6 * k) * splat(-dt), gm = all3(o.gimpulse + 6 * k + 3) * splat(-dt);
                x = x + gf + cross(gm, from);
                gy = cross(f, gm);
                add_to(gpose + 9, chosen(t.inside, -gy));
            }
            ContactBar c = contact_vjp(g.reals + j * GR_COLUMNS, t.c, x);
            V3 gu = chosen(t.inside, c.u), gn = chosen(t.inside, c.n);
            R gd = select(t.inside, c.d, R{});
            garm = chosen(t.inside, garm) + cross(gu, w);
            // u = v + w x arm + (y - E' E^T (y - p) - p') / dt
            V3 gmoved = gu * splat(T(1) / dt), gtouching = -to_shape(next, gmoved), gfrom = to_world(pose, gtouching);
            add_turn(gnext, -gmoved, t.touching);
            add_to(gnext + 9, -gmoved);
            add_turn(gpose, from, gtouching);
            add_to(gpose + 9, -gfrom);
            gy = chosen(t.inside, gy) + gmoved + gfrom;
            garm = garm + gy;
            // arm = centre - n radius, n = E n(local), local = E^T (c + centre - p)
            gn = gn - garm * select(t.inside, t.radius, R{});
            add_turn(gpose, gn, t.surface.n);
            V3 glocal = surface_vjp(o.shapes, k, t.local, gd, to_shape(pose, gn)), gmiddle = to_world(pose, glocal);
            add_turn(gpose, chosen(t.inside, t.from), glocal);
            add_to(gpose + 9, -gmiddle);
            plus3(sum_of(gy + gmiddle), bar.c);
            plus3(sum_of(cross(t.centre, garm + gmiddle)), bar.turn);
            plus3(sum_of(gu), bar.v);
            plus3(sum_of(chosen(t.inside, cross(t.arm, gu))), bar.w);
        }
    }
}
#else
DS_FN void shapes_force(const Rigid&, int, const Obstacles&, T, T*) {}
DS_FN void shapes_force_vjp(const Rigid&, int, const Obstacles&, T, const T*, RigidBar&) {}
#endif

}  // namespace ds
