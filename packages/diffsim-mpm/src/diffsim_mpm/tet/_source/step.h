// One control step of a block of worlds, all sub-steps inside, and its vector-Jacobian product: what is launched.
// tet/_kernels.py lists the arguments.
#pragma once
#include "contact.h"
#include "element.h"

namespace ds {

// What does not change in a control step.
struct Inputs {
    Field u, ends, ends_v;
    Scales k;
    Mask sound;
};
DS_FN int input_numbers(const Model& m) { return m.controls + 12 * m.capsules; }
template <class Args> DS_FN Inputs inputs(const Model& m, const Block& b, const Args& args, const Field& room)
{
    Inputs in;
    in.u = room;
    in.ends = after(in.u, m.controls);
    in.ends_v = after(in.ends, 6 * m.capsules);
    load(b, args.u, m.controls, in.u);
    load(b, args.ends, 6 * m.capsules, in.ends);
    load(b, args.ends_v, 6 * m.capsules, in.ends_v);
    in.k = {load1(b, args.k_mu), load1(b, args.k_lambda), load1(b, args.density)};
    // a capsule that is nowhere would touch nothing, unnoticed
    in.sound = bounded(room, input_numbers(m), T(DS_HUGE)) & sound(in.k.mu) & sound(in.k.lambda) & sound(in.k.density);
    return in;
}
// Semi-implicit Euler: v' = v + dt (f/m + g), x' = x + dt v'. The results may go where x and v are; f is left filled.
DS_FN void substep(const Model& m, const Inputs& in, T time, T dt, const Field& x, const Field& v, const Field& f,
                   const Field& x_out, const Field& v_out)
{
    clear(f, 3 * m.nodes);
    for (int t = 0; t < m.tets; t++) {
        const int* node = m.tet + t * EI_COLUMNS;
        element(x, v, node, m.element + t * E_COLUMNS, activation(in.u, node), in.k, f);
    }
    Capsules capsules = {in.ends, in.ends_v, time};
    V3 g = {splat(m.c[C_GRAVITY]), splat(m.c[C_GRAVITY + 1]), splat(m.c[C_GRAVITY + 2])};
    R by_density = splat(dt) / in.k.density;
    for (int i = 0; i < m.nodes; i++) {
        V3 xi = get3(x, i), vi = get3(v, i);
        V3 force = get3(f, i) + contact(m, capsules, xi, vi);
        vi = vi + force * (by_density * m.mass[i]) + g * splat(dt);
        put3(v_out, i, vi);
        put3(x_out, i, xi + vi * splat(dt));
    }
}

DS_ITEM void tet_step(int index, const StepArgs& args)
{
    Model m = unpack(args.integers, args.reals);
    Block b = block(index, args.num_worlds);
    int n = 3 * m.nodes;
    Field room = scratch(args.room, index, args.num_worlds), x = after(room, input_numbers(m)), v = after(x, n), f = after(v, n);
    Inputs in = inputs(m, b, args, room);
    load(b, args.x, n, x);
    load(b, args.v, n, v);
    for (int k = 0; k < args.substeps; k++) substep(m, in, args.dt * T(k), args.dt, x, v, f, x, v);
    // a world that ran away keeps the state it had: nothing infinite ever leaves the engine
    Mask ok = in.sound & bounded(x, n, args.limit) & bounded(v, n, args.limit);
    R flag = select(ok, splat(T(1)), R{});
    store(b, x, n, args.x_out);
    store(b, v, n, args.v_out);
    for (int l = 0; l < DS_LANES && b.first + l < b.n; l++) {
        size_t world = b.first + l;
        args.ok[world] = int(get(flag, l));
        if (args.ok[world]) continue;
        for (int i = 0; i < n; i++) {
            args.x_out[world * n + i] = args.x[world * n + i];
            args.v_out[world * n + i] = args.v[world * n + i];
        }
    }
}

// The cotangents of what a control step takes.
struct Cotangents {
    Field x, v, f, u, ends, ends_v;
    Scales k;
};
DS_FN Cotangents cotangents(const Model& m, const Field& room)
{
    Cotangents g;
    int n = 3 * m.nodes;
    g.x = room;
    g.v = after(g.x, n);
    g.f = after(g.v, n);
    g.u = after(g.f, n);
    g.ends = after(g.u, m.controls);
    g.ends_v = after(g.ends, 6 * m.capsules);
    g.k = {R{}, R{}, R{}};
    clear(g.u, input_numbers(m));
    return g;
}

// From the cotangents of the results of a sub-step, in g.x and g.v, those of x and v, in the same place.
DS_FN void substep_vjp(const Model& m, const Inputs& in, T time, T dt, const Field& x, const Field& v, const Field& v_out,
                       Cotangents& g)
{
    Capsules capsules = {in.ends, in.ends_v, time};
    V3 gravity = {splat(m.c[C_GRAVITY]), splat(m.c[C_GRAVITY + 1]), splat(m.c[C_GRAVITY + 2])};
    R by_density = splat(dt) / in.k.density, work = R{};
    for (int i = 0; i < m.nodes; i++) {
        V3 gx = get3(g.x, i), gv = get3(g.v, i) + gx * splat(dt), vi = get3(v, i);
        V3 gf = gv * (by_density * m.mass[i]);
        // dt f/m is what the velocity gained beyond gravity
        work = work + dot(gv, get3(v_out, i) - vi - gravity * splat(dt));
        put3(g.f, i, gf);
        contact_vjp(m, capsules, get3(x, i), vi, gf, gx, gv, g.ends, g.ends_v);
        put3(g.x, i, gx);
        put3(g.v, i, gv);
    }
    g.k.density = g.k.density - work / in.k.density;
    for (int t = 0; t < m.tets; t++) {
        const int* node = m.tet + t * EI_COLUMNS;
        element_vjp(x, v, node, m.element + t * E_COLUMNS, activation(in.u, node), in.k, g.f, g.x, g.v, g.u, g.k);
    }
}

DS_FN void keep1(const Block& b, Mask keep, R a, T* to)
{
    a = select(keep, a, R{});
    store(b, &a, 1, to);
}
DS_FN void keep_all(const Block& b, Mask keep, const Field& a, int n, T* to)
{
    for (int i = 0; i < n; i++) put(a, i, select(keep, get(a, i), R{}));
    store(b, a, n, to);
}

// The states of a control step are worked out again in segments: those at the beginning of each are kept, and then, from the
// last segment to the first, those of one segment at a time. x and v of a state lie together.
DS_ITEM void tet_step_vjp(int index, const StepVjpArgs& args)
{
    Model m = unpack(args.integers, args.reals);
    Block b = block(index, args.num_worlds);
    int n = 3 * m.nodes, state = 2 * n, segments = (args.substeps + args.segment - 1) / args.segment;
    Field room = scratch(args.room, index, args.num_worlds), marks = after(room, input_numbers(m));
    Field tape = after(marks, size_t(segments) * state);
    Inputs in = inputs(m, b, args, room);
    Cotangents g = cotangents(m, after(tape, size_t(args.segment + 1) * state));
    load(b, args.x, n, marks);
    load(b, args.v, n, after(marks, n));
    for (int s = 1; s < segments; s++) {
        Field x = after(marks, size_t(s) * state), v = after(x, n);
        copy(after(marks, size_t(s - 1) * state), state, x);
        for (int k = (s - 1) * args.segment; k < s * args.segment; k++)
            substep(m, in, args.dt * T(k), args.dt, x, v, g.f, x, v);
    }
    load(b, args.gx_out, n, g.x);
    load(b, args.gv_out, n, g.v);
    for (int s = segments - 1; s >= 0; s--) {
        int first = s * args.segment, end = first + args.segment < args.substeps ? first + args.segment : args.substeps;
        copy(after(marks, size_t(s) * state), state, tape);
        for (int k = first; k < end; k++) {
            Field x = after(tape, size_t(k - first) * state), next = after(x, state);
            substep(m, in, args.dt * T(k), args.dt, x, after(x, n), g.f, next, after(next, n));
        }
        for (int k = end - 1; k >= first; k--) {
            Field x = after(tape, size_t(k - first) * state);
            substep_vjp(m, in, args.dt * T(k), args.dt, x, after(x, n), after(x, state + n), g);
        }
    }
    // a world that ran away, or whose gradient did, contributes nothing; whole worlds, never single numbers
    T huge = T(DS_HUGE);
    Mask keep = flagged(b, args.ok) & bounded(g.x, n, huge) & bounded(g.v, n, huge) & bounded(g.u, m.controls, huge);
    keep = keep & bounded(g.ends, 12 * m.capsules, huge);
    keep = keep & bounded(g.k.mu, huge) & bounded(g.k.lambda, huge) & bounded(g.k.density, huge);
    keep_all(b, keep, g.x, n, args.gx);
    keep_all(b, keep, g.v, n, args.gv);
    keep_all(b, keep, g.u, m.controls, args.gu);
    keep_all(b, keep, g.ends, 6 * m.capsules, args.gends);
    keep_all(b, keep, g.ends_v, 6 * m.capsules, args.gends_v);
    keep1(b, keep, g.k.mu, args.gk_mu);
    keep1(b, keep, g.k.lambda, args.gk_lambda);
    keep1(b, keep, g.k.density, args.gdensity);
}

}  // namespace ds
