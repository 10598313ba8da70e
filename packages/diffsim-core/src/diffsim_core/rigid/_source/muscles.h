// Muscles pull along paths (paths.h). A unit's length L is the sum of its segments' lengths, and its force f along L gives
// the generalised force f dL/dq. Either f = gear u, or MuJoCo's muscle model:
//     f = -gear F0 (FL(L) FV(dL/dt) act + FP(L)),    d act/dt = (u - act) / tau(u, act).
// See docs/engine/muscles.md; rigid/_twin_muscles.py is this file written to be read.
#pragma once
#include "tendons.h"

namespace ds {

#if DS_MUSCLES
struct Curve {
    R value, slope;
};

// active force over length: two parabolas on each side of the peak at 1
DS_FN Curve force_length(R L, T lmin, T lmax)
{
    T a = T(0.5) * (lmin + 1), b = T(0.5) * (1 + lmax), left = 1 / (a - lmin), right = 1 / (lmax - b);
    R z = R{}, one = splat(T(1));
    R rising = (L - lmin) * left, before = (one - L) * left, after = (L - one) * right, falling = (lmax - L) * right;
    Curve c = {T(0.5) * rising * rising, rising * left};
    Mask m = L > splat(a);
    c = {select(m, one - T(0.5) * before * before, c.value), select(m, before * left, c.slope)};
    m = L > one;
    c = {select(m, one - T(0.5) * after * after, c.value), select(m, -(after * right), c.slope)};
    m = L > splat(b);
    c = {select(m, T(0.5) * falling * falling, c.value), select(m, -(falling * right), c.slope)};
    m = (L < splat(lmin)) | (L > splat(lmax));
    return {select(m, z, c.value), select(m, z, c.slope)};
}

// active force over velocity: zero at shortening with the greatest speed, fvmax where it is stretched fast
DS_FN Curve force_velocity(R V, T fvmax)
{
    T y = fvmax - 1, inverse = 1 / (y > T(1e-15) ? y : T(1e-15));
    R z = R{}, shortening = V + T(1), rest = splat(y) - V;
    Curve c = {shortening * shortening, T(2) * shortening};
    Mask m = V > z;
    c = {select(m, splat(fvmax) - rest * rest * inverse, c.value), select(m, T(2) * rest * inverse, c.slope)};
    m = V > splat(y);
    c = {select(m, splat(fvmax), c.value), select(m, z, c.slope)};
    m = V < splat(T(-1));
    return {select(m, z, c.value), select(m, z, c.slope)};
}

// passive force over length: a parabola from 1 to halfway to lmax, then straight
DS_FN Curve force_passive(R L, T lmax, T fpmax)
{
    T inverse = 1 / (T(0.5) * (1 + lmax) - 1);
    R z = R{}, x = (L - T(1)) * inverse;
    Curve c = {T(0.5) * fpmax * x * x, (fpmax * inverse) * x};
    Mask m = x > splat(T(1));
    c = {select(m, fpmax * (x - T(0.5)), c.value), select(m, splat(fpmax * inverse), c.slope)};
    m = x < z;
    return {select(m, z, c.value), select(m, z, c.slope)};
}

// d act/dt and its derivatives by control and activation. Bounds by comparison: a NaN must stay one.
struct Rate {
    R value, by_u, by_act;
};
DS_FN R unit_interval(R x)
{
    x = select(x < R{}, R{}, x);
    return select(x > splat(T(1)), splat(T(1)), x);
}
DS_FN Rate activation_rate(const T* p, R u, R act)
{
    R z = R{}, one = splat(T(1));
    R excitation = unit_interval(u), inside = unit_interval(act), pace = T(0.5) + T(1.5) * inside;
    R up = pace * p[MR_TAU_ACT], down = splat(p[MR_TAU_DEACT]) / pace, gap = excitation - act;
    R blend = select(gap > z, one, z), blend_slope = z;
    if (p[MR_SMOOTH] > 0) {
        R x = unit_interval(gap / p[MR_SMOOTH] + T(0.5)), y = one - x;
        blend = x * x * x * (T(3) * x * (T(2) * x - T(5)) + T(10));
        blend_slope = T(30) * x * x * y * y / p[MR_SMOOTH];
    }
    R tau = down + (up - down) * blend, inverse = one / tau, value = gap * inverse;
    R by_gap = inverse - value * inverse * (up - down) * blend_slope;
    R tau_by_act = blend * (T(1.5) * p[MR_TAU_ACT]) - (one - blend) * (T(1.5) * down / pace);
    R moving = select((act < z) | (act > one), z, one), driven = select((u < z) | (u > one), z, one);
    return {value, by_gap * driven, -by_gap - value * inverse * tau_by_act * moving};
}

DS_FN Pull pull(const T* p, R length, R velocity, R act)
{
    R L = length * p[MR_LENGTH] + p[MR_OFFSET], V = velocity * p[MR_VELOCITY];
    Curve fl = force_length(L, p[MR_LMIN], p[MR_LMAX]), fv = force_velocity(V, p[MR_FVMAX]);
    Curve fp = force_passive(L, p[MR_LMAX], p[MR_FPMAX]);
    T peak = -p[MR_GEAR] * p[MR_FORCE];
    R active = fl.value * fv.value;
    return {(active * act + fp.value) * peak, (fl.slope * fv.value * act + fp.slope) * (peak * p[MR_LENGTH]),
            fl.value * fv.slope * act * (peak * p[MR_VELOCITY]), active * peak};
}
DS_FN Pull direct_pull(const T* p, R u) { return {u * p[MR_GEAR], R{}, R{}, splat(p[MR_GEAR])}; }

// of any unit
DS_FN Pull unit_pull(const int* unit, const T* p, const Drive& drive, R length, R rate)
{
#if DS_TENDONS
    if (unit[MU_LAW] == PASSIVE) return passive_pull(p, length, rate);
    if (unit[MU_LAW] == AFFINE)
        return affine_pull(p, length, rate, unit[MU_ACT] < 0 ? drive.u[unit[MU_CONTROL]] : drive.act[unit[MU_ACT]]);
#endif
    if (unit[MU_LAW] == DIRECT) return direct_pull(p, drive.u[unit[MU_CONTROL]]);
    return pull(p, length, rate, drive.act[unit[MU_ACT]]);
}

DS_FN void advance_activations(const Model& m, const R* u, R* act, T dt)
{
    for (int i = 0; i < m.muscles.n; i++) {
        const int* unit = m.muscles.unit + i * MUI_COLUMNS;
        const T* p = m.muscles.unitr + i * MUR_COLUMNS;
        if (unit[MU_ACT] < 0) continue;
        R& a = act[unit[MU_ACT]];
#if DS_TENDONS
        if (unit[MU_DYNAMICS] != ACTIVATION) {
            a = followed(unit, p, u[unit[MU_CONTROL]], a, dt);
            continue;
        }
#endif
        a = a + activation_rate(p, u[unit[MU_CONTROL]], a).value * dt;
    }
}
// gact: cotangent of the activations after the sub-step on entry, before it on exit
DS_FN void advance_activations_vjp(const Model& m, const Drive& drive, T dt, R* gu, R* gact)
{
    for (int i = 0; i < m.muscles.n; i++) {
        const int* unit = m.muscles.unit + i * MUI_COLUMNS;
        const T* p = m.muscles.unitr + i * MUR_COLUMNS;
        int a = unit[MU_ACT], c = unit[MU_CONTROL];
        if (a < 0) continue;
#if DS_TENDONS
        if (unit[MU_DYNAMICS] != ACTIVATION) {
            followed_vjp(unit, p, drive.u[c], drive.act[a], dt, gu[c], gact[a]);
            continue;
        }
#endif
        Rate rate = activation_rate(p, drive.u[c], drive.act[a]);
        gu[c] = gu[c] + gact[a] * rate.by_u * dt;
        gact[a] = gact[a] + gact[a] * rate.by_act * dt;
    }
}

// the units' forces: subtract their wrenches from F, link by link, and add what acts on joints to tau
DS_FN void muscle_forces(const Model& m, const State& s, const Kinematics& k, const Drive& drive, SV* F, R* tau)
{
    for (int j = 0; j < m.muscles.n; j++) {
        const int* unit = m.muscles.unit + j * MUI_COLUMNS;
        const T* p = m.muscles.unitr + j * MUR_COLUMNS;
        R length = R{}, rate = R{};
        if (unit[MU_LAW] != DIRECT) measure(m, s, k, unit, p, {k.V, s.v}, length, rate);
        pull_along(m, k, unit, p, unit_pull(unit, p, drive, length, rate).f, F, tau);
    }
}

// psi = -f dL/dt[X] of a unit whose force is its control: nothing in f moves with the robot
DS_FN void direct_vjp(const Model& m, const Kinematics& k, const SV* X, const int* unit, const T* p, const R* u,
                      LinkBar* bar, R* gu)
{
    Pull f = direct_pull(p, u[unit[MU_CONTROL]]);
    R test = R{};
    for (int i = unit[MU_FIRST]; i < unit[MU_FIRST] + unit[MU_COUNT]; i++) {
        Segment s = segment(m, k, i);
        V3 xa = velocity_at(X, s.A, s.a), xb = velocity_at(X, s.B, s.b), y = xb - xa;
        R along = dot(s.n, y), weight = f.f * -s.scale;
        test = test + along * s.scale;
        V3 by_d = (y - s.n * along) * (weight * s.inverse), by_y = s.n * weight;
        for (int end = 0; end < 2; end++) {
            int link = end ? s.B : s.A;
            if (link < 0) continue;
            V3 q = end ? s.b : s.a, x = end ? xb : xa, by_q = end ? by_d : -by_d, by_x = end ? by_y : -by_y;
            bar[link].X = bar[link].X + SV{cross(q, by_x), by_x};
            bar[link].W = bar[link].W + SV{cross(q, by_q) + cross(x, by_x), by_q};
        }
    }
    gu[unit[MU_CONTROL]] = gu[unit[MU_CONTROL]] + f.by_drive * test;
}

// psi = -f dL/dt[X], unit by unit; adds the cotangents of links, state, controls and activations. added: velocities that the
// sub-step adds, with the implicit part, whose dampers c add c dL/dt[added] dL/dt[X].
DS_FN void muscle_vjp(const Model& m, const State& s, const Kinematics& k, const SV* X, const R* lambda, const R* added,
                      const Drive& drive, LinkBar* bar, State& g, R* gu, R* gact)
{
    Motion along = {k.V, s.v}, test_motion = {X, lambda};
    for (int j = 0; j < m.muscles.n; j++) {
        const int* unit = m.muscles.unit + j * MUI_COLUMNS;
        const T* p = m.muscles.unitr + j * MUR_COLUMNS;
        if (!DS_WRAPS && unit[MU_LAW] == DIRECT) {
            direct_vjp(m, k, X, unit, p, drive.u, bar, gu);
            continue;
        }
        R length, rate, test;
        measure(m, s, k, unit, p, test_motion, length, test);
        measure(m, s, k, unit, p, along, length, rate);
        Pull f = unit_pull(unit, p, drive, length, rate);
#if DS_TENDONS && DS_IMPLICIT
        if (unit[MU_DAMPS]) {
            Damper c = unit_damper(unit, p, drive, length, rate);
            R more, at;
            measure(m, s, k, unit, p, {k.V, added}, at, more);
            f.by_length = f.by_length - c.by_length * more, f.by_velocity = f.by_velocity - c.by_rate * more;
            f.by_drive = f.by_drive - c.by_drive * more;
        }
#endif
        if (unit[MU_ACT] >= 0) gact[unit[MU_ACT]] = gact[unit[MU_ACT]] + f.by_drive * test;
        else if (unit[MU_CONTROL] >= 0) gu[unit[MU_CONTROL]] = gu[unit[MU_CONTROL]] + f.by_drive * test;
        path_vjp(m, k, unit, p, along, test_motion, f.f, f.by_length * test, f.by_velocity * test, bar, g);
    }
}
#endif

}  // namespace ds
