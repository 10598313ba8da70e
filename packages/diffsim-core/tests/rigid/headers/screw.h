// A helical joint: the link turns about an axis of its parent and travels `pitch` along it for each radian.
#pragma once
#include "joint.h"

namespace ds {

struct Screw : Scalar {
    DS_FN void place(const P* real, const R* q, M3& E, V3& r, SV* S)
    {
        R angle = displacement(real, q), pitch = splat(real[L_OWN]);
        V3 axis = rotate(E, real + L_AXIS);
        S[0] = {axis, cross(r, axis) + axis * pitch};
        r = r + axis * (pitch * angle);
        E = turned(E, real + L_AXIS, angle);
    }

    DS_FN Quat turn(const P* real, const R* q, Quat Q) { return turned(Q, real + L_AXIS, displacement(real, q)); }
};

}  // namespace ds
