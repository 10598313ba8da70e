// Servos: what an actuator does on one degree of freedom where that is more than gear times control: a force that
// follows the joint, or has bounds, or acts on one of the several degrees of freedom of a ball or free joint.
#pragma once
#include "implicit.h"

namespace ds {

// motors: gear times control
DS_FN void actuate(const Model& m, const R* u, R* tau)
{
    for (int d = 0; d < m.nv; d++) tau[d] = R{};
    for (int a = 0; a < m.nu; a++) tau[m.actuator[a]] = tau[m.actuator[a]] + u[a] * m.gear[a];
}

// GAIN u + OFFSET + BY_Q q + BY_V qd with the q and qd of the sub-step, before its bounds
DS_FN R servo_force(const Model& m, const State& s, const R* u, int a)
{
    const int* servo = m.servo + a * SI_COLUMNS;
    const P* real = m.servor + a * SR_COLUMNS;
    return u[servo[S_CONTROL]] * real[S_GAIN] + real[S_OFFSET] + s.q[servo[S_Q]] * real[S_BY_Q] +
           s.v[servo[S_DOF]] * real[S_BY_V];
}

struct Bounds {
    R lower, upper;
};
DS_FN Bounds servo_bounds(const P* real) { return {splat(real[S_LOWER]), splat(real[S_UPPER])}; }

// comparisons, not min and max: a NaN must stay one, so that its world is contained
DS_FN R bounded_force(Bounds b, R f)
{
    R low = select(f < b.lower, b.lower, f);
    return select(low > b.upper, b.upper, low);
}
DS_FN R within_bounds(Bounds b, R f, R x) { return select(f > b.upper, R{}, select(f < b.lower, R{}, x)); }

#if DS_IMPLICIT
// What a servo damps with: its own damping times the share of its force within the bounds, and the derivative of that share
// by the free force.
struct ServoDamper {
    R share, by_force, damping;
};
DS_FN ServoDamper bounded_damper(Bounds b, R f, R damping)
{
    R z = R{}, one = splat(T(1)), g = bounded_force(b, f);
    Mask cut = (f < b.lower) | (f > b.upper);
    R ratio = g / select(cut, f, one);
    cut = cut & (ratio < one) & (ratio > z);
    return {select(cut, ratio, one), select(cut, -(ratio / f), z), damping};
}
DS_FN ServoDamper servo_damper(const P* real, R f)
{
    return bounded_damper(servo_bounds(real), f, max_(-splat(real[S_BY_V]), R{}));
}
#endif

#if DS_SERVO_TOTALS
// what the servos of each degree of freedom come to, before the bounds of their sum
struct ServoTotals {
    R force[DS_MAX_NV], damping[DS_MAX_NV];
};
DS_FN Bounds total_bounds(const Model& m, int d) { return {splat(m.totals[2 * d]), splat(m.totals[2 * d + 1])}; }
DS_FN void servo_totals(const Model& m, const State& s, const R* u, ServoTotals& sum)
{
    for (int d = 0; d < m.nv; d++) sum.force[d] = sum.damping[d] = R{};
    for (int a = 0; a < m.ns; a++) {
        const P* real = m.servor + a * SR_COLUMNS;
        R f = servo_force(m, s, u, a);
        int d = m.servo[a * SI_COLUMNS + S_DOF];
        sum.force[d] = sum.force[d] + bounded_force(servo_bounds(real), f);
#if DS_IMPLICIT
        ServoDamper damper = servo_damper(real, f);
        sum.damping[d] = sum.damping[d] + damper.share * damper.damping;
#endif
    }
}
#endif

DS_FN void servo_forces(const Model& m, const State& s, const R* u, R* tau, Damping& C)
{
#if DS_SERVO_TOTALS
    ServoTotals sum;
    servo_totals(m, s, u, sum);
    for (int d = 0; d < m.nv; d++) {
        Bounds b = total_bounds(m, d);
        tau[d] = tau[d] + bounded_force(b, sum.force[d]);
#if DS_IMPLICIT
        C.dof[d] = C.dof[d] + bounded_damper(b, sum.force[d], R{}).share * sum.damping[d];
#endif
    }
#else
    for (int a = 0; a < m.ns; a++) {
        const P* real = m.servor + a * SR_COLUMNS;
        R f = servo_force(m, s, u, a);
        int d = m.servo[a * SI_COLUMNS + S_DOF];
        tau[d] = tau[d] + bounded_force(servo_bounds(real), f);
#if DS_IMPLICIT
        ServoDamper damper = servo_damper(real, f);
        C.dof[d] = C.dof[d] + damper.share * damper.damping;
#endif
    }
#endif
}

// Cotangents of each servo's force and of its damper. Without bounds of sums both are lambda, that of the generalised force.
struct ServoBar {
    const R *force, *damper;
#if DS_SERVO_TOTALS
    R of_force[DS_MAX_NV], of_damper[DS_MAX_NV];
#endif
};
DS_FN void servo_bar(const Model& m, const State& s, const R* u, const R* lambda, const R* h_qdd, ServoBar& bar)
{
#if DS_SERVO_TOTALS
    ServoTotals sum;
    servo_totals(m, s, u, sum);
    for (int d = 0; d < m.nv; d++) {
        Bounds b = total_bounds(m, d);
        bar.of_force[d] = within_bounds(b, sum.force[d], lambda[d]);
        bar.of_damper[d] = lambda[d];
#if DS_IMPLICIT
        ServoDamper damper = bounded_damper(b, sum.force[d], sum.damping[d]);
        bar.of_force[d] = bar.of_force[d] - lambda[d] * h_qdd[d] * damper.damping * damper.by_force;
        bar.of_damper[d] = lambda[d] * damper.share;
#endif
    }
    bar.force = bar.of_force, bar.damper = bar.of_damper;
#else
    bar.force = bar.damper = lambda;
#endif
}

// The gradient by the free force, given the cotangents of the bounded one and of the damper: none passes a bound, but that
// through the damper's share.
DS_FN R servo_force_vjp(const P* real, R f, R by_force, R by_damper, R h_qdd)
{
    R by = within_bounds(servo_bounds(real), f, by_force);
#if DS_IMPLICIT
    ServoDamper damper = servo_damper(real, f);
    by = by - by_damper * h_qdd * damper.damping * damper.by_force;
#endif
    return by;
}

// add the cotangents of state and control, given lambda, that of the generalised forces; h_qdd: with the implicit part, the
// velocities that the sub-step adds
DS_FN void servo_vjp(const Model& m, const State& s, const R* u, const R* lambda, const R* h_qdd, State& g, R* gu)
{
    ServoBar bar;
    servo_bar(m, s, u, lambda, h_qdd, bar);
    for (int a = 0; a < m.ns; a++) {
        const int* servo = m.servo + a * SI_COLUMNS;
        const P* real = m.servor + a * SR_COLUMNS;
        int d = servo[S_DOF];
        R by = servo_force_vjp(real, servo_force(m, s, u, a), bar.force[d], bar.damper[d], h_qdd[d]);
        gu[servo[S_CONTROL]] = gu[servo[S_CONTROL]] + by * real[S_GAIN];
        g.q[servo[S_Q]] = g.q[servo[S_Q]] + by * real[S_BY_Q];
        g.v[servo[S_DOF]] = g.v[servo[S_DOF]] + by * real[S_BY_V];
    }
}

}  // namespace ds
