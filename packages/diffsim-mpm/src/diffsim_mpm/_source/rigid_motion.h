// A sub-step of free rigid bodies, for one world, and back: twists without nodes, the equations of rigid_nodes.h, and
// semi-implicit Euler. What spins keeps its angular momentum: it turns with the new angular velocity, and the angular velocity
// after the turn is that of the same momentum and the turned inertia.
#pragma once
#include "rigid_shapes.h"

namespace ds {

// The twists before any node is met.
DS_ENTRY void begin_bodies(const Model& m, const Obstacles& o, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        const RigidState& b = g.now[j];
        RigidWork& w = g.work[j];
        T load[6] = {T(0), T(0), T(0), T(0), T(0), T(0)};
        axes_of(b.q, w.E);
        inverse_symmetric(w.mass + INERTIA, w.inverse);
        for (int k = 0; k < 6 && g.loads; k++) load[k] = g.loads[6 * j + k];
        sides_force(m, g, j, load);
        shapes_force(g, j, o, m.dt, load);
        for (int k = 0; k < 3; k++) w.alone[k] = b.v[k] + m.dt * (m.gravity[k] + load[k] / w.mass[MASS]);
        to3(all3(b.w) + turned(all33(w.E), w.inverse, all3(load + 3)) * splat(m.dt), w.alone + 3);
        for (int k = 0; k < 6; k++) w.first[k] = w.last[k] = w.alone[k];
        for (int k = 0; k < SUMS; k++) clear(w.sums[0] + k), clear(w.sums[1] + k);
    }
}
DS_ENTRY void begin_bodies_vjp(const Model& m, const Obstacles& o, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        const RigidWork& w = g.work[j];
        RigidBar& bar = g.bars[j];
        M3 E = all33(w.E);
        for (int k = 0; k < 3; k++) {
            bar.c[k] += total(w.gplace[k]);
            bar.turn[k] += total(w.gplace[3 + k]);
        }
        // gained = dt I^-1 torque, so that I gained = dt torque
        V3 gained = all3(w.alone + 3) - all3(g.now[j].w), back = turned(E, w.inverse, all3(bar.w));
        T gload[6], ginertia[6] = {T(0), T(0), T(0), T(0), T(0), T(0)}, gturn[3] = {T(0), T(0), T(0)};
        for (int k = 0; k < 3; k++) {
            gload[k] = m.dt / w.mass[MASS] * bar.v[k];
            T force = (w.alone[k] - g.now[j].v[k]) / m.dt - m.gravity[k];  // per mass
            bar.mass[MASS] -= gload[k] * force;
        }
        to3(back * splat(m.dt), gload + 3);
        turned_vjp(E, w.mass + INERTIA, gained, back, ginertia, gturn);
        for (int k = 0; k < 6; k++) bar.mass[INERTIA + k] -= ginertia[k];
        for (int k = 0; k < 3; k++) bar.turn[k] -= gturn[k];
        for (int k = 0; k < 6; k++) bar.load[k] += gload[k];
        sides_force_vjp(m, g, j, gload, bar);
        shapes_force_vjp(g, j, o, m.dt, gload, bar);
    }
}

// The twist that the sums over nodes of a step lead to.
DS_FN void equations(const RigidWork& w, int step, T* S)
{
    for (int k = 0; k < TRIANGLE; k++) S[k] = total(w.sums[step][k]);
    M3 E = all33(w.E);
    S[0] += w.mass[MASS], S[2] += w.mass[MASS], S[5] += w.mass[MASS];
    for (int i = 0; i < 3; i++) {
        V3 e = {splat(T(i == 0)), splat(T(i == 1)), splat(T(i == 2))};
        T column[3];
        to3(turned(E, w.mass + INERTIA, e), column);
        for (int k = 0; k <= i; k++) S[(3 + i) * (4 + i) / 2 + 3 + k] += column[k];
    }
}
DS_ENTRY void solve_body(const Rigid& g, int j, int step)
{
    RigidWork& w = g.work[j];
    T S[TRIANGLE], impulse[6], gained[6], *to = step == 0 ? w.first : w.last;
    equations(w, step, S);
    for (int k = 0; k < 6; k++) impulse[k] = total(w.sums[step][TRIANGLE + k]);
    solve6(S, impulse, gained);
    for (int k = 0; k < 6; k++) to[k] = w.alone[k] + gained[k];
}
// From the cotangent of the twist that a step leads to: its lambda, and what the body itself makes of it.
DS_ENTRY void solve_body_vjp(const Rigid& g, int j, int step)
{
    RigidWork& w = g.work[j];
    RigidBar& bar = g.bars[j];
    T S[TRIANGLE], gtwist[6], gained[6], ginertia[6] = {T(0), T(0), T(0), T(0), T(0), T(0)}, gturn[3] = {T(0), T(0), T(0)};
    T *lambda = w.lambda[step], *to = step == 0 ? w.first : w.last;
    equations(w, step, S);
    for (int k = 0; k < 6; k++) gtwist[k] = step == 0 ? total(w.gfirst[k]) : w.pull[k] + total(w.glast[k]);
    solve6(S, gtwist, lambda);
    for (int k = 0; k < 6; k++) gained[k] = to[k] - w.alone[k];
    // S gained = sums: -lambda . M gained, and M lambda for the twist alone
    for (int k = 0; k < 3; k++) {
        bar.v[k] += w.mass[MASS] * lambda[k];
        bar.mass[MASS] -= lambda[k] * gained[k];
    }
    M3 E = all33(w.E);
    plus3(turned(E, w.mass + INERTIA, all3(lambda + 3)), bar.w);
    turned_vjp(E, w.mass + INERTIA, all3(gained + 3), all3(lambda + 3), ginertia, gturn);
    for (int k = 0; k < 6; k++) bar.mass[INERTIA + k] -= ginertia[k];
    for (int k = 0; k < 3; k++) bar.turn[k] -= gturn[k];
}

DS_ENTRY void end_bodies(const Model& m, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        const RigidState& b = g.now[j];
        const RigidWork& w = g.work[j];
        RigidState& to = g.next[j];
        V3 spin = all3(w.last + 3), momentum = turned(all33(w.E), w.mass + INERTIA, spin);
        Quat q = unit(rotation_by(spin * splat(m.dt)) * all4(b.q));
        for (int k = 0; k < 3; k++) {
            to.v[k] = w.last[k];
            to.c[k] = b.c[k] + m.dt * w.last[k];
        }
        to.q[0] = get(q.w, 0), to.q[1] = get(q.x, 0), to.q[2] = get(q.y, 0), to.q[3] = get(q.z, 0);
        T E[9];
        axes_of(to.q, E);
        to3(turned(all33(E), w.inverse, momentum), to.w);
    }
}
// Cotangents of the state after in the bars: leaves there those of place and turn, and that of the twist V' in `pull`.
DS_ENTRY void end_bodies_vjp(const Model& m, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        RigidWork& w = g.work[j];
        RigidBar& bar = g.bars[j];
        T axes[9], gturn[3] = {T(0), T(0), T(0)}, ginertia[6] = {T(0), T(0), T(0), T(0), T(0), T(0)};
        axes_of(g.next[j].q, axes);
        M3 E = all33(w.E), E_next = all33(axes);
        V3 spin = all3(w.last + 3), back = turned(E_next, w.inverse, all3(bar.w));
        // I' w'' = I w'
        turned_vjp(E_next, w.mass + INERTIA, all3(g.next[j].w), back, ginertia, gturn);
        V3 turn = all3(bar.turn) - all3(gturn);
        for (int k = 0; k < 6; k++) bar.mass[INERTIA + k] -= ginertia[k];
        for (int k = 0; k < 3; k++) bar.turn[k] = T(0);
        for (int k = 0; k < 6; k++) ginertia[k] = T(0);
        plus3(mul(E, mul_t(E_next, turn)), bar.turn);
        turned_vjp(E, w.mass + INERTIA, spin, back, ginertia, bar.turn);
        for (int k = 0; k < 6; k++) bar.mass[INERTIA + k] += ginertia[k];
        for (int k = 0; k < 3; k++) w.pull[k] = bar.v[k] + m.dt * bar.c[k];
        to3(turned(E, w.mass + INERTIA, back) + rotation_by_vjp(spin * splat(m.dt), turn) * splat(m.dt), w.pull + 3);
        for (int k = 0; k < 3; k++) bar.v[k] = bar.w[k] = T(0);
        for (int k = 0; k < 6; k++) clear(w.glast + k), clear(w.gfirst + k), clear(w.gplace + k);
    }
}

// Arrays from outside: pose [N][bodies][7], twist and load [N][bodies][6].
template <class Args> DS_FN void load_bodies(const Args& a, int world, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        size_t at = size_t(world) * g.count + j;
        T* to = (T*)(g.states + j);
        for (int k = 0; k < 7; k++) to[k] = a.pose[7 * at + k];
        for (int k = 0; k < 6; k++) to[7 + k] = a.twist[6 * at + k];
    }
}
DS_FN bool bodies_within(const Rigid& g, const RigidState* states, T limit)
{
    const T* numbers = (const T*)states;
    bool within = true;
    for (int k = 0; k < g.count * int(sizeof(RigidState) / sizeof(T)); k++) within = within && wp::abs(numbers[k]) <= limit;
    for (int k = 0; k < 6 * g.count && g.loads; k++) within = within && wp::abs(g.loads[k]) <= limit;
    return within;
}
template <class Args> DS_FN void store_bodies(const Args& a, int world, bool ok, const RigidState* states, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        size_t at = size_t(world) * g.count + j;
        const T* from = (const T*)(states + j);
        for (int k = 0; k < 7; k++) a.pose_out[7 * at + k] = ok ? from[k] : a.pose[7 * at + k];
        for (int k = 0; k < 6; k++) a.twist_out[6 * at + k] = ok ? from[7 + k] : a.twist[6 * at + k];
    }
}
// `last`: the states at the end of the control step
template <class Args> DS_FN void load_bodies_vjp(const Args& a, int world, const RigidState* last, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        size_t at = size_t(world) * g.count + j;
        RigidBar& bar = g.bars[j];
        for (int k = 0; k < int(sizeof(RigidBar) / sizeof(T)); k++) ((T*)&bar)[k] = T(0);
        for (int k = 0; k < 3; k++) {
            bar.c[k] = a.gpose_out[7 * at + k];
            bar.v[k] = a.gtwist_out[6 * at + k];
            bar.w[k] = a.gtwist_out[6 * at + 3 + k];
        }
        to3(turn_of(all4(last[j].q), a.gpose_out + 7 * at + 3), bar.turn);
    }
}
template <class Args> DS_FN void store_bodies_vjp(const Args& a, int world, bool ok, const Rigid& g)
{
    for (int j = 0; j < g.count; j++) {
        size_t at = size_t(world) * g.count + j;
        const RigidBar& bar = g.bars[j];
        T gq[4] = {T(0), T(0), T(0), T(0)};
        if (ok) from_turn(all4(g.states[j].q), all3(bar.turn), gq);
        for (int k = 0; k < 3; k++) {
            a.gpose[7 * at + k] = ok ? bar.c[k] : T(0);
            a.gtwist[6 * at + k] = ok ? bar.v[k] : T(0);
            a.gtwist[6 * at + 3 + k] = ok ? bar.w[k] : T(0);
        }
        for (int k = 0; k < 4; k++) a.gpose[7 * at + 3 + k] = gq[k];
        for (int k = 0; k < 6 && a.load; k++) a.gload[6 * at + k] = ok ? bar.load[k] : T(0);
    }
}

}  // namespace ds
