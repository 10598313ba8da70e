// Free rigid bodies and the grid of a world on a CPU: visits of the nodes around each body, one body after the other, each on
// what the ones before it left of the velocities.
#pragma once
#include "grid.h"

namespace ds {

#if MPM_RIGID
// A node as body j finds it.
struct Found {
    Nodes n;
    V3 v;
    R mass, inverse;
};
DS_FN Found find_node(const Model& m, const Rigid& g, int j, const Nodes& n, V3 momentum, R mass)
{
    Mask full = mass > splat(m.empty);
    R zero = R{};
    Found f = {n, zero3(), select(full, mass, zero), select(full, splat(T(1)) / mass, zero)};
    f.v = free_velocity(m, momentum, f.inverse);
    give_way_all(g, j, n.x, f.mass, f.v);
    return f;
}
#endif

#if DS_LANES > 1 && MPM_RIGID
// Calls f(place on the grid, node) for all registers of nodes with mass in the slab of the box that body j may reach.
template <class Visit> DS_FN void visit(const Model& m, const Rigid& g, int j, const Box& box, const T* grid, const Visit& f)
{
    T ball = g.reals[j * GR_COLUMNS + GR_BALL], x = g.now[j].c[0];
    int layer = box.count[1] * box.count[2], first = box.count[0], end = 0;
    for (int i = 0; i < box.count[0]; i++) {
        T away = T(box.first[0] + i) * m.dx - x;
        if (!(away <= ball && -away <= ball)) continue;
        first = i < first ? i : first;
        end = i + 1;
    }
    for (int at = first * layer / DS_LANES * DS_LANES; at < end * layer; at += DS_LANES) {
        R q[4];
        from_nodes(grid + 4 * at, q);
        if (!any(q[3] > splat(m.empty))) continue;
        f(at, find_node(m, g, j, nodes_at(m, box, at), {q[0], q[1], q[2]}, q[3]));
    }
}
DS_FN void add_sums(const R* sums, int n, Sum* to)
{
    for (int k = 0; k < n; k++) to[k] += get(sum_of(sums[k]), 0);
}

// The twists of all bodies after the nodes of a sub-step.
DS_ENTRY void meet_bodies(const Model& m, const Rigid& g, const Box& box, const T* grid)
{
    for (int j = 0; j < g.count; j++)
        for (int step = 0; step < 2; step++) {
            R sums[SUMS] = {};
            visit(m, g, j, box, grid, [&](int, const Found& f) { add_equations(g, j, step, f.n.x, f.mass, f.v, sums); });
            add_sums(sums, SUMS, g.work[j].sums[step]);
            solve_body(g, j, step);
        }
}
// `pull`: cotangents of the velocities after all bodies and of mass; on return those of momentum and mass.
DS_ENTRY void meet_bodies_vjp(const Model& m, const Rigid& g, const Box& box, const T* grid, T* pull)
{
    auto cotangent = [&](int at) {
        R q[4];
        from_nodes(pull + 4 * at, q);
        return V3{q[0], q[1], q[2]};
    };
    for (int j = g.count - 1; j >= 0; j--) {
        RigidWork& w = g.work[j];
        R last[6] = {}, first[6] = {}, place[6] = {};
        visit(m, g, j, box, grid, [&](int at, const Found& f) { add_last_vjp(g, j, f.n.x, f.mass, f.v, cotangent(at), last); });
        add_sums(last, 6, w.glast);
        solve_body_vjp(g, j, 1);
        visit(m, g, j, box, grid, [&](int at, const Found& f) { add_first_vjp(g, j, f.n.x, f.mass, f.v, cotangent(at), first); });
        add_sums(first, 6, w.gfirst);
        solve_body_vjp(g, j, 0);
        visit(m, g, j, box, grid, [&](int at, const Found& f) {
            R q[4];
            from_nodes(pull + 4 * at, q);
            V3 gv = {q[0], q[1], q[2]};
            give_way_vjp(g, j, f.n.x, f.mass, f.v, gv, q[3], place);
            q[0] = gv.x, q[1] = gv.y, q[2] = gv.z;
            to_nodes(q, pull + 4 * at);
        });
        add_sums(place, 6, w.gplace);
    }
    for (int at = 0, all = Box::nodes(box); at < all; at += DS_LANES) {
        R q[4], p[4];
        from_nodes(grid + 4 * at, p);
        if (!any(p[3] > splat(m.empty))) continue;
        from_nodes(pull + 4 * at, q);
        Mask full = p[3] > splat(m.empty);
        V3 back = momentum_vjp({p[0], p[1], p[2]}, select(full, splat(T(1)) / p[3], R{}), {q[0], q[1], q[2]}, q[3]);
        q[0] = back.x, q[1] = back.y, q[2] = back.z;
        to_nodes(q, pull + 4 * at);
    }
}
#elif DS_LANES > 1
DS_FN void meet_bodies(const Model&, const Rigid&, const Box&, const T*) {}
DS_FN void meet_bodies_vjp(const Model&, const Rigid&, const Box&, const T*, T*) {}
#endif

}  // namespace ds
