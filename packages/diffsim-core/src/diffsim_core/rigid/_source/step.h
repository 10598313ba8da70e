// One control step of a block of DS_LANES worlds, all sub-steps inside, and its vector-Jacobian product: what is launched.
// rigid/_kernels.py lists the arguments.
#pragma once
#include "adjoint.h"
#include "block.h"

namespace ds {

// What the backward pass keeps of each sub-step: q, qd, qdd, activations and, with keep_factor, the factor of M. On a CPU a
// block's numbers lie together; on a GPU the worlds of one number lie together.
struct Saved {
    T* data;
    size_t block, blocks, fields;
    int substeps;
    bool streamed;
};
DS_FN Saved saved_numbers(const Model& m, T* data, int index, int n, int substeps, int keep_factor)
{
    size_t fields = m.nq + 2 * m.nv + activations(m) + (keep_factor ? own_rows(m).nm : 0);
    return {data, size_t(index), size_t((n + DS_LANES - 1) / DS_LANES), fields, substeps, can_stream(data)};
}
DS_FN size_t saved_at(const Saved& s, int substep, int field)
{
#ifdef __CUDACC__
    return (substep * s.fields + field) * s.blocks + s.block;
#else
    return ((s.block * s.substeps + substep) * s.fields + field) * DS_LANES;
#endif
}
DS_FN int save(const Saved& s, int substep, int field, const R* from, int n)
{
    if (s.streamed)
        for (int i = 0; i < n; i++) stream(s.data + saved_at(s, substep, field + i), from[i]);
    else
        for (int i = 0; i < n; i++) write(s.data + saved_at(s, substep, field + i), from[i]);
    return field + n;
}
DS_FN int restore(const Saved& s, int substep, int field, R* to, int n)
{
    for (int i = 0; i < n; i++) to[i] = read(s.data + saved_at(s, substep, field + i));
    return field + n;
}

// ask for a sub-step's numbers while one after it is still being worked on; into the second cache, for the first is full
DS_FN void prefetch(const Saved& s, int substep)
{
#ifndef __CUDACC__
    if (substep < 0) return;
    const char* from = (const char*)(s.data + saved_at(s, substep, 0));
    for (size_t i = 0; i < s.fields * sizeof(R); i += 64) __builtin_prefetch(from + i, 0, 2);
#endif
}

// the model of a block of worlds, whose parameters are worlds' own with DS_PARAMS
struct Reals {
#if DS_PARAMS
    R of[DS_MAX_NR];
#endif
};
DS_FN Model read_model(const Block& b, const int* mi, const T* mr, const T* p, Reals& reals, Mask& ok)
{
    R zero = R{};
    ok = zero == zero;
#if DS_PARAMS
    Parameters from = parameters(mi, mr);
    for (int k = 0; k < from.nr; k++) reals.of[k] = splat(mr[k]);
    for (int e = 0; e < from.ne; e++) {
        R x = R{};
        for (int l = 0; l < DS_LANES; l++) set(x, l, p[Block::world(l, b) * from.np + from.entry[2 * e + 1]]);
        ok = ok & (abs_(x) <= splat(DS_HUGE));
        reals.of[from.entry[2 * e]] = reals.of[from.entry[2 * e]] + x * from.coefficient[e];
    }
    return unpack(mi, reals.of, mr + from.nr);
#else
    return unpack(mi, mr, mr + mi[H_REALS]);
#endif
}

// everything finite and of a size that physics can have (a NaN fails every comparison)
DS_FN Mask bounded(const Model& m, const State& s, const R* act, T limit)
{
    R zero = R{};
    Mask ok = zero == zero;
    for (int i = 0; i < m.nq; i++) ok = ok & (abs_(s.q[i]) <= splat(limit));
    for (int d = 0; d < m.nv; d++) ok = ok & (abs_(s.v[d]) <= splat(limit));
    for (int a = 0; a < activations(m); a++) ok = ok & (abs_(act[a]) <= splat(limit));
    return ok;
}

DS_ITEM void control_step(int index, const StepArgs& args)
{
    Block b = block(index, args.num_worlds);
    Reals reals;
    Mask ok;
    Model m = read_model(b, args.integers, args.reals, args.params, reals, ok);
    State s, start;
    R control[DS_MAX_NU], act[DS_MAX_NA], tau[DS_MAX_NV], qdd[DS_MAX_NV];
    Kinematics k;
    Factor M;
    Damping C;
    load_state(m, b, args.q, args.qd, s);
    load(b, args.act, activations(m), act);
    load(b, args.u, m.nu, control);
    actuate(m, control, tau);
    start = s;
    Drive drive = {control, act};
    Saved saved = saved_numbers(m, args.saved, index, args.num_worlds, args.substeps, args.keep_factor);
    for (int t = 0; t < args.substeps; t++) {
        for (int d = 0; d < m.nv; d++) qdd[d] = tau[d];
#if DS_IMPLICIT
        clear(m, C);
#endif
        if (DS_SERVOS) servo_forces(m, s, control, qdd, C);
        forward_dynamics(m, s, drive, args.dt, k, qdd, M, C);
        if (args.saved) {
            int f = save(saved, t, 0, s.q, m.nq);
            f = save(saved, t, f, s.v, m.nv);
            f = save(saved, t, f, qdd, m.nv);
            f = save(saved, t, f, act, activations(m));
            if (args.keep_factor) save(saved, t, f, M.m, own_rows(m).nm);
        }
        integrate(m, s, qdd, args.dt);
#if DS_COUPLED
        follow(m, s);
#endif
#if DS_MUSCLES
        advance_activations(m, control, act, args.dt);
#endif
    }
    // a world that ran away keeps the state it had: nothing infinite ever leaves the engine
    ok = ok & bounded(m, s, act, args.limit);
    for (int i = 0; i < m.nq; i++) s.q[i] = select(ok, s.q[i], start.q[i]);
    for (int d = 0; d < m.nv; d++) s.v[d] = select(ok, s.v[d], start.v[d]);
    store_coordinates(m, b, s.q, args.q_out);
    store_velocities(m, b, s.v, args.qd_out);
    R before_step[DS_MAX_NA];
    load(b, args.act, activations(m), before_step);
    for (int i = 0; i < activations(m); i++) act[i] = select(ok, act[i], before_step[i]);
    store(b, act, activations(m), args.act_out);
    R flag = select(ok, splat(T(1)), R{});
    for (int l = 0; l < DS_LANES && b.first + l < args.num_worlds; l++) args.ok[b.first + l] = int(get(flag, l));
}

DS_ITEM void control_step_vjp(int index, const StepVjpArgs& args)
{
    Block b = block(index, args.num_worlds);
    Reals reals, greals;
    Mask keep;
    Model m = read_model(b, args.integers, args.reals, args.params, reals, keep);
    State s, g;
#if DS_PARAMS
    Parameters from = parameters(args.integers, args.reals);
    for (int k = 0; k < from.nr; k++) greals.of[k] = R{};
    R* gr = greals.of;
#else
    R* gr = nullptr;
#endif
    R qdd[DS_MAX_NV], gtau[DS_MAX_NV], control[DS_MAX_NU], gcontrol[DS_MAX_NU], act[DS_MAX_NA], gact[DS_MAX_NA];
    Factor M;
    load(b, args.u, m.nu, control);
    load(b, args.gact_out, activations(m), gact);
    Drive drive = {control, act};
    load_coordinates(m, b, args.gq_out, g.q);
    load_velocities(m, b, args.gqd_out, g.v);
    for (int d = 0; d < m.nv; d++) gtau[d] = R{};
    for (int a = 0; a < m.nu; a++) gcontrol[a] = R{};
    Saved saved = saved_numbers(m, args.saved, index, args.num_worlds, args.substeps, args.keep_factor);
    for (int t = args.substeps - 1; t >= 0; t--) {
        int f = restore(saved, t, 0, s.q, m.nq);
        f = restore(saved, t, f, s.v, m.nv);
        f = restore(saved, t, f, qdd, m.nv);
        f = restore(saved, t, f, act, activations(m));
        if (args.keep_factor) restore(saved, t, f, M.m, own_rows(m).nm);
        prefetch(saved, t - 2);
        substep_vjp(m, s, drive, qdd, M, args.keep_factor, args.dt, g, gtau, gcontrol, gact, gr);
    }
    for (int a = 0; a < m.nu; a++) gcontrol[a] = gcontrol[a] + gtau[m.actuator[a]] * m.gear[a];
#if DS_PARAMS
    R gparameter[DS_MAX_NP];
    for (int a = 0; a < m.nu; a++) accumulate(m, gr, m.gear + a, gtau[m.actuator[a]] * control[a]);
    for (int j = 0; j < from.np; j++) gparameter[j] = R{};
    for (int e = 0; e < from.ne; e++) {
        int j = from.entry[2 * e + 1];
        gparameter[j] = gparameter[j] + gr[from.entry[2 * e]] * from.coefficient[e];
    }
#endif

    // a world that ran away, or whose gradient did, contributes nothing; whole worlds, never single numbers
    R flag = R{};
    for (int l = 0; l < DS_LANES; l++) set(flag, l, T(args.ok[Block::world(l, b)]));
    keep = flag > R{};
    R big = splat(DS_HUGE);
    for (int i = 0; i < m.nq; i++) keep = keep & (abs_(g.q[i]) <= big);
    for (int d = 0; d < m.nv; d++) keep = keep & (abs_(g.v[d]) <= big);
    for (int a = 0; a < activations(m); a++) keep = keep & (abs_(gact[a]) <= big);
    for (int a = 0; a < m.nu; a++) keep = keep & (abs_(gcontrol[a]) <= big);
#if DS_PARAMS
    for (int j = 0; j < from.np; j++) keep = keep & (abs_(gparameter[j]) <= big);
    for (int j = 0; j < from.np; j++) gparameter[j] = select(keep, gparameter[j], R{});
    store(b, gparameter, from.np, args.gparams);
#endif
    for (int i = 0; i < m.nq; i++) g.q[i] = select(keep, g.q[i], R{});
    for (int d = 0; d < m.nv; d++) g.v[d] = select(keep, g.v[d], R{});
    for (int a = 0; a < activations(m); a++) gact[a] = select(keep, gact[a], R{});
    for (int a = 0; a < m.nu; a++) gcontrol[a] = select(keep, gcontrol[a], R{});
    store_coordinates(m, b, g.q, args.gq);
    store_velocities(m, b, g.v, args.gqd);
    store(b, gact, activations(m), args.gact);
    store(b, gcontrol, m.nu, args.gu);
}

}  // namespace ds
