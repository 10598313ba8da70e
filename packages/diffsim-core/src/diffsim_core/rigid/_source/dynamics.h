// Forward dynamics M(q) qdd = tau - h(q, qd): recursive Newton-Euler for h, composite rigid bodies for M, and a
// sparse L^T D L factorisation without fill-in (Featherstone, ch. 5 and 6). Row d of M holds the entries
// with d's ancestors and itself, by depth, so every inner loop below runs over two contiguous rows. Ancestors are those of
// the elimination tree (rigid/_elimination.py): the tree of links, unless DS_CLIQUES leaves room for more.
#pragma once
#include "actuators.h"
#include "coupled.h"
#include "forces.h"
#include "loops.h"
#include "muscles.h"
#include "pairs.h"
#include "passive.h"
#include "spins.h"

namespace ds {

DS_FN void bodies(const Model& m, const Kinematics& k, Inertia* I)
{
    for (int i = 0; i < m.nl; i++)
        if (m.link[i * LI_COLUMNS + L_MASSIVE]) I[i] = link_inertia(k, m.linkr + i * LR_COLUMNS, i);
}

DS_FN V3 minus_gravity(const Model& m) { return {splat(-m.gravity[0]), splat(-m.gravity[1]), splat(-m.gravity[2])}; }

// h = Coriolis, centrifugal and gravity forces minus the ground's and the muscles', written with its sign reversed into tau
// and what damps added to C, for a sub-step of length h
DS_FN void subtract_bias(const Model& m, const State& s, const Drive& drive, const Kinematics& k, const Inertia* I, T h,
                         R* tau, Damping& C)
{
    SV A[DS_MAX_NL], F[DS_MAX_NL];
    R rest[6] = {R{}, R{}, R{}, R{}, R{}, R{}};
    V3 up = minus_gravity(m);
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        SV Vp = before(m, link, k.V, s.v + link[L_DOF], zero3());
        A[i] = before(m, link, A, rest, up) + cross_motion(Vp, joint_motion(link, k.S, s.v));
        if (link[L_MASSIVE])
            F[i] = I[i] * A[i] + cross_force(k.V[i], I[i] * k.V[i]);
        else
            F[i] = zero6();
    }
    contact_forces(m, k, h, F, C);
    if (m.contacts.nf) surface_forces(m, k, h, F, C);
#if DS_SPINS
    spin_forces(m, k, h, F, C);
#endif
    if (m.contacts.np) pair_forces(m, k, F);
#if DS_MUSCLES
    muscle_forces(m, s, k, drive, F, tau);
#endif
#if DS_PASSIVE
    passive_forces(m, k, up, F);
#endif
#if DS_LOOPS
    loop_forces(m, k, h, F);
#endif
    for (int i = m.nl - 1; i >= 0; i--) {
        const int* link = m.link + i * LI_COLUMNS;
        subtract_projection(link, k.S, F[i], tau);
        if (link[L_PARENT] >= 0) F[link[L_PARENT]] = F[link[L_PARENT]] + F[i];
    }
}

// M, and with the implicit part M + h C, of which only the upper part of C is left
DS_FN void mass_matrix(const Model& m, const State& s, const Drive& drive, const Kinematics& k, const Inertia* body, T h,
                       Factor& M, Damping& C)
{
    Inertia I[DS_MAX_NL];  // composite inertias
    bool filled[DS_MAX_NL];
    for (int i = 0; i < m.nl; i++) {
        filled[i] = m.link[i * LI_COLUMNS + L_MASSIVE];
        if (filled[i]) I[i] = body[i];
    }
    for (int i = m.nl - 1; i >= 0; i--) {
        const int* link = m.link + i * LI_COLUMNS;
        int parent = link[L_PARENT], d = link[L_DOF];
#if !DS_CLIQUES
        int root = i;
        while (m.link[root * LI_COLUMNS + L_PARENT] >= 0) root = m.link[root * LI_COLUMNS + L_PARENT];
        int free_columns = m.link[root * LI_COLUMNS + L_WORLD];
#endif
        for (int j = d; j < link[L_TURN] + link[L_TURNS]; j++) {
            SV f = I[i] * k.S[j];
#if DS_IMPLICIT
            if (C.touching[i]) f = f + C.link[i] * k.S[j] * splat(h);
#endif
            int row = m.row[j], depth = m.depth[j];
#if DS_CLIQUES
            for (int e = 0; e < depth; e++) M.m[row + e] = R{};
            for (int a = i; a >= 0; a = m.link[a * LI_COLUMNS + L_PARENT]) {
                const int* up = m.link + a * LI_COLUMNS;
                for (int c = up[L_DOF]; c < up[L_TURN] + up[L_TURNS] && c <= j; c++)
                    M.m[row + m.depth[c]] = dot(k.S[c], f);
            }
#else
            for (int e = depth; e >= free_columns; e--) M.m[row + e] = dot(k.S[m.ancestor[row + e]], f);
            // the free root's translations are the world's axes
            R t[3] = {f.v.x, f.v.y, f.v.z};
            for (int e = 0; e < free_columns && e <= depth; e++) M.m[row + e] = t[e];
#endif
            M.m[row + depth] = M.m[row + depth] + m.armature[j];
#if DS_IMPLICIT
            M.m[row + depth] = M.m[row + depth] + C.dof[j] * h;
#endif
        }
        if (parent >= 0) {
            I[parent] = filled[parent] ? I[parent] + I[i] : I[i];
            filled[parent] = true;
#if DS_IMPLICIT
            if (C.touching[i] && C.touching[parent])
                add(C.link[parent], C.link[i]);
            else if (C.touching[i])
                C.link[parent] = C.link[i], C.touching[parent] = true;
#endif
        }
    }
#if DS_LOOPS && DS_IMPLICIT
    add_loops(m, k, h, M.m);
#endif
#if DS_TENDONS && DS_IMPLICIT
    add_tendons(m, s, k, drive, h, M.m);
#endif
}

DS_FN void factorise(const Model& m, Factor& M)
{
    for (int k = m.nv - 1; k >= 0; k--) {
        R* mk = M.m + m.row[k];
        const int* ancestor = m.ancestor + m.row[k];
        int depth = m.depth[k];
        R inverse = splat(T(1)) / mk[depth];
        mk[depth] = inverse;
        for (int e = depth - 1; e >= 0; e--) {
            R a = mk[e] * inverse;
            R* mi = M.m + m.row[ancestor[e]];
            for (int j = 0; j <= e; j++) mi[j] = mi[j] - a * mk[j];
            mk[e] = a;
        }
    }
}

DS_FN void solve(const Model& m, const Factor& M, R* x)
{
    for (int k = m.nv - 1; k >= 0; k--) {
        const R* mk = M.m + m.row[k];
        const int* ancestor = m.ancestor + m.row[k];
        R xk = x[k];
        for (int e = 0; e < m.depth[k]; e++) x[ancestor[e]] = x[ancestor[e]] - mk[e] * xk;
    }
    for (int k = 0; k < m.nv; k++) {
        const R* mk = M.m + m.row[k];
        const int* ancestor = m.ancestor + m.row[k];
        R xk = x[k] * mk[m.depth[k]];
        for (int e = 0; e < m.depth[k]; e++) xk = xk - mk[e] * x[ancestor[e]];
        x[k] = xk;
    }
}

// M, and the force f of M qdd = f, which holds the actuators' generalised forces on entry, of all joints; with the implicit
// part M + h C for a sub-step of length h, where C holds the actuators' dampers on entry
DS_FN void joint_equations(const Model& m, const State& s, const Drive& drive, T h, Kinematics& k, R* f, Factor& M, Damping& C)
{
    Inertia I[DS_MAX_NL];
    pose(m, s, k);
    velocities(m, s, k);
    bodies(m, k, I);
    joint_forces(m, s, f, C);
    subtract_bias(m, s, drive, k, I, h, f, C);
    mass_matrix(m, s, drive, k, I, h, M, C);
}

// the same of the model's own degrees of freedom
DS_FN void equations_of_motion(const Model& m, const State& s, const Drive& drive, T h, Kinematics& k, R* f, Factor& M,
                               Damping& C)
{
#if DS_COUPLED
    Factor all;
    joint_equations(m, s, drive, h, k, f, all, C);
    reduce_force(m, s, all, f);
    reduce_mass(m, s, all, M);
#else
    joint_equations(m, s, drive, h, k, f, M, C);
#endif
}

// M, or M + h C, of the own degrees of freedom
DS_FN void own_mass_matrix(const Model& m, const State& s, const Drive& drive, const Kinematics& k, const Inertia* body, T h,
                           Factor& M, Damping& C)
{
#if DS_COUPLED
    Factor all;
    mass_matrix(m, s, drive, k, body, h, all, C);
    reduce_mass(m, s, all, M);
#else
    mass_matrix(m, s, drive, k, body, h, M, C);
#endif
}

#if DS_IMPLICIT
// C alone, at a state whose places and velocities are known
DS_FN void dampers(const Model& m, const State& s, const Drive& drive, const Kinematics& k, T h, Damping& C)
{
    R f[DS_MAX_NV];
    SV F[DS_MAX_NL];
    for (int d = 0; d < m.nv; d++) f[d] = R{};
    for (int i = 0; i < m.nl; i++) F[i] = zero6();
    clear(m, C);
    if (DS_SERVOS) servo_forces(m, s, drive.u, f, C);
    joint_forces(m, s, f, C);
    contact_forces(m, k, h, F, C);
    if (m.contacts.nf) surface_forces(m, k, h, F, C);
#if DS_SPINS
    spin_forces(m, k, h, F, C);
#endif
}
#endif

// M^-1 x in the own degrees of freedom, and what it makes of all joints
DS_FN void solve_joints(const Model& m, const State& s, const Factor& M, R* x)
{
#if DS_COUPLED
    R own[DS_MAX_NV];
    gather(m.coupled.dof, m.coupled.nv, x, own);
    solve(own_rows(m), M, own);
    scatter(m.coupled.dof, m.coupled.nv, own, x);
    follow_rates(m, s, x);
#else
    solve(m, M, x);
#endif
}

// the accelerations of all joints, from forces reduced to the own degrees of freedom
DS_FN void accelerations(const Model& m, const State& s, const Factor& M, R* qdd)
{
    solve_joints(m, s, M, qdd);
#if DS_COUPLED
    R a[DS_MAX_NV];
    drift(m, s, a);
    for (int d = 0; d < m.nv; d++) qdd[d] = qdd[d] + a[d];
#endif
}

// qdd holds the actuators' generalised forces on entry, the accelerations on exit; M is left factorised
DS_FN void forward_dynamics(const Model& m, const State& s, const Drive& drive, T h, Kinematics& k, R* qdd, Factor& M,
                            Damping& C)
{
    equations_of_motion(m, s, drive, h, k, qdd, M, C);
    factorise(own_rows(m), M);
    accelerations(m, s, M, qdd);
}

}  // namespace ds
