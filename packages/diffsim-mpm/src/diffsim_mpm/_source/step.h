// A control step of a world, all its sub-steps at once, and its vector-Jacobian product; `_kernels.py` lists what they are
// handed. The derivation of the adjoint is in docs/development/mpm-adjoint.md.
#pragma once
#include "particles.h"

namespace ds {

#define MPM_CASE(number, name, ...) \
    case number: __VA_ARGS__(name) break;

// A world at work, and a worker's memory for it. `Args` are the arguments of either function.
struct Work {
    Model m;
    T params[MPM_MAX_PARAMS];
    Particles* states;  // one, or those of all sub-steps
    T *grid, *velocity;
};
template <class Args> DS_FN void begin(int world, const Args& a, Work& w)
{
    w.m = read_model(a.integers, a.reals);
    parameters(w.m, a.params, world, w.params);
    w.states = (Particles*)a.states;
    w.grid = a.grid;
    w.velocity = a.velocity;
    size_t first = size_t(world) * w.m.head[I_PARTICLES];
    load_particles(w.m, rows<const T>(a.x, a.v, a.C, a.F, a.h, first), true, w.states);
}

// particles to grid, and its velocities; false if a particle has left the grid
DS_ENTRY bool to_grid(const Work& w, const Obstacles& o, const Particles* now, Particles* next, M3* tau, Box& box)
{
    if (!active_box(w.m, now, box)) return false;
    clear(box, w.grid);
    for (int i = 0; i < w.m.head[I_BODIES]; i++) {
        Body body = body_at(w.m, i);
#define MPM_LEAVE(Material) leave<Material>(w.m, body, w.params, now, box, w.grid, next, tau);
        switch (body.material) { MPM_MATERIALS(MPM_CASE, MPM_LEAVE) }
    }
    grid_velocity(w.m, o, box, w.grid, w.velocity);
    return true;
}

DS_FN bool finite(const Model& m, const Particles* p)
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
    bool ok = true;
    for (int k = 0; k < m.head[I_SUBSTEPS] && ok; k++) {
        Obstacles o;
        Box box;
        ok = to_grid(w, o, w.states, w.states, nullptr, box);
        if (ok) move(m, w.states, box, w.velocity, w.states);
    }
    Box box;
    ok = ok && finite(m, w.states) && active_box(m, w.states, box);
    a.ok[world] = ok;
    size_t first = size_t(world) * m.head[I_PARTICLES];
    if (!ok) load_particles(m, rows<const T>(a.x, a.v, a.C, a.F, a.h, first), true, w.states);
    store_particles(m, w.states, rows<T>(a.x_out, a.v_out, a.C_out, a.F_out, a.h_out, first));
}

DS_ITEM void mpm_step_vjp(int world, const StepVjpArgs& a)
{
    Work w;
    begin(world, a, w);
    const Model& m = w.m;
    int blocks = m.head[I_BLOCKS], steps = m.head[I_SUBSTEPS];
    Particles* g = (Particles*)a.cotangents;
    M3* tau = (M3*)a.stresses;
    size_t first = size_t(world) * m.head[I_PARTICLES];
    bool ok = a.ok[world] != 0;
    load_particles(m, rows<const T>(a.gx_out, a.gv_out, a.gC_out, a.gF_out, a.gh_out, first), false, g);
    R gparams[MPM_MAX_PARAMS];
    for (int i = 0; i < m.head[I_PARAMS]; i++) gparams[i] = R{};
    Box box;
    for (int k = 0; k < steps && ok; k++) {
        Obstacles o;
        Particles* now = w.states + k * blocks;
        ok = to_grid(w, o, now, now + blocks, nullptr, box);
        if (ok) move(m, now, box, w.velocity, now + blocks);
    }
    for (int k = steps - 1; k >= 0 && ok; k--) {
        Obstacles o;
        Particles *now = w.states + k * blocks, *next = now + blocks;
        to_grid(w, o, now, next, tau, box);
        clear(box, a.pull);
        move_vjp(m, now, next, box, w.velocity, a.pull, g);
        grid_velocity_vjp(m, o, box, w.grid, a.pull);
        for (int i = 0; i < m.head[I_BODIES]; i++) {
            Body body = body_at(m, i);
#define MPM_LEAVE_VJP(Material) leave_vjp<Material>(m, body, w.params, now, tau, box, a.pull, g, gparams);
            switch (body.material) { MPM_MATERIALS(MPM_CASE, MPM_LEAVE_VJP) }
        }
    }
    if (!ok) {
        T* all = (T*)g;
        for (size_t i = 0; i < blocks * sizeof(Particles) / sizeof(T); i++) all[i] = T(0);
    }
    store_particles(m, g, rows<T>(a.gx, a.gv, a.gC, a.gF, a.gh, first));
    for (int i = 0; i < m.head[I_CHOSEN]; i++) {
        T sum = T(0);
        for (int l = 0; l < DS_LANES; l++) sum += get(gparams[m.chosen[i]], l);
        a.gparams[size_t(world) * m.head[I_CHOSEN] + i] = ok ? sum : T(0);
    }
}

}  // namespace ds
