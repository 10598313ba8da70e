// What a material is, and which there are.
#pragma once
#include "tensor.h"

namespace ds {

struct NeoHookean {
    enum { PARAMS = 2 };
    template <class P> static DS_FN void stress(const P* p, M3& F, R& h, M3& tau)
    {
        R mu = splat(T(0.5) * p[0] / (T(1) + p[1])), lam = splat(p[0] * p[1] / ((T(1) + p[1]) * (T(1) - T(2) * p[1])));
        R J = dot(F.c[0], cross(F.c[1], F.c[2])), pressure = lam * (J - T(1)) * J - mu;
        tau = (F * transposed(F)) * mu;
        tau.c[0].x += pressure;
        tau.c[1].y += pressure;
        tau.c[2].z += pressure;
    }
    template <class P>
    static DS_FN void stress_vjp(const P* p, const M3& F, R h, M3 gF, R gh, const M3& gtau, M3& gtrial, R& gh_in, R* gp)
    {
        R E = splat(p[0]), nu = splat(p[1]), a = T(1) + nu, b = T(1) - T(2) * nu;
        R mu = T(0.5) * E / a, lam = E * nu / (a * b);
        V3 c0 = cross(F.c[1], F.c[2]), c1 = cross(F.c[2], F.c[0]), c2 = cross(F.c[0], F.c[1]);
        R J = dot(F.c[0], c0), g = gtau.c[0].x + gtau.c[1].y + gtau.c[2].z, gJ = g * lam * (T(2) * J - T(1));
        M3 B = F * transposed(F);
        gtrial = gF + ((gtau + transposed(gtau)) * F) * mu;
        gtrial.c[0] = gtrial.c[0] + c0 * gJ;
        gtrial.c[1] = gtrial.c[1] + c1 * gJ;
        gtrial.c[2] = gtrial.c[2] + c2 * gJ;
        gh_in = gh;
        R gmu = dot(gtau.c[0], B.c[0]) + dot(gtau.c[1], B.c[1]) + dot(gtau.c[2], B.c[2]) - g, glam = g * (J - T(1)) * J;
        gp[0] += gmu * mu / E + glam * lam / E;
        gp[1] += -gmu * mu / a + glam * (lam / nu - lam / a + T(2) * lam / b);
    }
};

}  // namespace ds
