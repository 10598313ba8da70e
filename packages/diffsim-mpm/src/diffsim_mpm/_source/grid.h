// What happens on the grid in a sub-step, DS_LANES nodes at once: momentum to velocity, gravity, rigid bodies, shapes, ground,
// walls. What can give way is met first, what cannot last.
#pragma once
#include "rigid_world.h"
#include "stencil.h"

namespace ds {

struct Nodes {
    R i[3];  // numbers on the whole grid
    V3 x;    // [m]
};
// Nodes `at` to `at + DS_LANES - 1` of a box. Past its end they mean nothing. Exact up to 2^22 nodes.
DS_FN Nodes nodes_at(const Model& m, const Box& b, int at)
{
    R half = splat(T(0.5)), a = lane_numbers() + T(at);
    R row = floor_((a + half) * (T(1) / T(b.count[2])));
    R i = floor_((row + half) * (T(1) / T(b.count[1])));
    Nodes n;
    n.i[0] = i + T(b.first[0]);
    n.i[1] = row - i * T(b.count[1]) + T(b.first[1]);
    n.i[2] = a - row * T(b.count[2]) + T(b.first[2]);
    n.x = V3{n.i[0], n.i[1], n.i[2]} * splat(m.dx);
    return n;
}

// The sides of the grid, where nothing passes: at nodes near a side, a velocity towards it loses its normal part. At the
// lowest ones Coulomb friction acts as well; an infinite coefficient holds all that touches the ground.
struct Ground {
    Mask touches, slides;
    V3 along;  // direction of sliding
    R grip;    // mu v_n, negative
};
DS_FN Ground ground(const Model& m, const Nodes& n, V3 v)
{
    Ground g;
    R zero = R{}, speed = sqrt_(v.x * v.x + v.y * v.y);
    g.touches = (n.i[2] < splat(T(m.head[I_WALL]))) & (v.z < zero);
    g.grip = m.friction * v.z;
    g.slides = g.touches & (speed + g.grip > zero);
    R inverse = select(g.slides, splat(T(1)) / max_(speed, splat(T(1e-30))), zero);
    g.along = {v.x * inverse, v.y * inverse, zero};
    return g;
}
DS_FN V3 on_ground(const Ground& g, const Model& m, V3 v)
{
    R zero = R{}, grip = select(g.slides, g.grip, zero);
    if (m.friction > 0) {
        v.x = select(g.touches, select(g.slides, v.x + grip * g.along.x, zero), v.x);
        v.y = select(g.touches, select(g.slides, v.y + grip * g.along.y, zero), v.y);
    }
    v.z = select(g.touches, zero, v.z);
    return v;
}
DS_FN V3 on_ground_vjp(const Ground& g, const Model& m, V3 v, V3 gv)
{
    R zero = R{};
    if (m.friction > 0) {
        R along = select(g.slides, gv.x * g.along.x + gv.y * g.along.y, zero);
        R speed = v.x * g.along.x + v.y * g.along.y;
        R share = select(g.slides, g.grip / max_(speed, splat(T(1e-30))), zero);
        V3 back = {gv.x + share * (gv.x - along * g.along.x), gv.y + share * (gv.y - along * g.along.y), m.friction * along};
        gv.x = select(g.touches, select(g.slides, back.x, zero), gv.x);
        gv.y = select(g.touches, select(g.slides, back.y, zero), gv.y);
        gv.z = select(g.touches, select(g.slides, back.z, zero), gv.z);
        return gv;
    }
    gv.z = select(g.touches, zero, gv.z);
    return gv;
}
DS_FN Mask stopped(const Model& m, R i, R v, int axis)
{
    T wall = T(m.head[I_WALL]), far = T(m.head[I_CELLS + axis] - m.head[I_WALL]);
    return ((i < splat(wall)) & (v < R{})) | ((i > splat(far)) & (v > R{}));
}
DS_FN V3 at_walls(const Model& m, const Nodes& n, V3 v, V3 kept)
{
    R zero = R{};
    return {select(stopped(m, n.i[0], v.x, 0), zero, kept.x), select(stopped(m, n.i[1], v.y, 1), zero, kept.y),
            select(stopped(m, n.i[2], v.z, 2), zero, kept.z)};
}

DS_FN V3 free_velocity(const Model& m, V3 momentum, R inverse)
{
    return momentum * inverse + V3{splat(m.dt * m.gravity[0]), splat(m.dt * m.gravity[1]), splat(m.dt * m.gravity[2])};
}

// momentum and mass of a node -> velocity
DS_FN V3 node_velocity(const Model& m, const Obstacles& o, const Rigid& g, const Nodes& n, V3 momentum, R mass)
{
    Mask full = mass > splat(m.empty);
    R zero = R{};
    V3 v = free_velocity(m, momentum, select(full, splat(T(1)) / mass, zero));
    give_way_to_all(g, n.x, select(full, mass, zero), v);
    meet_all(o, m.dt, n.x, select(full, mass, zero), v);
    v = on_ground(ground(m, n, v), m, v);
    v = at_walls(m, n, v, v);
    return {select(full, v.x, zero), select(full, v.y, zero), select(full, v.z, zero)};
}
// Cotangent of the velocity that is left -> of momentum; adds to that of mass.
DS_FN V3 momentum_vjp(V3 momentum, R inverse, V3 gv, R& gmass)
{
    V3 gmomentum = gv * inverse;
    gmass -= dot(gmomentum, momentum) * inverse;
    return gmomentum;
}
// Cotangent of the velocity -> of momentum and mass; where there are rigid bodies, of the velocity after them in their place.
DS_FN void node_velocity_vjp(const Model& m, const Obstacles& o, const Rigid& g, const Nodes& n, V3 momentum, R mass, V3 gv,
                             V3& back, R& gmass)
{
    Mask full = mass > splat(m.empty);
    R zero = R{}, inverse = select(full, splat(T(1)) / mass, zero);
    V3 free = free_velocity(m, momentum, inverse);
    mass = select(full, mass, zero);
    give_way_to_all(g, n.x, mass, free);
    V3 met = free;
    meet_all(o, m.dt, n.x, mass, met);
    Ground below = ground(m, n, met);
    gv = {select(full, gv.x, zero), select(full, gv.y, zero), select(full, gv.z, zero)};
    gv = at_walls(m, n, on_ground(below, m, met), gv);
    gv = on_ground_vjp(below, m, met, gv);
    gmass = zero;
    meet_all_vjp(o, m.dt, n.x, mass, free, gv, gmass);
#if MPM_RIGID
    back = gv;
#else
    back = momentum_vjp(momentum, inverse, gv, gmass);
#endif
}

#if DS_LANES > 1
// all nodes of a box; nodes without mass, most of a wide box, cost a look at them
DS_ENTRY void grid_velocity(const Model& m, const Obstacles& o, const Rigid& g, const Box& box, const T* grid, T* velocity)
{
    for (int at = 0, all = Box::nodes(box); at < all; at += DS_LANES) {
        R q[4], v[4] = {R{}, R{}, R{}, R{}};
        from_nodes(grid + 4 * at, q);
        if (any(q[3] > splat(m.empty))) {
            V3 u = node_velocity(m, o, g, nodes_at(m, box, at), {q[0], q[1], q[2]}, q[3]);
            v[0] = u.x, v[1] = u.y, v[2] = u.z;
        }
        to_nodes(v, velocity + 4 * at);
    }
}
// `pull` holds cotangents of velocities, and on return what node_velocity_vjp makes of them
DS_ENTRY void grid_velocity_vjp(const Model& m, const Obstacles& o, const Rigid& bodies, const Box& box, const T* grid, T* pull)
{
    for (int at = 0, all = Box::nodes(box); at < all; at += DS_LANES) {
        R q[4], g[4];
        from_nodes(grid + 4 * at, q);
        if (!any(q[3] > splat(m.empty))) continue;
        from_nodes(pull + 4 * at, g);
        V3 back;
        node_velocity_vjp(m, o, bodies, nodes_at(m, box, at), {q[0], q[1], q[2]}, q[3], {g[0], g[1], g[2]}, back, g[3]);
        g[0] = back.x, g[1] = back.y, g[2] = back.z;
        to_nodes(g, pull + 4 * at);
    }
}
DS_FN void clear(const Box& box, T* grid)
{
    for (int i = 0, all = 4 * Box::nodes(box); i < all + 4 * DS_LANES; i += DS_LANES) write(grid + i, R{});
}
#endif

}  // namespace ds
