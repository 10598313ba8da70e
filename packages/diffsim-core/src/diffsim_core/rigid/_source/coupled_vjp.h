// The chain rule of coupled joints, after the adjoint of a sub-step of all joints. With lambda = G lambda_own the residual of
// the own coordinates is Phi = lambda . r(q, qd, qdd) of all joints, so besides the followers' q and qd also their qdd and
// lambda depend on the leaders: d Phi / d qdd = M lambda, and d Phi / d lambda = r, which is zero for no single joint.
#pragma once
#include "actuators.h"
#include "dynamics.h"

namespace ds {

#if DS_COUPLED

// M x and M y - f of all joints, where M is that of a sub-step of length h
DS_FN void unreduced(const Model& m, const State& s, const Drive& drive, T h, Kinematics& k, const R* x, const R* y, R* Mx,
                     R* rest)
{
    R f[DS_MAX_NV];
    Factor M;
    Damping C;
    actuate(m, drive.u, f);
#if DS_IMPLICIT
    clear(m, C);
#endif
    if (DS_SERVOS) servo_forces(m, s, drive.u, f, C);
    joint_equations(m, s, drive, h, k, f, M, C);
    multiply(m, M, x, Mx);
    multiply(m, M, y, rest);
    for (int d = 0; d < m.nv; d++) rest[d] = rest[d] - f[d];
}

// cotangents of the followers' coordinates and velocities, passed on to the leaders'
DS_FN void follow_vjp(const Model& m, const State& s, State& g)
{
    for (int i = m.coupled.n - 1; i >= 0; i--) {
        LawAt law = law_at(m, i, s.q);
        int l = law.leader, a = m.coupled.law[i * COI_COLUMNS + CO_LEADER_Q];
        if (l >= 0) {
            g.q[a] = g.q[a] + law.slope * g.q[law.q] + law.bend * s.v[l] * g.v[law.dof];
            g.v[l] = g.v[l] + law.slope * g.v[law.dof];
        }
        g.q[law.q] = g.v[law.dof] = R{};
    }
}

// g: cotangents of the state of all joints, at fixed qdd and lambda, on entry; those of the own state on exit
DS_FN void couplings_vjp(const Model& m, const State& s, const Drive& drive, T h, Kinematics& k, const R* qdd, const R* lambda,
                         State& g)
{
    if (m.coupled.curved) {
        R pull[DS_MAX_NV], rest[DS_MAX_NV];
        unreduced(m, s, drive, h, k, lambda, qdd, pull, rest);
        for (int i = m.coupled.n - 1; i >= 0; i--) {
            LawAt law = law_at(m, i, s.q);
            int l = law.leader, a = m.coupled.law[i * COI_COLUMNS + CO_LEADER_Q];
            if (l < 0) continue;
            R by_slope = qdd[l] * pull[law.dof] + lambda[l] * rest[law.dof], v = s.v[l];
            g.q[a] = g.q[a] - law.bend * by_slope - law.twist * v * v * pull[law.dof];
            g.v[l] = g.v[l] - law.bend * v * pull[law.dof] * T(2);
            pull[l] = pull[l] + law.slope * pull[law.dof];
            rest[l] = rest[l] + law.slope * rest[law.dof];
        }
    }
    follow_vjp(m, s, g);
}

#endif

}  // namespace ds
