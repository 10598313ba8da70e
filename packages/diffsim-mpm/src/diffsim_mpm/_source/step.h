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

// Particles to grid and its velocities in sub-step k; false if a particle has left the grid. `counts`: impulses on shapes.
DS_ENTRY bool to_grid(Work& w, int k, const Particles* now, Particles* next, M3* tau, bool counts, Box& box, Obstacles& o)
{
    const Model& m = w.m;
    if (!active_box(m, now, box)) return false;
    T low[3], high[3];
    for (int i = 0; i < 3; i++) {
        low[i] = T(box.first[i]) * m.dx;
        high[i] = T(box.first[i] + box.count[i]) * m.dx;
    }
    o = obstacles(w.motion, k, low, high);
    if (counts) count_impulses(w.motion, o);
    clear(box, w.grid);
    for (int i = 0; i < m.head[I_BODIES]; i++) {
        Body body = body_at(m, i);
        switch (body.material) {
#define CASE(number, Material, ...) \
    case number: leave<Material>(m, body, w.params, now, box, w.grid, next, tau); break;
            DS_MATERIALS(CASE)
#undef CASE
        }
    }
    grid_velocity(m, o, box, w.grid, w.velocity);
    return true;
}

// whether all numbers are within the limit; copies have the numbers of their particle
DS_FN bool within_limit(const Model& m, const Particles* p)
{
    R bad = R{}, zero = R{}, one = splat(T(1)), limit = splat(m.limit);
    for (int b = 0; b < m.head[I_BLOCKS]; b++) {
        const R* numbers = (const R*)(p + b);
        for (int k = 0; k < int(sizeof(Particles) / sizeof(R)); k++) bad = bad + select(abs_(numbers[k]) <= limit, zero, one);
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
    bool ok = true;
    for (int k = 0; k < m.head[I_SUBSTEPS] && ok; k++) {
        ok = to_grid(w, k, w.states, w.states, nullptr, a.wrench_out != nullptr, box, o);
        if (ok) move(m, w.states, box, w.velocity, w.states);
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

DS_ITEM void mpm_step_vjp(int world, const StepVjpArgs& a)
{
    Work w;
    begin(world, a, w);
    const Model& m = w.m;
    int blocks = m.head[I_BLOCKS], steps = m.head[I_SUBSTEPS];
    Particles* g = (Particles*)a.cotangents;
    M3* tau = (M3*)a.stresses;
    R gparams[MPM_MAX_PARAMS];
    for (int i = 0; i < m.head[I_PARAMS]; i++) gparams[i] = R{};
    load_particles(m, rows<const T>(a.gx_out, a.gv_out, a.gC_out, a.gF_out, a.gh_out, m, world), false, g);
    Box box;
    Obstacles o;
    bool ok = a.ok[world] != 0;
    end_motion_vjp(a, world, m, w.motion);
    for (int k = 0; k < steps - 1 && ok; k++) {
        Particles* now = w.states + k * blocks;
        ok = to_grid(w, k, now, now + blocks, nullptr, false, box, o);
        if (ok) move(m, now, box, w.velocity, now + blocks);
    }
    for (int k = steps - 1; k >= 0 && ok; k--) {
        Particles *now = w.states + k * blocks, *next = now + blocks;
        ok = to_grid(w, k, now, next, tau, false, box, o);
        if (!ok) break;
        if (k == steps - 1) move(m, now, box, w.velocity, next);
        clear(box, a.pull);
        move_vjp(m, now, next, box, w.velocity, a.pull, g);
        pull_impulses(w.motion, a.gwrench_out != nullptr, o);
        grid_velocity_vjp(m, o, box, w.grid, a.pull);
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
