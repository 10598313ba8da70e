// Free rigid bodies on CUDA: a launch for each visit of the nodes and each solution of the equations, body after body. `body`
// is its number, `step` that of the equations. Sums of what nodes add to a body are exact, in whatever order they come.
#pragma once
#include "launches_vjp.h"

namespace ds {

// most are zero, as most nodes are far from a body
DS_FN void add_all(const R* sums, int n, Sum* to)
{
    for (int k = 0; k < n; k++)
        if (sums[k] != T(0)) add_to(to + k, sums[k]);
}
// a node takes what its particles give, where these are listed
template <class Args> DS_FN void take_node(int item, const Args& a)
{
    Model m = read_model(a.integers, a.reals);
    taken(a, m, whole_grid(m), item, a.grid);
}
// A node at work, as its body finds it; false where it has no mass.
struct NodeThread {
    Model m;
    Rigid g;
    Found f;
    int world;
};
template <class Args> DS_FN bool node_thread(int item, const Args& a, NodeThread& t)
{
    t.m = read_model(a.integers, a.reals);
    Box box = whole_grid(t.m);
    int nodes = Box::nodes(box);
    const T* q = a.grid + size_t(4) * item;
    t.world = item / nodes;
    if (!(q[3] > t.m.empty)) return false;
    t.g = bodies_of(a, t.world, t.m);
    t.f = find_node(t.m, t.g, a.body, nodes_at(t.m, box, item - t.world * nodes), {q[0], q[1], q[2]}, q[3]);
    return true;
}
DS_FN V3 cotangent_of(const StepVjpArgs& a, int item)
{
    const T* g = a.pull + size_t(4) * item;
    return {g[0], g[1], g[2]};
}

// `impulses`: on the shapes of all worlds, or null
template <class Args> DS_FN void start_world(int world, const Args& a, Sum* impulses)
{
    Model m = read_model(a.integers, a.reals);
    Rigid g = bodies_of(a, world, m);
    Obstacles o = obstacles_of(a, world, nullptr);
#if MPM_SHAPES
    if (impulses) o.impulse = impulses + first_impulse(a, world);
#endif
    start_rigid(a, world, m, o, a.sub, g);
}
template <class Args> DS_FN void sum_node(int item, const Args& a)
{
    NodeThread t;
    if (!node_thread(item, a, t)) return;
    R sums[SUMS] = {};
    add_equations(t.g, a.body, a.step, t.f.n.x, t.f.mass, t.f.v, sums);
    add_all(sums, SUMS, t.g.work[a.body].sums[a.step]);
}
template <class Args> DS_FN void solve_world(int world, const Args& a)
{
    solve_body(bodies_of(a, world, read_model(a.integers, a.reals)), a.body, a.step);
}
template <class Args> DS_FN void end_world(int world, const Args& a)
{
    Model m = read_model(a.integers, a.reals);
    end_rigid(m, bodies_of(a, world, m));
}
DS_ITEM void mpm_rigid_take(int item, const StepArgs& a) { take_node(item, a); }
DS_ITEM void mpm_rigid_start(int world, const StepArgs& a) { start_world(world, a, a.wrench_out ? (Sum*)a.felt : nullptr); }
DS_ITEM void mpm_rigid_sum(int item, const StepArgs& a) { sum_node(item, a); }
DS_ITEM void mpm_rigid_solve(int world, const StepArgs& a) { solve_world(world, a); }
DS_ITEM void mpm_rigid_end(int world, const StepArgs& a) { end_world(world, a); }
DS_ITEM void mpm_rigid_take_again(int item, const StepVjpArgs& a) { take_node(item, a); }
DS_ITEM void mpm_rigid_start_again(int world, const StepVjpArgs& a) { start_world(world, a, nullptr); }
DS_ITEM void mpm_rigid_sum_again(int item, const StepVjpArgs& a) { sum_node(item, a); }
DS_ITEM void mpm_rigid_solve_again(int world, const StepVjpArgs& a) { solve_world(world, a); }
DS_ITEM void mpm_rigid_end_again(int world, const StepVjpArgs& a) { end_world(world, a); }

// The way back. Cotangents of the last states first, when all sub-steps were done again.
DS_ITEM void mpm_rigid_begin_vjp(int world, const StepVjpArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    begin_rigid_vjp(a, world, m, bodies_of(a, world, m));
}
DS_ITEM void mpm_rigid_end_vjp(int world, const StepVjpArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    Rigid g = bodies_of(a, world, m);
    end_rigid_vjp(m, a.sub, g);
}
DS_ITEM void mpm_rigid_last_vjp(int item, const StepVjpArgs& a)
{
    NodeThread t;
    if (!node_thread(item, a, t)) return;
    R sums[6] = {};
    add_last_vjp(t.g, a.body, t.f.n.x, t.f.mass, t.f.v, cotangent_of(a, item), sums);
    add_all(sums, 6, t.g.work[a.body].glast);
}
DS_ITEM void mpm_rigid_first_vjp(int item, const StepVjpArgs& a)
{
    NodeThread t;
    if (!node_thread(item, a, t)) return;
    R sums[6] = {};
    add_first_vjp(t.g, a.body, t.f.n.x, t.f.mass, t.f.v, cotangent_of(a, item), sums);
    add_all(sums, 6, t.g.work[a.body].gfirst);
}
DS_ITEM void mpm_rigid_solve_vjp(int world, const StepVjpArgs& a)
{
    solve_body_vjp(bodies_of(a, world, read_model(a.integers, a.reals)), a.body, a.step);
}
DS_ITEM void mpm_rigid_give_way_vjp(int item, const StepVjpArgs& a)
{
    NodeThread t;
    if (!node_thread(item, a, t)) return;
    R sums[6] = {};
    T* to = a.pull + size_t(4) * item;
    V3 gv = cotangent_of(a, item);
    give_way_vjp(t.g, a.body, t.f.n.x, t.f.mass, t.f.v, gv, to[3], sums);
    to[0] = gv.x, to[1] = gv.y, to[2] = gv.z;
    add_all(sums, 6, t.g.work[a.body].gplace);
}
DS_ITEM void mpm_rigid_momentum_vjp(int item, const StepVjpArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    const T* q = a.grid + size_t(4) * item;
    T* g = a.pull + size_t(4) * item;
    if (!(q[3] > m.empty)) return;
    V3 back = momentum_vjp({q[0], q[1], q[2]}, T(1) / q[3], cotangent_of(a, item), g[3]);
    g[0] = back.x, g[1] = back.y, g[2] = back.z;
}
DS_ITEM void mpm_rigid_start_vjp(int world, const StepVjpArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    Obstacles o = obstacles_of(a, world, (Sum*)a.pose_sums);
#if MPM_SHAPES
    if (a.gwrench_out) o.gimpulse = a.impulses + first_impulse(a, world);
#endif
    start_rigid_vjp(m, o, bodies_of(a, world, m));
}

}  // namespace ds
