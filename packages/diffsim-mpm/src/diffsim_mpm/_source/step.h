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
#if MPM_SHAPES
    begin_motion(a.chain_integers, a.chain_reals, a.q, a.u, world, w.m.head[I_SUBSTEPS], w.motion);
#endif
}

// Particles to grid and its velocities in sub-step k; false if a particle has left the grid.
DS_ENTRY bool to_grid(Work& w, int k, const Particles* now, Particles* next, M3* tau, Box& box, Obstacles& o)
{
    const Model& m = w.m;
    if (!active_box(m, now, box)) return false;
    T low[3], high[3];
    for (int i = 0; i < 3; i++) {
        low[i] = T(box.first[i]) * m.dx;
        high[i] = T(box.first[i] + box.count[i]) * m.dx;
    }
    o = obstacles(w.motion, k, low, high);
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
        ok = to_grid(w, k, w.states, w.states, nullptr, box, o);
        if (ok) move(m, w.states, box, w.velocity, w.states);
    }
    ok = ok && within_limit(m, w.states) && active_box(m, w.states, box);
#if MPM_SHAPES
    ok = ok && joints_within(w.motion, m.limit);
#endif
    a.ok[world] = ok;
    if (!ok) load_particles(m, rows<const T>(a.x, a.v, a.C, a.F, a.h, m, world), true, w.states);
    store_particles(m, w.states, rows<T>(a.x_out, a.v_out, a.C_out, a.F_out, a.h_out, m, world));
#if MPM_SHAPES
    end_motion(w.motion, ok, a.q_out + size_t(world) * w.motion.chain.joints);
#endif
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
#if MPM_SHAPES
    size_t joints = w.motion.chain.joints;
    T *gq = a.gq + world * joints, *gu = a.gu + world * joints;
    end_motion_vjp(w.motion, a.gq_out + world * joints, gq, gu);
#endif
    for (int k = 0; k < steps - 1 && ok; k++) {
        Particles* now = w.states + k * blocks;
        ok = to_grid(w, k, now, now + blocks, nullptr, box, o);
        if (ok) move(m, now, box, w.velocity, now + blocks);
    }
    for (int k = steps - 1; k >= 0 && ok; k--) {
        Particles *now = w.states + k * blocks, *next = now + blocks;
        ok = to_grid(w, k, now, next, tau, box, o);
        if (k == steps - 1 && ok) move(m, now, box, w.velocity, next);
        clear(box, a.pull);
        move_vjp(m, now, next, box, w.velocity, a.pull, g);
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
#if MPM_SHAPES
        obstacles_vjp(w.motion, k, gq, gu);
#endif
    }
    write_back(world, a, m, ok, g, gparams);
#if MPM_SHAPES
    for (size_t j = 0; j < joints && !ok; j++) gq[j] = gu[j] = T(0);
#endif
}

}  // namespace ds
