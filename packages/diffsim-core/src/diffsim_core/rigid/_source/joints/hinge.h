// A hinge: the link turns about an axis of its parent.
#pragma once
#include "joint.h"

namespace ds {

struct Hinge : Scalar {
    DS_FN void place(const P* real, const R* q, M3& E, V3& r, SV* S)
    {
        V3 axis = rotate(E, real + L_AXIS);
        S[0] = {axis, cross(r, axis)};
        E = turned(E, real + L_AXIS, displacement(real, q));
    }

    DS_FN Quat turn(const P* real, const R* q, Quat Q) { return turned(Q, real + L_AXIS, displacement(real, q)); }
};

}  // namespace ds
