// The backward pass of a control step on CUDA: the sub-steps once more, all states kept, and back.
#pragma once
#include "launches.h"

namespace ds {

// Not in a lost world. Where particles scatter, a sub-step done again may differ in the last bits, and a particle then be just
// off the grid.
DS_FN bool passes_back(const StepVjpArgs& a, const Thread& t, const Place& place) { return a.ok[t.world] && on_grid(t, place); }

DS_ITEM void mpm_begin_vjp(int item, const StepVjpArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    int all = all_particles(a, m), chosen = m.head[I_CHOSEN];
    begin_particle(item, a);
    Particles g = outside_particle(a.gx_out, a.gv_out, a.gC_out, a.gF_out, a.gh_out, item);
    put_particle(a.cotangents, all, item, g);
    int world = item / m.head[I_PARTICLES];
    if (item % m.head[I_PARTICLES]) return;
    for (int k = 0; k < chosen; k++) clear((Sum*)a.param_sums + size_t(world) * chosen + k);
    Motion w;
    begin_motion(a, world, m.head[I_SUBSTEPS], w);
    end_motion_vjp(a, world, m, w);
#if MPM_SHAPES
    for (int k = 0, numbers = 6 * w.chain.shapes.count; k < numbers; k++) a.impulses[world * numbers + k] = w.wrench[k];
    Sum* sums = (Sum*)a.pose_sums + size_t(24) * w.chain.shapes.count * world;
    for (int k = 0, numbers = 24 * w.chain.shapes.count; k < numbers; k++) clear(sums + k);
#endif
}
DS_ITEM void mpm_pose_again(int item, const StepVjpArgs& a) { pose_world(item, a); }
DS_ITEM void mpm_clear_again(int item, const StepVjpArgs& a) { clear_node(item, a, a.grid, a.pull); }
DS_ITEM void mpm_reserve_again(int item, const StepVjpArgs& a) { reserve_node(item, a); }
DS_ITEM void mpm_list_again(int item, const StepVjpArgs& a) { list_particle(lists_of(a), item, first_particle(item, a)); }
DS_ITEM void mpm_sort_again(int item, const StepVjpArgs& a) { sort_particle(lists_of(a), item, first_particle(item, a)); }
DS_ITEM void mpm_leave_again(int item, const StepVjpArgs& a) { leave_particle(item, a, a.stresses); }
DS_ITEM void mpm_grid_again(int item, const StepVjpArgs& a) { move_node(item, a, nullptr); }
DS_ITEM void mpm_move_again(int item, const StepVjpArgs& a) { move_particle(item, a); }
DS_ITEM void mpm_move_vjp(int item, const StepVjpArgs& a)
{
    Thread t = thread_of(item, a);
    Particles p = particle(state_at(a, t.all, a.sub), t.all, item);
    Particles next = particle(state_at(a, t.all, a.sub + 1), t.all, item);
    Particles g = particle(a.cotangents, t.all, item);
    Place place = place_of(p.x, t.m.inv_dx);
    if (!passes_back(a, t, place)) return;
    Star s = star(place, t.box);
    M3 A = g.C * (T(4) * t.m.inv_dx);
    Field field = field_of(g.v + g.x * t.m.dt, A, T(0), place.f);
    give(a, t, item, s, field, place.f, a.pull);
    V3 moved = slope(s, field, t.box, a.velocity + first_node(a, t)) - mul_t(A, next.v);
    g.x = g.x + moved * t.m.inv_dx;
    put_particle(a.cotangents, t.all, item, g);
}
DS_ITEM void mpm_grid_vjp(int item, const StepVjpArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    Box box = whole_grid(m);
    int nodes = Box::nodes(box), world = item / nodes;
    const T* q = a.grid + size_t(4) * item;
    T* g = taken(a, m, box, item, a.pull);
    if (!(q[3] > m.empty)) return;
    V3 back;
    Nodes n = nodes_at(m, box, item - world * nodes);
    Obstacles o = obstacles_of(a, world, (Sum*)a.pose_sums);
#if MPM_SHAPES
    if (a.gwrench_out) o.gimpulse = a.impulses + first_impulse(a, world);
#endif
    node_velocity_vjp(m, o, n, {q[0], q[1], q[2]}, q[3], {g[0], g[1], g[2]}, back, g[3]);
    g[0] = back.x, g[1] = back.y, g[2] = back.z;
}
DS_ITEM void mpm_leave_vjp(int item, const StepVjpArgs& a)
{
    Thread t = thread_of(item, a);
    Particles p = particle(state_at(a, t.all, a.sub), t.all, item), g = particle(a.cotangents, t.all, item);
    T mass = t.m.mass[t.local], volume = t.m.volume[t.local], numbers[9], gparams[DS_MOST_PARAMS], gh = T(0);
    for (int k = 0; k < 9; k++) numbers[k] = a.stresses[size_t(k) * t.all + item];
    for (int k = 0; k < DS_MOST_PARAMS; k++) gparams[k] = T(0);
    Place place = place_of(p.x, t.m.inv_dx);
    if (!passes_back(a, t, place)) return;
    Star s = star(place, t.box);
    M3 A = momentum_gradient(t.m, mass, volume, p.C, from_rows(numbers)), gA, gtrial, gF, F = trial(t.m.dt, p.C, p.F);
    Field field = field_of(p.v * mass, A, mass, place.f);
    const T* pull = a.pull + first_node(a, t);
    V3 gp, moved = slope(s, field, t.box, pull);
    gather(s, place.f, t.box, pull, gp, gA);
    M3 gtau = gA * (volume * (T(-4) * t.m.dt * t.m.inv_dx)), gC = gA * (mass * t.m.dx);
    switch (t.body.material) {
#define CASE(number, Material, ...) \
    case number: Material::stress_vjp(t.params, p.C, F, p.h, g.F, g.h, gtau, gC, gtrial, gh, gparams); break;
        DS_MATERIALS(CASE)
#undef CASE
    }
    trial_vjp(t.m.dt, p.C, p.F, gtrial, gC, gF);
    put_particle(a.cotangents, t.all, item, {g.x + (moved - mul_t(A, gp)) * t.m.inv_dx, gp * mass, gC, gF, gh});
    for (int k = 0, chosen = t.m.head[I_CHOSEN]; k < chosen; k++) {
        int own = t.m.chosen[k] - t.body.param;
        if (own >= 0 && own < DS_MOST_PARAMS) add_to((Sum*)a.param_sums + size_t(t.world) * chosen + k, gparams[own]);
    }
}
// one number of a pose's cotangents, summed up in a sub-step
DS_ITEM void mpm_poses_vjp(int item, const StepVjpArgs& a)
{
    Sum* sum = (Sum*)a.pose_sums + item;
    a.gposes[item] = total(*sum);
    clear(sum);
}
// passes a world's cotangents of its poses on to its joints
DS_ITEM void mpm_joints_vjp(int world, const StepVjpArgs& a)
{
#if MPM_SHAPES
    Model m = read_model(a.integers, a.reals);
    Motion w;
    begin_motion(a, world, m.head[I_SUBSTEPS], w);
    int numbers = 12 * w.chain.shapes.count;
    const T* g = a.gposes + size_t(2) * world * numbers;
    for (int end = 0; end < 2; end++)
        for (int k = 0; k < numbers; k++) w.gpose[end][k] = g[end * numbers + k];
    obstacles_vjp(a, world, a.sub, w);
#endif
}
DS_ITEM void mpm_end_vjp(int item, const StepVjpArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    int all = all_particles(a, m), world = item / m.head[I_PARTICLES], chosen = m.head[I_CHOSEN];
    bool ok = a.ok[world] != 0;
    Particles g = {zero3(), zero3(), zero33(), zero33(), T(0)};
    if (ok) g = particle(a.cotangents, all, item);
    to_outside(g, a.gx, a.gv, a.gC, a.gF, a.gh, item);
    if (item % m.head[I_PARTICLES]) return;
    for (int k = 0; k < chosen; k++)
        a.gparams[size_t(world) * chosen + k] = ok ? total(((const Sum*)a.param_sums)[size_t(world) * chosen + k]) : T(0);
    if (ok) return;
    Motion w;
    begin_motion(a, world, m.head[I_SUBSTEPS], w);
    no_motion(a, world, w);
}

}  // namespace ds
