// The law of Hunt and Crossley (1975): f_n = kn |depth|^1.5 (1 - 1.5 kd u), never pulling; friction at most mu f_n.
#pragma once
#include "law.h"

namespace ds {

struct HuntCrossley {
    DS_FN Normal normal(const P* row, R depth, R u)
    {
        R z = R{}, root = sqrt_(max_(-depth, z)), loss = splat(T(1)) - u * (row[C_KD] * T(1.5));
        Mask pushes = loss > z;
        R stiff = root * row[C_KN];
        Normal n;
        n.force = select(pushes, -(stiff * depth * loss), z);
        n.by_d = select(pushes, stiff * loss * T(-1.5), z);
        n.by_u = select(pushes, stiff * depth * (row[C_KD] * T(1.5)), z);
        n.bound = n.force * row[C_MU];
        n.bound_by_d = n.by_d * row[C_MU];
        n.bound_by_u = n.by_u * row[C_MU];
        return n;
    }

#if DS_PARAMS
    DS_FN Gains gains_vjp(const P* row, R depth, R u, const Normal& n, R by_force, R by_bound)
    {
        R z = R{}, root = sqrt_(max_(-depth, z)), loss = max_(splat(T(1)) - u * row[C_KD] * T(1.5), z);
        R by_normal = by_force + by_bound * row[C_MU], by_loss = select(loss > z, by_normal, z) * root * row[C_KN] * depth;
        return {-(by_normal * root * depth * loss), by_loss * u * T(1.5), by_bound * n.force};
    }
#endif
};

}  // namespace ds
