// A material for tests: linear in the strain F^T F, and viscous. tau = F S F^T + eta (C + C^T), S = E (F^T F - I) / 2.
#pragma once
#include "material.h"

namespace ds {

struct KelvinVoigt {
    enum { PARAMS = 2 };  // E [Pa], viscosity [Pa s]

    template <class P> DS_FN void stress(const P* p, const M3& C, M3& F, R&, M3& tau)
    {
        M3 S = plus_identity(mul_tn(F, F), splat(T(-1))) * (p[0] * splat(T(0.5)));
        tau = plus(mul_nt(mul(F, S), F), twice_symmetric(C), splat(p[1]));
    }

    template <class P>
    DS_FN void stress_vjp(const P* p, const M3& C, const M3& F, R, const M3& gF_out, R gh_out, const M3& gtau, M3& gC, M3& gF,
                          R& gh, R* gp)
    {
        M3 strain = plus_identity(mul_tn(F, F), splat(T(-1))), S = strain * (p[0] * splat(T(0.5)));
        M3 twice = twice_symmetric(gtau), gS = mul_tn(F, mul(gtau, F));
        gF = gF_out + mul(mul(twice, F), S) + mul(F, twice_symmetric(gS)) * (p[0] * splat(T(0.5)));
        gC = plus(gC, twice, splat(p[1]));
        gh = gh_out;
        gp[0] = gp[0] + T(0.5) * dot(gS, strain);
        gp[1] = gp[1] + dot(gtau, twice_symmetric(C));
    }
};

}  // namespace ds
