// Eq. 3 of the SHAC paper (Xu et al. 2022) as printed: f_n = (-kn + kd u) depth, friction at most mu |f_n|.
#pragma once
#include "law.h"

namespace ds {

struct Paper {
    DS_FN Normal normal(const P* row, R depth, R u)
    {
        R z = R{};
        P kn = row[C_KN], kd = row[C_KD], mu = row[C_MU];
        Normal n;
        R stiff = u * kd - splat(kn);
        n.force = stiff * depth;
        n.by_d = stiff;
        n.by_u = depth * kd;
        R sign = select(n.force < z, splat(-mu), splat(mu));
        n.bound = n.force * sign;
        n.bound_by_d = n.by_d * sign;
        n.bound_by_u = n.by_u * sign;
        return n;
    }

#if DS_PARAMS
    DS_FN Gains gains_vjp(const P* row, R depth, R u, const Normal& n, R by_force, R by_bound)
    {
        R sign = select(n.force < R{}, -row[C_MU], row[C_MU]);
        R by_normal = by_force + by_bound * sign;
        return {-(by_normal * depth), by_normal * u * depth, by_bound * abs_(n.force)};
    }
#endif
};

}  // namespace ds
