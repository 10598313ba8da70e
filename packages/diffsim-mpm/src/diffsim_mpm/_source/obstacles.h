// The moving shapes of a world in one sub-step; nothing where the model has none.
#pragma once
#include "model.h"
#if MPM_SHAPES
#include "chain.h"
#include "coupling.h"
#endif

namespace ds {

#if MPM_SHAPES
// Poses at the beginning and at the end of the sub-step, and cotangents in the backward pass.
struct Obstacles {
    Shapes shapes;
    const T *pose, *next;
    T *gpose, *gnext;
};
DS_FN void meet(const Obstacles& o, T dt, V3 x, R mass, V3& v) { collide(o.shapes, o.pose, o.next, dt, x, mass, v, nullptr); }
DS_FN void meet_vjp(const Obstacles& o, T dt, V3 x, R mass, V3 v, V3& gv, R& gmass)
{
    V3 back;
    collide_vjp(o.shapes, o.pose, o.next, dt, x, mass, v, gv, nullptr, back, gmass, o.gpose, o.gnext);
    gv = back;
}
#else
struct Obstacles {};
DS_FN void meet(const Obstacles&, T, V3, R, V3&) {}
DS_FN void meet_vjp(const Obstacles&, T, V3, R, V3, V3&, R&) {}
#endif

}  // namespace ds
