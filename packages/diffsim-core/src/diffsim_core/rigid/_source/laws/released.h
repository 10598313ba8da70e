// The law of the SHAC paper's released code: damping only while approaching, f_n = (-kn + kd min(u, 0)) depth, and friction at
// most mu kn |depth|, a bound from the spring alone.
#pragma once
#include "law.h"

namespace ds {

struct Released {
    DS_FN Normal normal(const P* row, R depth, R u)
    {
        R z = R{};
        P kn = row[C_KN], kd = row[C_KD], mu = row[C_MU];
        Normal n;
        R approach = min_(u, z) * kd - splat(kn);
        n.force = approach * depth;
        n.by_d = approach;
        n.by_u = select(u < z, depth * kd, z);
        n.bound = depth * (-mu * kn);
        n.bound_by_d = splat(-mu * kn);
        n.bound_by_u = z;
        return n;
    }

#if DS_PARAMS
    DS_FN Gains gains_vjp(const P* row, R depth, R u, const Normal& n, R by_force, R by_bound)
    {
        return {-(by_force * depth) - by_bound * row[C_MU] * depth, by_force * min_(u, R{}) * depth,
                -(by_bound * row[C_KN] * depth)};
    }
#endif
};

}  // namespace ds
