// A slide: the link shifts along an axis of its parent.
#pragma once
#include "joint.h"

namespace ds {

struct Slide : Scalar {
    DS_FN void place(const P* real, const R* q, M3& E, V3& r, SV* S)
    {
        V3 axis = rotate(E, real + L_AXIS);
        r = r + axis * displacement(real, q);
        S[0] = {zero3(), axis};
    }

    DS_FN Quat turn(const P* real, const R* q, Quat Q) { return Q; }
};

}  // namespace ds
