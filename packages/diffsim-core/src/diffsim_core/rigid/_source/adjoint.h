// The hand-written adjoint of one sub-step. With residual r(q, qd, qdd) = M qdd + h - tau = 0, the cotangent g of
// qdd gives lambda = M^-1 g, and every other cotangent is minus the gradient of
//     Phi(q, qd) = lambda . r(q, qd, qdd)    at fixed lambda and qdd,
// which one outward and one inward pass over the links deliver: Phi is a sum over links of forces paired with X,
// the velocity field that lambda would produce. Moving joint i carries everything beyond it rigidly, and a rigid
// motion delta of a subtree changes Phi only through the predecessor's V, A and X as the subtree sees them, and
// through the ground. No derivative of M, of its factor or of an inertia is ever formed. See
// docs/development/adjoint.md.
#pragma once
#include "coupled_vjp.h"
#include "integrate.h"
#include "parameters.h"

namespace ds {

// S x for three x at once
template <class J>
DS_FN void joint_motions(const int* link, const SV* S, const R* x, const R* y, const R* z, SV& Sx, SV& Sy, SV& Sz)
{
    int d = link[L_TURN];
    Sx = motion<J>(S + d, x + d), Sy = motion<J>(S + d, y + d), Sz = motion<J>(S + d, z + d);
}

// a joint's part of the cotangents, from those of its link's motion and of its rate; b: of what comes before the joint
template <class J>
DS_FN void joint_vjp(const Model& m, const State& s, const int* link, const P* real, const SV* S, const R* lambda,
                     const SV& by_rate, const SV& by_motion, const LinkBar& b, State& g)
{
    int a = link[L_Q], d = link[L_DOF];
    for (int j = 0; j < J::WORLD; j++) g.v[d + j] = g.v[d + j] - lambda[d + j] * m.damping[d + j];
    if (J::WORLD) {
        add(g.v + d, -b.V.v);
        add(g.q + a, -b.W.v);
    }
    R turn[J::NV - J::WORLD];
    for (int j = J::WORLD; j < J::NV; j++) {
        g.v[d + j] = g.v[d + j] - dot(S[d + j], by_rate) - lambda[d + j] * m.damping[d + j];
        turn[j - J::WORLD] = -dot(S[d + j], by_motion);
    }
    J::coordinates_vjp(link, real, s.q + a, lambda + d, turn, g.q + a);
}

// g: cotangent of the next state on entry, of this state on exit; gtau: cotangent of the motors' forces, added to;
// gu: that of the controls through servos and muscles, added to; gact: that of the activations, as g; reals: with
// DS_PARAMS, the cotangent of the model's reals, added to; M: its factor as the forward pass left it, or, unless
// factored, room for it
DS_FN void substep_vjp(const Model& m, const State& s, const Drive& drive, const R* qdd, Factor& M, bool factored, T dt,
                       State& g, R* gtau, R* gu, R* gact, R* reals)
{
    integrate_vjp(m, s, qdd, dt, g);
#if DS_MUSCLES
    advance_activations_vjp(m, drive, dt, gu, gact);
#endif
    Kinematics k;
    Inertia I[DS_MAX_NL];
    pose(m, s, k);
    velocities(m, s, k);
    bodies(m, k, I);
    R lambda[DS_MAX_NV];
    for (int d = 0; d < m.nv; d++) lambda[d] = g.v[d] * dt;
    if (!factored) {
        Damping C;
#if DS_IMPLICIT
        dampers(m, s, drive, k, dt, C);
#endif
        own_mass_matrix(m, s, drive, k, I, dt, M, C);
        factorise(own_rows(m), M);
    }
    solve_joints(m, s, M, lambda);
    for (int d = 0; d < m.nv; d++) gtau[d] = gtau[d] + lambda[d];
    const R *added = qdd, *damped = s.v;  // velocities that the sub-step adds, and those that dampers act on
    const SV* added_motion = nullptr;
#if DS_IMPLICIT
    R h_qdd[DS_MAX_NV], after[DS_MAX_NV];
    SV Y[DS_MAX_NL];
    for (int d = 0; d < m.nv; d++) h_qdd[d] = qdd[d] * dt, after[d] = s.v[d] + h_qdd[d];
    added = h_qdd, damped = after, added_motion = Y;
#endif
    if (DS_SERVOS) servo_vjp(m, s, drive.u, lambda, added, g, gu);
#if DS_LOSSES
    loss_vjp(m, s, lambda, damped, g);
#endif

    SV A[DS_MAX_NL], X[DS_MAX_NL];
    LinkBar bar[DS_MAX_NL];
    V3 up = minus_gravity(m);
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        int d = link[L_DOF];
        SV Vp = before(m, link, k.V, s.v + d, zero3());
        SV of_v, of_qdd, of_lambda;
        DS_WITH_JOINT(link, joint_motions<J>(link, k.S, s.v, qdd, lambda, of_v, of_qdd, of_lambda))
        A[i] = before(m, link, A, qdd + d, up) + of_qdd + cross_motion(Vp, of_v);
        X[i] = before(m, link, X, lambda + d, zero3()) + of_lambda;
        LinkBar& b = bar[i];
#if DS_IMPLICIT
        Y[i] = before(m, link, Y, h_qdd + d, zero3()) + joint_motion(link, k.S, h_qdd);
        b.Y = zero6();
#endif
        if (link[L_MASSIVE]) {
            SV P = I[i] * k.V[i];
            b.A = I[i] * X[i];
            b.X = I[i] * A[i] + cross_force(k.V[i], P);
            b.V = I[i] * cross_motion(X[i], k.V[i]) - cross_force(X[i], P);
        } else {
            b.A = b.X = b.V = zero6();
        }
        b.W = zero6();
    }
    contact_vjp(m, k, X, added_motion, dt, bar);
    if (m.contacts.nf) surface_vjp(m, k, X, added_motion, dt, bar);
#if DS_SPINS
    spin_vjp(m, k, X, added_motion, dt, bar);
#endif
    if (m.contacts.np) pair_forces_vjp(m, k, X, bar);
#if DS_MUSCLES
    muscle_vjp(m, s, k, X, lambda, added, drive, bar, g, gu, gact);
#endif
#if DS_PASSIVE
    passive_vjp(m, k, up, X, bar);
#endif
#if DS_LOOPS
    loop_vjp(m, k, X, added_motion, dt, bar, reals);
#endif
#if DS_PARAMS
    force_parameters_vjp(m, s, drive.u, qdd, added, damped, lambda, reals);
    inertia_parameters_vjp(m, k, A, X, reals);
#if DS_PASSIVE
    gravcomp_parameters_vjp(m, k, up, X, reals);
#endif
    contact_parameters_vjp(m, k, X, added_motion, dt, reals);
#endif

    for (int i = m.nl - 1; i >= 0; i--) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        int parent = link[L_PARENT], a = link[L_Q], d = link[L_DOF];
        SV Vp = before(m, link, k.V, s.v + d, zero3());
        SV Ap = before(m, link, A, qdd + d, up);
        SV Xp = before(m, link, X, lambda + d, zero3());
        LinkBar b = bar[i];
        SV by_rate = b.V - cross_force(Vp, b.A);                              // paired with S: d Phi / d qd
        b.V = b.V + cross_force(joint_motion(link, k.S, s.v), b.A);           // cotangent of Vp
        SV by_motion = b.W - cross_force(Vp, b.V) - cross_force(Ap, b.A) - cross_force(Xp, b.X);  // d Phi / d delta
#if DS_IMPLICIT
        by_motion = by_motion - cross_force(before(m, link, Y, h_qdd + d, zero3()), b.Y);
#endif
        DS_WITH_JOINT(link, joint_vjp<J>(m, s, link, real, k.S, lambda, by_rate, by_motion, b, g))
        if (parent >= 0) {
            LinkBar& up_bar = bar[parent];
            up_bar.V = up_bar.V + b.V;
            up_bar.A = up_bar.A + b.A;
            up_bar.X = up_bar.X + b.X;
            up_bar.W = up_bar.W + b.W;
#if DS_IMPLICIT
            up_bar.Y = up_bar.Y + b.Y;
#endif
        }
    }
#if DS_COUPLED
    couplings_vjp(m, s, drive, dt, k, qdd, lambda, g);
#endif
}

}  // namespace ds
