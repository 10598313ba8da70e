// Servos: what an actuator does on one degree of freedom where that is more than gear times control: a force that
// follows the joint, or has bounds, or acts on one of the several degrees of freedom of a ball or free joint.
#pragma once
#include "model.h"

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

DS_FN void servo_forces(const Model& m, const State& s, const R* u, R* tau)
{
    for (int a = 0; a < m.ns; a++) {
        const P* real = m.servor + a * SR_COLUMNS;
        R f = servo_force(m, s, u, a);
        // comparisons, not min and max: a NaN must stay one, so that its world is contained
        f = select(f < splat(real[S_LOWER]), splat(real[S_LOWER]), f);
        f = select(f > splat(real[S_UPPER]), splat(real[S_UPPER]), f);
        int d = m.servo[a * SI_COLUMNS + S_DOF];
        tau[d] = tau[d] + f;
    }
}

// add the cotangents of state and control, given lambda, that of the generalised forces; none passes a bound
DS_FN void servo_vjp(const Model& m, const State& s, const R* u, const R* lambda, State& g, R* gu)
{
    for (int a = 0; a < m.ns; a++) {
        const int* servo = m.servo + a * SI_COLUMNS;
        const P* real = m.servor + a * SR_COLUMNS;
        R f = servo_force(m, s, u, a), z = R{};
        R by = select(f < splat(real[S_LOWER]), z, lambda[servo[S_DOF]]);
        by = select(f > splat(real[S_UPPER]), z, by);
        gu[servo[S_CONTROL]] = gu[servo[S_CONTROL]] + by * real[S_GAIN];
        g.q[servo[S_Q]] = g.q[servo[S_Q]] + by * real[S_BY_Q];
        g.v[servo[S_DOF]] = g.v[servo[S_DOF]] + by * real[S_BY_V];
    }
}

}  // namespace ds
