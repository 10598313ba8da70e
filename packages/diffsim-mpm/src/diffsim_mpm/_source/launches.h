// A control step on CUDA: a launch for each stage of each sub-step, over the particles or the grid nodes of all worlds. Grids
// are whole, one a world. `sub` is the number of the sub-step. States in `states`: [sub-step][number][N n]. Particles are listed
// by cells and nodes gather from them, or, where there is no room for lists, particles scatter to nodes.
#pragma once
#include "lists.h"
#include "particles.h"
#include "sums.h"

namespace ds {

DS_FN Box whole_grid(const Model& m)
{
    const int* cells = m.head + I_CELLS;
    return {{0, 0, 0}, {cells[0] + 1, cells[1] + 1, cells[2] + 1}};
}
template <class Args> DS_FN int all_particles(const Args& a, const Model& m) { return a.num_worlds * m.head[I_PARTICLES]; }

enum { NUMBERS = sizeof(Particles) / sizeof(T), MOTION = 15 };  // of a particle, and those of x, v and C, which are first
DS_FN Particles particle(const T* from, int all, int item)
{
    Particles p;
    T* to = (T*)&p;
    for (int k = 0; k < NUMBERS; k++) to[k] = from[size_t(k) * all + item];
    return p;
}
DS_FN void put_particle(T* to, int all, int item, const Particles& p, int first = 0, int end = NUMBERS)
{
    const T* from = (const T*)&p;
    for (int k = first; k < end; k++) to[size_t(k) * all + item] = from[k];
}
// a particle of arrays from outside
DS_FN Particles outside_particle(const T* x, const T* v, const T* C, const T* F, const T* h, size_t i)
{
    x += 3 * i, v += 3 * i, C += 9 * i, F += 9 * i;
    return {{x[0], x[1], x[2]}, {v[0], v[1], v[2]}, from_rows(C), from_rows(F), h ? h[i] : T(0)};
}
DS_FN void to_outside(const Particles& p, T* x, T* v, T* C, T* F, T* h, size_t i)
{
    x[3 * i] = p.x.x, x[3 * i + 1] = p.x.y, x[3 * i + 2] = p.x.z;
    v[3 * i] = p.v.x, v[3 * i + 1] = p.v.y, v[3 * i + 2] = p.v.z;
    to_rows(p.C, C + 9 * i);
    to_rows(p.F, F + 9 * i);
    if (h) h[i] = p.h;
}
template <class Args> DS_FN T* state_at(const Args& a, int all, int sub)
{
    return a.states + size_t(a.keep ? sub : 0) * NUMBERS * all;
}

// A particle at work: its numbers, its body, and the materials' parameters in its world.
struct Thread {
    Model m;
    Box box;
    int all, world, local;
    Body body;
    T params[DS_MOST_PARAMS], *grid;
};
template <class Args> DS_FN Thread thread_of(int item, const Args& a)
{
    Thread t;
    t.m = read_model(a.integers, a.reals);
    t.box = whole_grid(t.m);
    int n = t.m.head[I_PARTICLES], chosen = t.m.head[I_CHOSEN], i = 0;
    t.all = a.num_worlds * n;
    t.world = item / n;
    t.local = item % n;
    while (t.local >= body_at(t.m, i).first + body_at(t.m, i).count) i++;
    t.body = body_at(t.m, i);
    int last = t.m.head[I_PARAMS] - t.body.param;
    for (int k = 0; k < DS_MOST_PARAMS && k < last; k++) t.params[k] = t.m.params[t.body.param + k];
    for (int k = 0; k < chosen; k++) {
        int own = t.m.chosen[k] - t.body.param;
        if (own >= 0 && own < DS_MOST_PARAMS) t.params[own] = a.params[size_t(t.world) * chosen + k];
    }
    return t;
}
template <class Args> DS_FN int first_cell(const Args& a, const Thread& t) { return Box::nodes(t.box) * t.world; }
template <class Args> DS_FN size_t first_node(const Args& a, const Thread& t) { return size_t(4) * first_cell(a, t); }
// what a particle adds to its nodes: for them to gather, or scattered at once
template <class Args> DS_FN void give(const Args& a, const Thread& t, int item, const Star& s, const Field& field, V3 f, T* grid)
{
    if (a.fields)
        put_field(a.fields + size_t(FIELD) * item, field, f);
    else
        scatter(s, field, t.box, grid + first_node(a, t));
}
// the four numbers of a node: what its particles give
template <class Args> DS_FN T* taken(const Args& a, const Model& m, const Box& box, int item, T* grid)
{
    T* numbers = grid + size_t(4) * item;
    if (!a.fields) return numbers;
    int nodes = Box::nodes(box), world = item / nodes, node = item - world * nodes, row = node / box.count[2];
    int x = row / box.count[1], y = row - x * box.count[1], z = node - row * box.count[2];
    add_fields(lists_of(a), box, item, x, y, z, world * m.head[I_PARTICLES], numbers);
    return numbers;
}
// whether a particle's stencil is on the grid; a number that is none is not
DS_FN bool on_grid(const Thread& t, const Place& p)
{
    const int* c = t.m.head + I_CELLS;
    bool x = p.base.x >= T(0) && p.base.x <= T(c[0] - 2), y = p.base.y >= T(0) && p.base.y <= T(c[1] - 2);
    return x && y && p.base.z >= T(0) && p.base.z <= T(c[2] - 2);
}

// Stages, of which the backward pass has the same again -----------------------------------------------------------------

template <class Args> DS_FN void begin_particle(int item, const Args& a)
{
    Model m = read_model(a.integers, a.reals);
    Particles p = outside_particle(a.x, a.v, a.C, a.F, a.h, item);
    put_particle(state_at(a, all_particles(a, m), 0), all_particles(a, m), item, p);
}
template <class Args> DS_FN void leave_particle(int item, const Args& a, T* tau_to)
{
    Thread t = thread_of(item, a);
    Particles p = particle(state_at(a, t.all, a.sub), t.all, item);
    Place place = place_of(p.x, t.m.inv_dx);
    bool within = on_grid(t, place);
    Star s = star(place, t.box);
    if (a.fields) count_particle(lists_of(a), item, within ? first_cell(a, t) + s.at / 4 : -1);
    if (!within) return;  // found at the end, and the world is lost
    M3 F = trial(t.m.dt, p.C, p.F), tau;
    T h = p.h, mass = t.m.mass[t.local], volume = t.m.volume[t.local];
    switch (t.body.material) {
#define CASE(number, Material, ...) \
    case number: Material::stress(t.params, p.C, F, h, tau); break;
        DS_MATERIALS(CASE)
#undef CASE
    }
    Field field = field_of(p.v * mass, momentum_gradient(t.m, mass, volume, p.C, tau), mass, place.f);
    give(a, t, item, s, field, place.f, a.grid);
    T numbers[9];
    p.F = F;
    p.h = h;
    put_particle(state_at(a, t.all, a.sub + 1), t.all, item, p, MOTION);
    if (!tau_to) return;
    to_rows(tau, numbers);
    for (int k = 0; k < 9; k++) tau_to[size_t(k) * t.all + item] = numbers[k];
}
#if MPM_SHAPES
template <class Args> DS_FN Obstacles obstacles_of(const Args& a, int world, Sum* gposes)
{
    Shapes s = read_chain(a.chain_integers, a.chain_reals).shapes;
    size_t one = size_t(12) * s.count, now = (size_t(a.sub) * a.num_worlds + world) * one, next = now + a.num_worlds * one;
    Sum* g = gposes ? gposes + size_t(2) * world * one : nullptr;
    return {s, a.poses + now, a.poses + next, g, g ? g + one : nullptr, nullptr, nullptr};
}
template <class Args> DS_FN size_t first_impulse(const Args& a, int world) { return size_t(6) * a.chain_integers[1] * world; }
// of world item % N at the beginning of sub-step item / N
template <class Args> DS_FN void pose_world(int item, const Args& a)
{
    Model m = read_model(a.integers, a.reals);
    Motion w;
    begin_motion(a, item % a.num_worlds, m.head[I_SUBSTEPS], w);
    T q[DS_MAX_JOINTS];
    joints_at(w.chain, w.q, w.u, T(item / a.num_worlds) * w.share, q);
    chain_poses(w.chain, q, a.poses + size_t(12) * w.chain.shapes.count * item);
}
#else
template <class Args> DS_FN Obstacles obstacles_of(const Args&, int, Sum*) { return {}; }
template <class Args> DS_FN void pose_world(int, const Args&) {}
#endif
// `impulses`: on the shapes of all worlds, or null
template <class Args> DS_FN void move_node(int item, const Args& a, Sum* impulses)
{
    Model m = read_model(a.integers, a.reals);
    Box box = whole_grid(m);
    int nodes = Box::nodes(box), world = item / nodes;
    const T* q = taken(a, m, box, item, a.grid);
    T* v = a.velocity + size_t(4) * item;
    V3 u = zero3();
    if (q[3] > m.empty) {
        Obstacles o = obstacles_of(a, world, nullptr);
#if MPM_SHAPES
        if (impulses) o.impulse = impulses + first_impulse(a, world);
#endif
        u = node_velocity(m, o, nodes_at(m, box, item - world * nodes), {q[0], q[1], q[2]}, q[3]);
    }
    v[0] = u.x, v[1] = u.y, v[2] = u.z, v[3] = T(0);
}
template <class Args> DS_FN void move_particle(int item, const Args& a)
{
    Thread t = thread_of(item, a);
    Particles p = particle(state_at(a, t.all, a.sub), t.all, item);
    Place place = place_of(p.x, t.m.inv_dx);
    if (!on_grid(t, place)) return;
    M3 moment;
    gather(star(place, t.box), place.f, t.box, a.velocity + first_node(a, t), p.v, moment);
    p.x = p.x + p.v * t.m.dt;
    p.C = moment * (T(4) * t.m.inv_dx);
    put_particle(state_at(a, t.all, a.sub + 1), t.all, item, p, 0, MOTION);
}
// before particles give anything: the counts of the cells, or the nodes of both grids
template <class Args> DS_FN void clear_node(int item, const Args& a, T* grid, T* pull)
{
    if (a.fields) {
        Model m = read_model(a.integers, a.reals);
        return clear_cell(lists_of(a), item, Box::nodes(whole_grid(m)));
    }
    for (int k = 0; k < 4; k++) grid[size_t(4) * item + k] = T(0);
    for (int k = 0; k < 4 && pull; k++) pull[size_t(4) * item + k] = T(0);
}
template <class Args> DS_FN void reserve_node(int item, const Args& a)
{
    Model m = read_model(a.integers, a.reals);
    reserve_cell(lists_of(a), item, Box::nodes(whole_grid(m)));
}
template <class Args> DS_FN int first_particle(int item, const Args& a)
{
    int n = read_model(a.integers, a.reals).head[I_PARTICLES];
    return item / n * n;
}

DS_ITEM void mpm_begin(int item, const StepArgs& a)
{
    begin_particle(item, a);
    if (item >= a.num_worlds) return;
    Model m = read_model(a.integers, a.reals);
    Motion w;
    begin_motion(a, item, m.head[I_SUBSTEPS], w);
    a.ok[item] = joints_within(w, m.limit);
#if MPM_SHAPES
    for (int k = 0, numbers = 6 * w.chain.shapes.count; k < numbers; k++) clear((Sum*)a.felt + item * numbers + k);
#endif
}
DS_ITEM void mpm_pose(int item, const StepArgs& a) { pose_world(item, a); }
DS_ITEM void mpm_clear(int item, const StepArgs& a) { clear_node(item, a, a.grid, (T*)nullptr); }
DS_ITEM void mpm_leave(int item, const StepArgs& a) { leave_particle(item, a, nullptr); }
DS_ITEM void mpm_reserve(int item, const StepArgs& a) { reserve_node(item, a); }
DS_ITEM void mpm_list(int item, const StepArgs& a) { list_particle(lists_of(a), item, first_particle(item, a)); }
DS_ITEM void mpm_sort(int item, const StepArgs& a) { sort_particle(lists_of(a), item, first_particle(item, a)); }
DS_ITEM void mpm_grid(int item, const StepArgs& a) { move_node(item, a, a.wrench_out ? (Sum*)a.felt : nullptr); }
DS_ITEM void mpm_move(int item, const StepArgs& a) { move_particle(item, a); }
DS_ITEM void mpm_check(int item, const StepArgs& a)
{
    Thread t = thread_of(item, a);
    Particles p = particle(state_at(a, t.all, 0), t.all, item);
    bool good = on_grid(t, place_of(p.x, t.m.inv_dx));
    const T* numbers = (const T*)&p;
    for (int k = 0; k < NUMBERS; k++) good = good && abs_(numbers[k]) <= most(t.m, k);
    if (!good) a.ok[t.world] = 0;
}
DS_ITEM void mpm_end(int item, const StepArgs& a)
{
    Model m = read_model(a.integers, a.reals);
    int all = all_particles(a, m), world = item / m.head[I_PARTICLES];
    Particles p = particle(state_at(a, all, 0), all, item);
    if (!a.ok[world]) p = outside_particle(a.x, a.v, a.C, a.F, a.h, item);
    to_outside(p, a.x_out, a.v_out, a.C_out, a.F_out, a.h_out, item);
    if (item % m.head[I_PARTICLES]) return;
    Motion w;
    begin_motion(a, world, m.head[I_SUBSTEPS], w);
#if MPM_SHAPES
    int numbers = a.wrench_out ? 6 * w.chain.shapes.count : 0;
    for (int k = 0; k < numbers; k++) w.wrench[k] = total(((const Sum*)a.felt)[world * numbers + k]);
#endif
    end_motion(a, world, m, a.ok[world] != 0, w);
}

}  // namespace ds
