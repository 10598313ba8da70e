// Grid nodes against moving shapes (PlasticineLab, Huang et al. 2021, section 3.2; DexDeform, Li et al. 2023): a shape drags the
// nodes inside it and in a soft zone around it along with itself, up to Coulomb's friction. Its reaction is what the nodes
// lost in momentum. A pose is 12 numbers: the shape's axes in the world, one after the other, and its origin.
#pragma once
#include "shapes.h"
#include "sums.h"

namespace ds {

// Friction from which a shape holds on to what it touches, in any direction.
constexpr T STICKY = T(99);

DS_FN V3 to_world(const T* pose, V3 a)
{
    return {a.x * pose[0] + a.y * pose[3] + a.z * pose[6], a.x * pose[1] + a.y * pose[4] + a.z * pose[7],
            a.x * pose[2] + a.y * pose[5] + a.z * pose[8]};
}
DS_FN V3 to_shape(const T* pose, V3 a)
{
    return {a.x * pose[0] + a.y * pose[1] + a.z * pose[2], a.x * pose[3] + a.y * pose[4] + a.z * pose[5],
            a.x * pose[6] + a.y * pose[7] + a.z * pose[8]};
}
DS_FN V3 from_origin(const T* pose, V3 x) { return {x.x - pose[9], x.y - pose[10], x.z - pose[11]}; }
DS_FN V3 chosen(Mask m, V3 a) { return {select(m, a.x, R{}), select(m, a.y, R{}), select(m, a.z, R{})}; }

// cotangents of a pose's rotation E, by columns, where E a was used with cotangent g
DS_FN void add_turn(Sum* gpose, V3 g, V3 a)
{
    add_to(gpose, g * a.x);
    add_to(gpose + 3, g * a.y);
    add_to(gpose + 6, g * a.z);
}

// One shape at a node.
struct Meeting {
    Mask active;
    V3 local, n, body;  // the node in the shape's frame, direction away from the shape, velocity of the shape's material
    Surface surface;
    R influence;
};

// False where the shape is too far away from every node of the lane.
DS_FN bool meet(const Shapes& s, int shape, const T* pose, const T* pose_next, T dt, V3 x, R mass, Meeting& m)
{
    const T* reals = s.reals + shape * SR_COLUMNS;
    V3 arm = from_origin(pose, x);
    R ball = splat(reals[SR_BALL]);
    Mask occupied = mass > R{};
    if (!any(occupied & (dot(arm, arm) <= ball * ball))) return false;
    m.local = to_shape(pose, arm);
    m.surface = surface(s, shape, m.local);
    R away = m.surface.d * -reals[SR_SOFTNESS];
    m.active = occupied & ((m.surface.d <= R{}) | (m.surface.d < splat(reals[SR_REACH])));
    if (!any(m.active)) return false;
    m.influence = exp_(min_(away, R{}));
    m.n = to_world(pose, m.surface.n);
    m.body = -from_origin(pose_next, x - to_world(pose_next, m.local)) * splat(T(1) / dt);
    return true;
}

// What friction leaves of a velocity relative to the shape.
struct Slide {
    Mask approaching, sliding;
    R vn, speed, scale;
    V3 t;  // the tangential part, of which `scale` is left
};
DS_FN Slide slide(V3 rel, V3 n, T friction)
{
    Slide s;
    R zero = R{}, one = splat(T(1));
    s.vn = dot(rel, n);
    s.approaching = s.vn < zero;
    s.t = rel - n * min_(s.vn, zero);
    s.speed = sqrt_(dot(s.t, s.t) + splat(NOTHING));
    R left = one + s.vn * friction / s.speed;
    s.sliding = s.approaching & (left > zero);
    s.scale = select(s.approaching, max_(left, zero), one);
    if (friction >= STICKY) {
        s.sliding = s.sliding & (s.vn > zero);  // never
        s.scale = zero;
    }
    return s;
}
DS_FN V3 after(const Meeting& m, const Slide& s, V3 v, V3 rel)
{
    R soft = splat(T(1)) - m.influence;
    V3 left = m.body + rel * soft + s.t * (s.scale * m.influence);
    return {select(m.active, left.x, v.x), select(m.active, left.y, v.y), select(m.active, left.z, v.z)};
}

// Nodes at x of velocity v against the shapes, one after the other. A pose has 12 numbers per shape; `impulse`, if not null,
// 6 per shape: the impulse on the shape and its moment about the shape's origin [N s, N m s] are added to it.
DS_ENTRY void collide(const Shapes& s, const T* pose, const T* pose_next, T dt, V3 x, R mass, V3& v, Sum* impulse)
{
    Meeting m;
    for (int k = 0; k < s.count; k++) {
        int shape = shape_at(s, k);
        const T* at = pose + 12 * shape;
        if (!meet(s, shape, at, pose_next + 12 * shape, dt, x, mass, m)) continue;
        V3 rel = v - m.body, left = after(m, slide(rel, m.n, s.reals[shape * SR_COLUMNS + SR_FRICTION]), v, rel);
        if (impulse) {
            V3 lost = chosen(m.active, (v - left) * mass);
            add_to(impulse + 6 * shape, lost);
            add_to(impulse + 6 * shape + 3, cross(from_origin(at, x), lost));
        }
        v = left;
    }
}

// Cotangents of one shape's part: g of the velocity after it becomes that of the velocity v before.
DS_FN void meet_vjp(const Shapes& s, int shape, const Meeting& m, const T* pose, const T* pose_next, T dt, V3 x, R mass, V3 v,
                    const T* gimpulse, V3& g, R& gmass, Sum* gpose, Sum* gpose_next)
{
    const T* reals = s.reals + shape * SR_COLUMNS;
    R zero = R{};
    V3 rel = v - m.body, arm = from_origin(pose, x);
    Slide f = slide(rel, m.n, reals[SR_FRICTION]);
    V3 through = g, gbefore = zero3();
    if (gimpulse) {
        V3 lost = v - after(m, f, v, rel);
        const T* gi = gimpulse + 6 * shape;
        V3 force = {splat(gi[0]), splat(gi[1]), splat(gi[2])}, moment = {splat(gi[3]), splat(gi[4]), splat(gi[5])};
        V3 glost = chosen(m.active, force + cross(moment, arm));
        gmass = gmass + dot(glost, lost);
        add_to(gpose + 9, chosen(m.active, cross(moment, lost * mass)));
        gbefore = glost * mass;
        g = g - gbefore;
    }
    g = chosen(m.active, g);
    // after = body + rel (1 - influence) + t scale influence
    R kept = f.scale * m.influence, gscale = dot(g, f.t) * m.influence;
    R ginfluence = dot(g, f.t * f.scale - rel);
    V3 grel = g * (splat(T(1)) - m.influence), gt = g * kept;
    // scale = 1 + friction vn / |t|
    R by_speed = select(f.sliding, gscale * reals[SR_FRICTION] / f.speed, zero);
    gt = gt - f.t * (by_speed * f.vn / (f.speed * f.speed));
    // t = rel - n min(vn, 0)
    R gvn = by_speed - select(f.approaching, dot(m.n, gt), zero);
    grel = grel + gt + m.n * gvn;
    V3 gn = rel * gvn - gt * min_(f.vn, zero);
    V3 gbody = (g - grel) * splat(T(1) / dt);
    // body = (E' local + p' - x) / dt, n = E surface.n, influence = exp(-softness d)
    add_turn(gpose_next, gbody, m.local);
    add_to(gpose_next + 9, gbody);
    add_turn(gpose, gn, m.surface.n);
    R gd = select(m.surface.d > zero, ginfluence * m.influence * -reals[SR_SOFTNESS], zero);
    V3 glocal = to_shape(pose_next, gbody) + surface_vjp(s, shape, m.local, gd, to_shape(pose, gn));
    // local = E^T (x - p)
    add_turn(gpose, arm, glocal);
    add_to(gpose + 9, -to_world(pose, glocal));
    g = gbefore + grel + V3{select(m.active, zero, through.x), select(m.active, zero, through.y), select(m.active, zero, through.z)};
}

// From the cotangents of the velocity after all shapes and, if not null, of the impulses: sets gv, that of the velocity v
// before, and adds to gmass, gpose and gpose_next. For x there is none: nodes do not move.
DS_ENTRY void collide_vjp(const Shapes& s, const T* pose, const T* pose_next, T dt, V3 x, R mass, V3 v, V3 gv_out,
                          const T* gimpulse, V3& gv, R& gmass, Sum* gpose, Sum* gpose_next)
{
    Meeting m;
    V3 before[DS_MAX_SHAPES];
    int met[DS_MAX_SHAPES], meetings = 0;
    for (int k = 0; k < s.count; k++) {
        int shape = shape_at(s, k);
        if (!meet(s, shape, pose + 12 * shape, pose_next + 12 * shape, dt, x, mass, m)) continue;
        before[meetings] = v;
        met[meetings++] = shape;
        V3 rel = v - m.body;
        v = after(m, slide(rel, m.n, s.reals[shape * SR_COLUMNS + SR_FRICTION]), v, rel);
    }
    gv = gv_out;
    while (meetings-- > 0) {
        int shape = met[meetings];
        const T *at = pose + 12 * shape, *next = pose_next + 12 * shape;
        meet(s, shape, at, next, dt, x, mass, m);
        meet_vjp(s, shape, m, at, next, dt, x, mass, before[meetings], gimpulse, gv, gmass, gpose + 12 * shape, gpose_next + 12 * shape);
    }
}

}  // namespace ds
