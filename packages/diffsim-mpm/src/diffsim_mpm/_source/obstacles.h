// The moving shapes of a world; nothing where the model has none.
#pragma once
#include "model.h"
#if MPM_SHAPES
#include "chain.h"
#include "coupling.h"
#endif

namespace ds {

#if MPM_SHAPES
// Shapes and their poses at the beginning and the end of a sub-step; cotangents of these in the backward pass. Impulses on the
// shapes and their cotangents, 6 per shape, are null where nobody wants them.
struct Obstacles {
    Shapes shapes;
    const T *pose, *next;
    Sum *gpose, *gnext;
    Sum* impulse;
    const T* gimpulse;
};
DS_FN void meet_all(const Obstacles& o, T dt, V3 x, R mass, V3& v)
{
    collide(o.shapes, o.pose, o.next, dt, x, mass, v, o.impulse);
}
DS_FN void meet_all_vjp(const Obstacles& o, T dt, V3 x, R mass, V3 v, V3& gv, R& gmass)
{
    V3 back;
    collide_vjp(o.shapes, o.pose, o.next, dt, x, mass, v, gv, o.gimpulse, back, gmass, o.gpose, o.gnext);
    gv = back;
}

// The joints of a world during a control step: from q to q + u, evenly, within their limits.
struct Motion {
    Chain chain;
    const T *q, *u;
    T share;  // of a sub-step in a control step
    T pose[2][12 * DS_MAX_SHAPES], gpose[2][12 * DS_MAX_SHAPES];
    int near[DS_MAX_SHAPES];
    T wrench[6 * DS_MAX_SHAPES];  // impulses on the shapes so far, or cotangents of their sums
};
template <class Args> DS_FN void begin_motion(const Args& a, int world, int substeps, Motion& w)
{
    w.chain = read_chain(a.chain_integers, a.chain_reals);
    w.q = a.q + size_t(world) * w.chain.joints;
    w.u = a.u + size_t(world) * w.chain.joints;
    w.share = T(1) / T(substeps);
    for (int i = 0; i < 6 * w.chain.shapes.count; i++) w.wrench[i] = T(0);
}
// whether the joints and where they are sent are numbers within the limit
DS_FN bool joints_within(const Motion& w, T limit)
{
    bool within = true;
    for (int j = 0; j < w.chain.joints; j++) within = within && wp::abs(w.q[j] + w.u[j]) <= limit && wp::abs(w.q[j]) <= limit;
    return within;
}
#if DS_LANES > 1
// The shapes near a box in sub-step k, and where they are.
DS_ENTRY Obstacles obstacles(Motion& w, int k, const T* low, const T* high)
{
    T q[DS_MAX_JOINTS];
    for (int end = 0; end < 2; end++) {
        joints_at(w.chain, w.q, w.u, T(k + end) * w.share, q);
        chain_poses(w.chain, q, w.pose[end]);
    }
    Shapes s = w.chain.shapes;
    for (int i = 0; i < 12 * s.count; i++) w.gpose[0][i] = w.gpose[1][i] = T(0);
    s = shapes_near(s, w.pose[0], low, high, w.near);
    return {s, w.pose[0], w.pose[1], w.gpose[0], w.gpose[1], nullptr, nullptr};
}
DS_FN void count_impulses(Motion& w, Obstacles& o) { o.impulse = w.wrench; }
DS_FN void pull_impulses(const Motion& w, bool wanted, Obstacles& o) { o.gimpulse = wanted ? w.wrench : nullptr; }
#endif

// Adds to gq and gu what the poses of sub-step k pass on.
template <class Args> DS_ENTRY void obstacles_vjp(const Args& a, int world, int k, const Motion& w)
{
    size_t first = size_t(world) * w.chain.joints;
    for (int end = 0; end < 2; end++) {
        T q[DS_MAX_JOINTS], back[DS_MAX_JOINTS], fraction = T(k + end) * w.share;
        for (int j = 0; j < w.chain.joints; j++) back[j] = T(0);
        joints_at(w.chain, w.q, w.u, fraction, q);
        chain_poses_vjp(w.chain, q, w.gpose[end], back);
        joints_at_vjp(w.chain, w.q, w.u, fraction, back, a.gq + first, a.gu + first);
    }
}

// Where the control step ends, and the mean force and torque on each shape; of a lost world, where it began.
template <class Args> DS_FN void end_motion(const Args& a, int world, const Model& m, bool ok, const Motion& w)
{
    size_t joints = w.chain.joints, numbers = 6 * w.chain.shapes.count;
    T* q = a.q_out + world * joints;
    if (ok) joints_at(w.chain, w.q, w.u, T(1), q);
    for (size_t j = 0; j < joints && !ok; j++) q[j] = w.q[j];
    for (size_t k = 0; k < numbers && a.wrench_out; k++)
        a.wrench_out[world * numbers + k] = ok ? w.wrench[k] * w.share / m.dt : a.wrench[world * numbers + k];
}
// The other way; the force and torque of the control step before have no influence.
template <class Args> DS_FN void end_motion_vjp(const Args& a, int world, const Model& m, Motion& w)
{
    size_t joints = w.chain.joints, numbers = 6 * w.chain.shapes.count, first = world * joints;
    for (size_t j = first; j < first + joints; j++) a.gq[j] = a.gu[j] = T(0);
    joints_at_vjp(w.chain, w.q, w.u, T(1), a.gq_out + first, a.gq + first, a.gu + first);
    for (size_t k = 0; k < numbers && a.gwrench_out; k++) {
        w.wrench[k] = a.gwrench_out[world * numbers + k] * w.share / m.dt;
        a.gwrench[world * numbers + k] = T(0);
    }
}
template <class Args> DS_FN void no_motion(const Args& a, int world, const Motion& w)
{
    size_t first = size_t(world) * w.chain.joints;
    for (size_t j = first; j < first + w.chain.joints; j++) a.gq[j] = a.gu[j] = T(0);
}
#else
struct Obstacles {};
DS_FN void meet_all(const Obstacles&, T, V3, R, V3&) {}
DS_FN void meet_all_vjp(const Obstacles&, T, V3, R, V3, V3&, R&) {}
struct Motion {};
DS_FN Obstacles obstacles(const Motion&, int, const T*, const T*) { return {}; }
DS_FN bool joints_within(const Motion&, T) { return true; }
DS_FN void count_impulses(const Motion&, Obstacles&) {}
DS_FN void pull_impulses(const Motion&, bool, Obstacles&) {}
template <class Args> DS_FN void begin_motion(const Args&, int, int, Motion&) {}
template <class Args> DS_FN void end_motion(const Args&, int, const Model&, bool, const Motion&) {}
template <class Args> DS_FN void end_motion_vjp(const Args&, int, const Model&, Motion&) {}
template <class Args> DS_FN void obstacles_vjp(const Args&, int, int, const Motion&) {}
template <class Args> DS_FN void no_motion(const Args&, int, const Motion&) {}
#endif

}  // namespace ds
