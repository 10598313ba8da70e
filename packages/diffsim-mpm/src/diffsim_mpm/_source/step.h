// A control step of a world, all its sub-steps at once, and its vector-Jacobian product; `_kernels.py` lists what they are
// handed. The derivation of the adjoint is in docs/development/mpm-adjoint.md.
#pragma once
#include "blocks.h"

namespace ds {

// A world at work, and a worker's memory for it.
struct Work {
    Model m;
    T params[MPM_MAX_PARAMS];
    Motion motion;
    Particles* states;  // the current one, or in the backward pass those of all sub-steps
    T *grid, *velocity;
};
template <class Args> DS_FN void begin(int world, const Args& a, Work& w)
{
    w.m = read_model(a.integers, a.reals);
    parameters(w.m, a.params, world, w.params);
    w.states = (Particles*)a.states;
    w.grid = a.grid;
    w.velocity = a.velocity;
    load_particles(w.m, rows<const T>(a.x, a.v, a.C, a.F, a.h, w.m, world), true, w.states);
    begin_motion(a, world, w.m.head[I_SUBSTEPS], w.motion);
}

// The box of sub-step k and the shapes near it; false if a particle has left the grid.
DS_ENTRY bool look(Work& w, int k, const Particles* now, Box& box, Obstacles& o)
{
    if (!active_box(w.m, now, box)) return false;
    T low[3], high[3];
    for (int i = 0; i < 3; i++) {
        low[i] = T(box.first[i]) * w.m.dx;
        high[i] = T(box.first[i] + box.count[i]) * w.m.dx;
    }
    o = obstacles(w.motion, k, low, high);
    return true;
}
// particles to grid and its velocities
DS_ENTRY void to_grid(const Work& w, const Particles* now, Particles* next, M3* tau, const Box& box, const Obstacles& o,
                      T* grid, T* velocity)
{
    const Model& m = w.m;
    clear(box, grid);
    for (int i = 0; i < m.head[I_BODIES]; i++) {
        Body body = body_at(m, i);
        switch (body.material) {
#define CASE(number, Material, ...) \
    case number: leave<Material>(m, body, w.params, now, box, grid, next, tau); break;
            DS_MATERIALS(CASE)
#undef CASE
        }
    }
    grid_velocity(m, o, box, grid, velocity);
}

// whether all numbers are within the limit; copies have the numbers of their particle
DS_FN bool within_limit(const Model& m, const Particles* p)
{
    R bad = R{}, zero = R{}, one = splat(T(1));
    for (int b = 0; b < m.head[I_BLOCKS]; b++) {
        const R* numbers = (const R*)(p + b);
        for (int k = 0; k < int(sizeof(Particles) / sizeof(R)); k++) bad = bad + select(abs_(numbers[k]) <= splat(most(m, k)), zero, one);
    }
    return !any(bad > zero);
}

DS_ITEM void mpm_step(int world, const StepArgs& a)
{
    Work w;
    begin(world, a, w);
    const Model& m = w.m;
    Box box;
    Obstacles o;
    bool ok = joints_within(w.motion, m.limit);
    for (int k = 0; k < m.head[I_SUBSTEPS] && ok; k++) {
        ok = look(w, k, w.states, box, o);
        if (!ok) break;
        if (a.wrench_out) count_impulses(w.motion, o);
        to_grid(w, w.states, w.states, nullptr, box, o, w.grid, w.velocity);
        move(m, w.states, box, w.velocity, w.states);
    }
    ok = ok && within_limit(m, w.states) && active_box(m, w.states, box);
    a.ok[world] = ok;
    if (!ok) load_particles(m, rows<const T>(a.x, a.v, a.C, a.F, a.h, m, world), true, w.states);
    store_particles(m, w.states, rows<T>(a.x_out, a.v_out, a.C_out, a.F_out, a.h_out, m, world));
    end_motion(a, world, m, ok, w.motion);
}

// Writes the cotangents: those of the particles in g, of parameters lane by lane. A diverged world passes on none.
template <class Args> DS_FN void write_back(int world, const Args& a, const Model& m, bool ok, Particles* g, const R* gparams)
{
    if (!ok)
        for (int b = 0; b < m.head[I_BLOCKS]; b++) g[b] = {zero3(), zero3(), zero33(), zero33(), R{}};
    store_particles(m, g, rows<T>(a.gx, a.gv, a.gC, a.gF, a.gh, m, world));
    for (int i = 0; i < m.head[I_CHOSEN]; i++) {
        T sum = T(0);
        for (int l = 0; l < DS_LANES; l++) sum += get(gparams[m.chosen[i]], l);
        a.gparams[size_t(world) * m.head[I_CHOSEN] + i] = ok ? sum : T(0);
    }
}

// Grids of the first sub-steps, one after the other, as far as the room goes; the others are made again.
struct Kept {
    T *top, *end;
    int steps;
};
DS_FN size_t grid_numbers(const Box& box) { return size_t(4) * (Box::nodes(box) + 2 * DS_LANES); }

// Forward again: all states, and what the way back needs.
template <class Args> DS_ENTRY bool again(Work& w, const Args& a, Kept& kept)
{
    int blocks = w.m.head[I_BLOCKS];
    for (int k = 0; k < w.m.head[I_SUBSTEPS]; k++) {
        Particles *now = w.states + k * blocks, *next = now + blocks;
        Box box;
        Obstacles o;
        if (!look(w, k, now, box, o)) return false;
        size_t numbers = grid_numbers(box);
        bool fits = kept.steps == k && size_t(kept.end - kept.top) >= 2 * numbers;
        T *grid = fits ? kept.top : w.grid, *velocity = fits ? kept.top + numbers : w.velocity;
        to_grid(w, now, next, (M3*)a.stresses + k * blocks, box, o, grid, velocity);
        move(w.m, now, box, velocity, next);
        if (!fits) continue;
        kept.top += 2 * numbers;
        kept.steps++;
    }
    return true;
}

DS_ITEM void mpm_step_vjp(int world, const StepVjpArgs& a)
{
    Work w;
    begin(world, a, w);
    const Model& m = w.m;
    int blocks = m.head[I_BLOCKS];
    Particles* g = (Particles*)a.cotangents;
    R gparams[MPM_MAX_PARAMS];
    for (int i = 0; i < m.head[I_PARAMS]; i++) gparams[i] = R{};
    load_particles(m, rows<const T>(a.gx_out, a.gv_out, a.gC_out, a.gF_out, a.gh_out, m, world), false, g);
    end_motion_vjp(a, world, m, w.motion);
    Kept kept = {a.kept, a.kept + m.head[I_KEPT], 0};
    bool ok = a.ok[world] != 0 && again(w, a, kept);
    for (int k = m.head[I_SUBSTEPS] - 1; k >= 0 && ok; k--) {
        Particles *now = w.states + k * blocks, *next = now + blocks;
        const M3* tau = (const M3*)a.stresses + k * blocks;
        T *grid = w.grid, *velocity = w.velocity;
        Box box;
        Obstacles o;
        look(w, k, now, box, o);
        if (k < kept.steps) {
            size_t numbers = grid_numbers(box);
            grid = kept.top -= 2 * numbers;
            velocity = grid + numbers;
        } else {
            to_grid(w, now, next, nullptr, box, o, grid, velocity);
        }
        clear(box, a.pull);
        move_vjp(m, now, next, box, velocity, a.pull, g);
        pull_impulses(w.motion, a.gwrench_out != nullptr, o);
        grid_velocity_vjp(m, o, box, grid, a.pull);
        for (int i = 0; i < m.head[I_BODIES]; i++) {
            Body body = body_at(m, i);
            switch (body.material) {
#define CASE(number, Material, ...) \
    case number: leave_vjp<Material>(m, body, w.params, now, tau, box, a.pull, g, gparams); break;
                DS_MATERIALS(CASE)
#undef CASE
            }
        }
        obstacles_vjp(a, world, k, w.motion);
    }
    write_back(world, a, m, ok, g, gparams);
    if (!ok) no_motion(a, world, w.motion);
}

}  // namespace ds
