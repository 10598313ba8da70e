// Fixed corotated (Stomakhin et al., SCA 2012): tau = 2 mu (F - Q) F^T + lam (J - 1) J I, from the energy
// mu |F - Q|^2 + lam/2 (J - 1)^2. Q is the nearest rotation, so that what is inverted is pushed back.
#pragma once
#include "material.h"
#include "polar.h"

namespace ds {

struct FixedCorotated {
    enum { PARAMS = 2 };  // E [Pa], nu

    template <class P> DS_FN void stress(const P* p, const M3&, M3& F, R&, M3& tau)
    {
        Lame<P> m = lame(p[0], p[1]);
        R J = determinant(F, cofactor(F));
        tau = plus_identity(mul_nt(F - polar(F).Q, F) * splat(T(2) * m.mu), (J - T(1)) * J * m.lam);
    }

    template <class P>
    DS_FN void stress_vjp(const P* p, const M3&, const M3& F, R, const M3& gF_out, R gh_out, const M3& gtau, M3&, M3& gF,
                          R& gh, R* gp)
    {
        Lame<P> m = lame(p[0], p[1]);
        Polar q = polar(F);
        M3 cof = cofactor(F), twice = twice_symmetric(gtau), by_F = mul(twice, F);
        R J = determinant(F, cof), pressed = trace(gtau);
        // of 2 F F^T - 2 Q F^T, where both are symmetric
        M3 by_shape = by_F * splat(T(2)) - mul(twice, q.Q) - polar_vjp(F, q, by_F);
        gF = plus(plus(gF_out, by_shape, splat(m.mu)), cof, pressed * (T(2) * J - T(1)) * m.lam);
        gh = gh_out;
        lame_vjp(p[0], p[1], dot(by_F, F - q.Q), pressed * (J - T(1)) * J, gp[0], gp[1]);
    }
};

}  // namespace ds
