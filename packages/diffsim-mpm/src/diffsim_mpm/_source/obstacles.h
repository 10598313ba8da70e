// The moving shapes of a world; nothing where the model has none.
#pragma once
#include "model.h"
#if MPM_SHAPES
#include "chain.h"
#include "coupling.h"
#endif

namespace ds {

#if MPM_SHAPES
// Shapes and their poses at the beginning and the end of a sub-step; cotangents of these in the backward pass.
struct Obstacles {
    Shapes shapes;
    const T *pose, *next;
    T *gpose, *gnext;
};
DS_FN void meet_all(const Obstacles& o, T dt, V3 x, R mass, V3& v) { collide(o.shapes, o.pose, o.next, dt, x, mass, v, nullptr); }
DS_FN void meet_all_vjp(const Obstacles& o, T dt, V3 x, R mass, V3 v, V3& gv, R& gmass)
{
    V3 back;
    collide_vjp(o.shapes, o.pose, o.next, dt, x, mass, v, gv, nullptr, back, gmass, o.gpose, o.gnext);
    gv = back;
}

// The joints of a world during a control step: from q to q + u, evenly, within their limits.
struct Motion {
    Chain chain;
    const T *q, *u;
    T share;  // of a sub-step in a control step
    T pose[2][12 * DS_MAX_SHAPES], gpose[2][12 * DS_MAX_SHAPES];
    int near[DS_MAX_SHAPES];
};
DS_FN void begin_motion(const int* integers, const T* reals, const T* q, const T* u, int world, int substeps, Motion& w)
{
    w.chain = read_chain(integers, reals);
    w.q = q + size_t(world) * w.chain.joints;
    w.u = u + size_t(world) * w.chain.joints;
    w.share = T(1) / T(substeps);
}
// whether the joints and where they are sent are numbers within the limit
DS_FN bool joints_within(const Motion& w, T limit)
{
    bool within = true;
    for (int j = 0; j < w.chain.joints; j++) within = within && wp::abs(w.q[j] + w.u[j]) <= limit && wp::abs(w.q[j]) <= limit;
    return within;
}
// whether the ball about a shape reaches into a box [m]
DS_FN bool reaches(const T* origin, T radius, const T* low, const T* high)
{
    T squared = T(0);
    for (int k = 0; k < 3; k++) {
        T away = origin[k] < low[k] ? low[k] - origin[k] : origin[k] > high[k] ? origin[k] - high[k] : T(0);
        squared += away * away;
    }
    return squared <= radius * radius;
}
// The shapes near a box in sub-step k, and where they are.
DS_ENTRY Obstacles obstacles(Motion& w, int k, const T* low, const T* high)
{
    T q[DS_MAX_JOINTS];
    for (int end = 0; end < 2; end++) {
        joints_at(w.chain, w.q, w.u, T(k + end) * w.share, q);
        chain_poses(w.chain, q, w.pose[end]);
    }
    Shapes s = w.chain.shapes;
    int count = 0;
    for (int i = 0; i < s.count; i++) {
        for (int c = 0; c < 12; c++) w.gpose[0][12 * i + c] = w.gpose[1][12 * i + c] = T(0);
        if (reaches(w.pose[0] + 12 * i + 9, s.reals[i * SR_COLUMNS + SR_BALL], low, high)) w.near[count++] = i;
    }
    s.count = count;
    s.near = w.near;
    return {s, w.pose[0], w.pose[1], w.gpose[0], w.gpose[1]};
}
// Adds to gq and gu what the sub-step's poses pass on.
DS_ENTRY void obstacles_vjp(const Motion& w, int k, T* gq, T* gu)
{
    for (int end = 0; end < 2; end++) {
        T q[DS_MAX_JOINTS], back[DS_MAX_JOINTS], fraction = T(k + end) * w.share;
        for (int j = 0; j < w.chain.joints; j++) back[j] = T(0);
        joints_at(w.chain, w.q, w.u, fraction, q);
        chain_poses_vjp(w.chain, q, w.gpose[end], back);
        joints_at_vjp(w.chain, w.q, w.u, fraction, back, gq, gu);
    }
}
// where the control step ends
DS_FN void end_motion(const Motion& w, bool ok, T* to)
{
    joints_at(w.chain, w.q, w.u, ok ? T(1) : T(0), to);
    if (!ok)
        for (int j = 0; j < w.chain.joints; j++) to[j] = w.q[j];
}
DS_FN void end_motion_vjp(const Motion& w, const T* gout, T* gq, T* gu)
{
    for (int j = 0; j < w.chain.joints; j++) gq[j] = gu[j] = T(0);
    joints_at_vjp(w.chain, w.q, w.u, T(1), gout, gq, gu);
}
#else
struct Obstacles {};
DS_FN void meet_all(const Obstacles&, T, V3, R, V3&) {}
DS_FN void meet_all_vjp(const Obstacles&, T, V3, R, V3, V3&, R&) {}
struct Motion {};
DS_FN Obstacles obstacles(const Motion&, int, const T*, const T*) { return {}; }
#endif

}  // namespace ds
