// Coupled joints by exact reduction. A follower's coordinate is y = p(x) of its leader's, so all joints move by
// qd = G qd_own and qdd = G qdd_own + drift, and G^T M G qdd_own = G^T (f - M drift) has no unknown force left in it. G has
// one entry in each row, the product of the slopes from the follower to the own coordinate that moves it.
#pragma once
#include "block.h"
#include "model.h"

namespace ds {

#if DS_COUPLED

// A law's value and its derivatives, at a leader x.
struct LawAt {
    R y, slope, bend, twist;
    int q, dof, leader;  // coordinate and degree of freedom of the follower, degree of freedom of its leader or -1
};
DS_FN LawAt law_at(const Model& m, int index, const R* q)
{
    const int* law = m.coupled.law + index * COI_COLUMNS;
    const T* real = m.coupled.lawr + index * COR_COLUMNS;
    R x = law[CO_LEADER_Q] >= 0 ? q[law[CO_LEADER_Q]] - splat(real[CO_X]) : R{};
    R a = splat(real[CO_C + 4]), b = R{}, c = R{}, d = R{};
    for (int j = 3; j >= 0; j--) {
        d = d * x + c;
        c = c * x + b;
        b = b * x + a;
        a = a * x + splat(real[CO_C + j]);
    }
    return {a + splat(real[CO_Y]), b, c * T(2), d * T(6), law[CO_Q], law[CO_DOF], law[CO_LEADER_DOF]};
}

// fill in the followers' coordinates and velocities
DS_FN void follow(const Model& m, State& s)
{
    for (int i = 0; i < m.coupled.n; i++) {
        LawAt law = law_at(m, i, s.q);
        s.q[law.q] = law.y;
        s.v[law.dof] = law.leader >= 0 ? law.slope * s.v[law.leader] : R{};
    }
}

// x <- G x: fill in what followers get of something that moves as velocities do
DS_FN void follow_rates(const Model& m, const State& s, R* x)
{
    for (int i = 0; i < m.coupled.n; i++) {
        LawAt law = law_at(m, i, s.q);
        x[law.dof] = law.leader >= 0 ? law.slope * x[law.leader] : R{};
    }
}

// acceleration of all joints while the own ones do not accelerate
DS_FN void drift(const Model& m, const State& s, R* a)
{
    for (int d = 0; d < m.nv; d++) a[d] = R{};
    for (int i = 0; i < m.coupled.n; i++) {
        LawAt law = law_at(m, i, s.q);
        if (law.leader >= 0)
            a[law.dof] = law.slope * a[law.leader] + law.bend * s.v[law.leader] * s.v[law.leader];
    }
}

// y = M x, for the rows of all joints
DS_FN void multiply(const Model& m, const Factor& M, const R* x, R* y)
{
    for (int d = 0; d < m.nv; d++) y[d] = R{};
    for (int d = 0; d < m.nv; d++) {
        const R* row = M.m + m.row[d];
        const int* ancestor = m.ancestor + m.row[d];
        for (int e = 0; e < m.depth[d]; e++) {
            y[d] = y[d] + row[e] * x[ancestor[e]];
            y[ancestor[e]] = y[ancestor[e]] + row[e] * x[d];
        }
        y[d] = y[d] + row[m.depth[d]] * x[d];
    }
}

// own = G^T all G
DS_FN void reduce_mass(const Model& m, const State& s, const Factor& all, Factor& own)
{
    R gain[DS_MAX_NV];
    for (int d = 0; d < m.nv; d++) gain[d] = splat(T(1));
    follow_rates(m, s, gain);
    for (int e = 0; e < m.coupled.nm; e++) own.m[e] = R{};
    for (int d = 0; d < m.nv; d++) {
        for (int e = m.row[d]; e <= m.row[d] + m.depth[d]; e++) {
            int target = m.coupled.target[e];
            if (target < 0) continue;
            R x = all.m[e] * gain[d] * gain[m.ancestor[e]];
            own.m[target / 2] = own.m[target / 2] + (target % 2 ? x * T(2) : x);
        }
    }
}

// f <- G^T (f - M drift), in the places of the own degrees of freedom; M: of all joints
DS_FN void reduce_force(const Model& m, const State& s, const Factor& M, R* f)
{
    if (m.coupled.curved) {
        R a[DS_MAX_NV], by[DS_MAX_NV];
        drift(m, s, a);
        multiply(m, M, a, by);
        for (int d = 0; d < m.nv; d++) f[d] = f[d] - by[d];
    }
    for (int i = m.coupled.n - 1; i >= 0; i--) {
        LawAt law = law_at(m, i, s.q);
        if (law.leader >= 0) f[law.leader] = f[law.leader] + law.slope * f[law.dof];
    }
}

// the model with the rows of the own mass matrix in place of those of all joints
DS_FN Model own_rows(const Model& m)
{
    Model own = m;
    own.nv = m.coupled.nv, own.nm = m.coupled.nm;
    own.depth = m.coupled.depth, own.row = m.coupled.row, own.ancestor = m.coupled.ancestor;
    return own;
}

// between numbers of all joints and those of the own degrees of freedom, which come first
DS_FN void gather(const int* places, int n, const R* all, R* own)
{
    for (int i = 0; i < n; i++) own[i] = all[places[i]];
}
DS_FN void scatter(const int* places, int n, const R* own, R* all)
{
    for (int i = 0; i < n; i++) all[places[i]] = own[i];
}

#else
DS_FN const Model& own_rows(const Model& m) { return m; }
#endif

// Arrays from outside hold the own coordinates and degrees of freedom.
DS_FN void load_coordinates(const Model& m, const Block& b, const T* from, R* q)
{
#if DS_COUPLED
    R own[DS_MAX_NQ];
    load(b, from, m.coupled.nq, own);
    for (int a = 0; a < m.nq; a++) q[a] = R{};
    scatter(m.coupled.q, m.coupled.nq, own, q);
#else
    load(b, from, m.nq, q);
#endif
}
DS_FN void load_velocities(const Model& m, const Block& b, const T* from, R* v)
{
#if DS_COUPLED
    R own[DS_MAX_NV];
    load(b, from, m.coupled.nv, own);
    for (int d = 0; d < m.nv; d++) v[d] = R{};
    scatter(m.coupled.dof, m.coupled.nv, own, v);
#else
    load(b, from, m.nv, v);
#endif
}
DS_FN void load_state(const Model& m, const Block& b, const T* q, const T* v, State& s)
{
    load_coordinates(m, b, q, s.q);
    load_velocities(m, b, v, s.v);
#if DS_COUPLED
    follow(m, s);
#endif
}
DS_FN void store_coordinates(const Model& m, const Block& b, const R* q, T* to)
{
#if DS_COUPLED
    R own[DS_MAX_NQ];
    gather(m.coupled.q, m.coupled.nq, q, own);
    store(b, own, m.coupled.nq, to);
#else
    store(b, q, m.nq, to);
#endif
}
DS_FN void store_velocities(const Model& m, const Block& b, const R* v, T* to)
{
#if DS_COUPLED
    R own[DS_MAX_NV];
    gather(m.coupled.dof, m.coupled.nv, v, own);
    store(b, own, m.coupled.nv, to);
#else
    store(b, v, m.nv, to);
#endif
}

}  // namespace ds
