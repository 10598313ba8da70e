// Forces along a length that are no muscle's (DS_TENDONS): actuators whose force is affine in length and rate, with bounds
// and, if they have one, an activation; and a tendon's own spring, damper, limits and dry friction.
// See docs/engine/tendons.md; rigid/_twin_tendons.py is this file written to be read.
#pragma once
#include "losses.h"
#include "paths.h"

namespace ds {

// what drives a sub-step: controls [nu], constant over a control step, and activations [na]
struct Drive {
    const R *u, *act;
};

#if DS_MUSCLES
// force along the length, and its derivatives by length, velocity, and control or activation
struct Pull {
    R f, by_length, by_velocity, by_drive;
};
#endif

#if DS_TENDONS
// Bounds by comparison: a NaN must stay one, so that its world is contained. None passes a derivative.
DS_FN Pull affine_pull(const T* p, R length, R rate, R drive)
{
    R z = R{}, one = splat(T(1)), lower = splat(p[AR_LOWER]), upper = splat(p[AR_UPPER]);
    R f = drive * p[AR_GAIN] + p[AR_OFFSET] + length * p[AR_BY_LENGTH] + rate * p[AR_BY_RATE];
    R inside = select((f < lower) | (f > upper), z, one);
    f = select(f < lower, lower, f);
    f = select(f > upper, upper, f);
    return {f, inside * p[AR_BY_LENGTH], inside * p[AR_BY_RATE], inside * p[AR_GAIN]};
}

DS_FN R tanh_(R x)
{
    R e = exp_(abs_(x) * T(-2)), t = (T(1) - e) / (T(1) + e);
    return select(x < R{}, -t, t);
}

// Beyond its range the length is pushed back by a spring, and by a damper half of which acts at the depth PR_LIMIT_WIDTH.
DS_FN Pull limit_pull(const T* p, R length, R rate)
{
    R z = R{}, one = splat(T(1));
    R x = min_(length - p[PR_LOWER], z) + max_(length - p[PR_UPPER], z), depth = abs_(x);
    R inverse = one / (depth + p[PR_LIMIT_WIDTH]), c = depth * inverse * p[PR_LIMIT_DAMPING];
    R slope = select(x < z, -inverse, inverse) * inverse * (p[PR_LIMIT_WIDTH] * p[PR_LIMIT_DAMPING]);
    R by_length = select(depth > z, -(slope * rate) - p[PR_LIMIT_STIFFNESS], z);
    return {-(x * p[PR_LIMIT_STIFFNESS]) - c * rate, by_length, -c, z};
}

DS_FN Pull passive_pull(const T* p, R length, R rate)
{
    R z = R{};
    R x = min_(length - p[PR_SPRING_LOWER], z) + max_(length - p[PR_SPRING_UPPER], z);
    R stretched = select(abs_(x) > z, splat(-p[PR_STIFFNESS]), z);
    Pull f = {-(x * p[PR_STIFFNESS]) - rate * p[PR_DAMPING], stretched, splat(-p[PR_DAMPING]), z};
    if (p[PR_LIMIT_STIFFNESS] > 0 || p[PR_LIMIT_DAMPING] > 0) {
        Pull limit = limit_pull(p, length, rate);
        f.f = f.f + limit.f, f.by_length = f.by_length + limit.by_length, f.by_velocity = f.by_velocity + limit.by_velocity;
    }
    if (p[PR_FRICTION] > 0) {
        R t = tanh_(rate / p[PR_SLIP]);
        f.f = f.f - t * p[PR_FRICTION];
        f.by_velocity = f.by_velocity - (T(1) - t * t) * (p[PR_FRICTION] / p[PR_SLIP]);
    }
    return f;
}

#if DS_IMPLICIT
// what a unit damps with, see implicit.h, and its derivatives by length, rate, and control or activation
#if DS_PARAMS
DS_FN P as_real(T x) { return splat(x); }
#else
DS_FN P as_real(T x) { return x; }
#endif
struct Damper {
    R value, by_length, by_rate, by_drive;
};
DS_FN Damper affine_damper(const T* p, R length, R rate, R drive)
{
    R z = R{}, one = splat(T(1)), lower = splat(p[AR_LOWER]), upper = splat(p[AR_UPPER]);
    R f = drive * p[AR_GAIN] + p[AR_OFFSET] + length * p[AR_BY_LENGTH] + rate * p[AR_BY_RATE];
    Mask below = f < lower, above = f > upper;
    R ratio = select(below, lower, select(above, upper, one)) / select(below | above, f, one);
    Mask cut = (below | above) & (ratio < one) & (ratio > z);
    R c = splat(p[AR_BY_RATE] < 0 ? -p[AR_BY_RATE] : T(0)), slope = c * select(cut, -(ratio / f), z);
    return {c * select(cut, ratio, one), slope * p[AR_BY_LENGTH], slope * p[AR_BY_RATE], slope * p[AR_GAIN]};
}
DS_FN Damper passive_damper(const T* p, R length, R rate)
{
    R z = R{}, one = splat(T(1));
    R x = min_(length - p[PR_LOWER], z) + max_(length - p[PR_UPPER], z), depth = abs_(x);
    R inverse = one / (depth + p[PR_LIMIT_WIDTH]);
    R slope = select(x < z, -inverse, select(x > z, inverse, z)) * inverse;
    Damper c = {depth * inverse * p[PR_LIMIT_DAMPING] + p[PR_DAMPING], slope * (p[PR_LIMIT_WIDTH] * p[PR_LIMIT_DAMPING]), z, z};
    if (p[PR_FRICTION] > 0) {
        Grip g = grip(rate, as_real(p[PR_SLIP]));
        c.value = c.value + g.value * p[PR_FRICTION], c.by_rate = g.slope * p[PR_FRICTION];
    }
    return c;
}
DS_FN Damper unit_damper(const int* unit, const T* p, const Drive& drive, R length, R rate)
{
    if (unit[MU_LAW] == PASSIVE) return passive_damper(p, length, rate);
    return affine_damper(p, length, rate, unit[MU_ACT] < 0 ? drive.u[unit[MU_CONTROL]] : drive.act[unit[MU_ACT]]);
}

// M + h C: the joints of a sum lie on one path of the elimination tree, so each pair has its place
DS_FN void add_tendons(const Model& m, const State& s, const Kinematics& k, const Drive& drive, T h, R* entries)
{
    for (int j = 0; j < m.muscles.n; j++) {
        const int* unit = m.muscles.unit + j * MUI_COLUMNS;
        const T* p = m.muscles.unitr + j * MUR_COLUMNS;
        if (!unit[MU_DAMPS]) continue;
        R length, rate;
        measure(m, s, k, unit, p, {k.V, s.v}, length, rate);
        R c = unit_damper(unit, p, drive, length, rate).value * h;
        for (int a = unit[MU_TERM]; a < unit[MU_TERM] + unit[MU_TERMS]; a++) {
            R* row = entries + m.row[m.muscles.term[a * TMI_COLUMNS + TM_DOF]];
            for (int b = unit[MU_TERM]; b <= a; b++) {
                R& entry = row[m.depth[m.muscles.term[b * TMI_COLUMNS + TM_DOF]]];
                entry = entry + c * (m.muscles.termr[a] * m.muscles.termr[b]);
            }
        }
    }
}
#endif

// the activation after dt is act + up u - down act, within its range
struct Follow {
    R up, down;
};
DS_FN Follow follow(const int* unit, const T* p, T dt)
{
    R h = splat(dt);
    if (unit[MU_DYNAMICS] == INTEGRATOR) return {h, R{}};
    R part = h / p[AR_TAU];
    if (unit[MU_DYNAMICS] == FILTER_EXACT) part = T(1) - exp_(-part);
    return {part, part};
}
DS_FN R followed(const int* unit, const T* p, R u, R act, T dt)
{
    Follow by = follow(unit, p, dt);
    R a = act + by.up * u - by.down * act;
    a = select(a < splat(p[AR_ACT_LOWER]), splat(p[AR_ACT_LOWER]), a);
    return select(a > splat(p[AR_ACT_UPPER]), splat(p[AR_ACT_UPPER]), a);
}
DS_FN void followed_vjp(const int* unit, const T* p, R u, R act, T dt, R& gu, R& gact)
{
    Follow by = follow(unit, p, dt);
    R a = act + by.up * u - by.down * act;
    R g = select((a < splat(p[AR_ACT_LOWER])) | (a > splat(p[AR_ACT_UPPER])), R{}, gact);
    gu = gu + g * by.up;
    gact = g * (T(1) - by.down);
}
#endif

}  // namespace ds
