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

// comparisons, not min and max: a NaN must stay one, so that its world is contained
DS_FN R servo_bounded(const P* real, R f)
{
    R low = select(f < splat(real[S_LOWER]), splat(real[S_LOWER]), f);
    return select(low > splat(real[S_UPPER]), splat(real[S_UPPER]), low);
}

#if DS_IMPLICIT
// What a servo damps with: its own damping times the share of its force within the bounds, and the derivative of that share
// by the free force.
struct ServoDamper {
    R share, by_force, damping;
};
DS_FN ServoDamper servo_damper(const P* real, R f)
{
    R z = R{}, one = splat(T(1)), g = servo_bounded(real, f);
    Mask cut = (f < splat(real[S_LOWER])) | (f > splat(real[S_UPPER]));
    R ratio = g / select(cut, f, one);
    cut = cut & (ratio < one) & (ratio > z);
    return {select(cut, ratio, one), select(cut, -(ratio / f), z), max_(-splat(real[S_BY_V]), z)};
}
#endif

DS_FN void servo_forces(const Model& m, const State& s, const R* u, R* tau, Damping& C)
{
    for (int a = 0; a < m.ns; a++) {
        const P* real = m.servor + a * SR_COLUMNS;
        R f = servo_force(m, s, u, a);
        int d = m.servo[a * SI_COLUMNS + S_DOF];
        tau[d] = tau[d] + servo_bounded(real, f);
#if DS_IMPLICIT
        ServoDamper damper = servo_damper(real, f);
        C.dof[d] = C.dof[d] + damper.share * damper.damping;
#endif
    }
}

// the gradient of lambda . force by the free force: none passes a bound, but that through the damper's share
DS_FN R servo_force_vjp(const P* real, R f, R lambda, R h_qdd)
{
    R z = R{};
    R by = select(f < splat(real[S_LOWER]), z, lambda);
    by = select(f > splat(real[S_UPPER]), z, by);
#if DS_IMPLICIT
    ServoDamper damper = servo_damper(real, f);
    by = by - lambda * h_qdd * damper.damping * damper.by_force;
#endif
    return by;
}

// add the cotangents of state and control, given lambda, that of the generalised forces; h_qdd: with the implicit part, the
// velocities that the sub-step adds
DS_FN void servo_vjp(const Model& m, const State& s, const R* u, const R* lambda, const R* h_qdd, State& g, R* gu)
{
    for (int a = 0; a < m.ns; a++) {
        const int* servo = m.servo + a * SI_COLUMNS;
        const P* real = m.servor + a * SR_COLUMNS;
        int d = servo[S_DOF];
        R by = servo_force_vjp(real, servo_force(m, s, u, a), lambda[d], h_qdd[d]);
        gu[servo[S_CONTROL]] = gu[servo[S_CONTROL]] + by * real[S_GAIN];
        g.q[servo[S_Q]] = g.q[servo[S_Q]] + by * real[S_BY_Q];
        g.v[servo[S_DOF]] = g.v[servo[S_DOF]] + by * real[S_BY_V];
    }
}

}  // namespace ds
