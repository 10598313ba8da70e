// Forward dynamics M(q) qdd = tau - h(q, qd): recursive Newton-Euler for h, composite rigid bodies for M, and the sparse
// factor of factor.h (Featherstone, ch. 5 and 6).
#pragma once
#include "actuators.h"
#include "coupled.h"
#include "factor.h"
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

// The force on each degree of freedom's motion: that of the composite inertias, and with the implicit part h times that of the
// composite dampers, of which only the upper part of C is left. sum: room for the composites, which may be the bodies' own.
DS_FN void composite_forces(const Model& m, const Kinematics& k, const Inertia* body, Inertia* sum, T h, Damping& C, SV* f)
{
    const Inertia* composite[DS_MAX_NL];
    bool filled[DS_MAX_NL];
    for (int i = 0; i < m.nl; i++) composite[i] = body + i, filled[i] = m.link[i * LI_COLUMNS + L_MASSIVE];
    for (int i = m.nl - 1; i >= 0; i--) {
        const int* link = m.link + i * LI_COLUMNS;
        const Inertia& I = *composite[i];
        int parent = link[L_PARENT];
        for (int j = link[L_DOF]; j < link[L_TURN] + link[L_TURNS]; j++) {
            f[j] = I * k.S[j];
#if DS_IMPLICIT
            if (C.touching[i]) f[j] = f[j] + C.link[i] * k.S[j] * splat(h);
#endif
        }
        if (parent >= 0) {
            sum[parent] = filled[parent] ? *composite[parent] + I : I;
            composite[parent] = sum + parent;
            filled[parent] = true;
#if DS_IMPLICIT
            if (C.touching[i] && C.touching[parent])
                add(C.link[parent], C.link[i]);
            else if (C.touching[i])
                C.link[parent] = C.link[i], C.touching[parent] = true;
#endif
        }
    }
}

#if DS_CLIQUES
// f against the motions of a row's ancestors in the tree of links
DS_FN void fill_rows(const Model& m, const Kinematics& k, const SV* f, Factor& M)
{
    for (int e = 0; e < m.nm; e++) M.m[e] = R{};
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        for (int j = link[L_DOF]; j < link[L_TURN] + link[L_TURNS]; j++)
            for (int a = i; a >= 0; a = m.link[a * LI_COLUMNS + L_PARENT]) {
                const int* up = m.link + a * LI_COLUMNS;
                for (int c = up[L_DOF]; c < up[L_TURN] + up[L_TURNS] && c <= j; c++)
                    M.m[m.row[j] + m.depth[c]] = dot(k.S[c], f[j]);
            }
    }
}
#else
// the same of the rows first, first + 1, ... of a chain, whose root has its place in the world if `placed`: its first three
// motions are the world's axes
template <int N>
DS_FN void fill_chain(const Model& m, const Kinematics& k, const SV* f, int first, bool placed, Factor& M)
{
    int before = m.depth[first], from = placed ? 3 : 0;
    R* row[N];
    SV own[N];
    for (int c = 0; c < N; c++) row[c] = M.m + m.row[first + c], own[c] = f[first + c];
    for (int c = 0; placed && c < N; c++) {
        row[c][0] = own[c].v.x;  // one by one: a loop of unknown length would be a call to copy memory
        if (before + c >= 1) row[c][1] = own[c].v.y;
        if (before + c >= 2) row[c][2] = own[c].v.z;
    }
    const int* ancestor = m.ancestor + m.row[first];
    for (int e = from; e < before; e++) {
        SV S = k.S[ancestor[e]];
        for (int c = 0; c < N; c++) row[c][e] = dot(S, own[c]);
    }
    for (int up = 0; up < N; up++) {
        if (before + up < from) continue;
        SV S = k.S[first + up];
        for (int c = up; c < N; c++) row[c][before + up] = dot(S, own[c]);
    }
}
DS_FN void fill_rows(const Model& m, const Kinematics& k, const SV* f, Factor& M)
{
    bool placed[DS_MAX_NV];  // of the first degree of freedom of a tree
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        if (link[L_PARENT] < 0) placed[link[L_DOF]] = link[L_WORLD];
    }
    for (int d = 0, n = 0; d < m.nv; d += n) {
        n = chain_from(m, d);
        bool of_root = placed[m.ancestor[m.row[d]]];
        DS_WITH_CHAIN(n, fill_chain<N>(m, k, f, d, of_root, M))
    }
}
#endif

// M, and with the implicit part M + h C, of which only the upper part of C is left; sum as above
DS_FN void mass_matrix(const Model& m, const State& s, const Drive& drive, const Kinematics& k, const Inertia* body,
                       Inertia* sum, T h, Factor& M, Damping& C)
{
    SV f[DS_MAX_NV];
    composite_forces(m, k, body, sum, h, C, f);
    fill_rows(m, k, f, M);
    for (int d = 0; d < m.nv; d++) {
        R& diagonal = M.m[m.row[d] + m.depth[d]];
        diagonal = diagonal + m.armature[d];
#if DS_IMPLICIT
        diagonal = diagonal + C.dof[d] * h;
#endif
    }
#if DS_LOOPS && DS_IMPLICIT
    add_loops(m, k, h, M.m);
#endif
#if DS_TENDONS && DS_IMPLICIT
    add_tendons(m, s, k, drive, h, M.m);
#endif
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
    mass_matrix(m, s, drive, k, I, I, h, M, C);
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
    Inertia sum[DS_MAX_NL];
#if DS_COUPLED
    Factor all;
    mass_matrix(m, s, drive, k, body, sum, h, all, C);
    reduce_mass(m, s, all, M);
#else
    mass_matrix(m, s, drive, k, body, sum, h, M, C);
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
