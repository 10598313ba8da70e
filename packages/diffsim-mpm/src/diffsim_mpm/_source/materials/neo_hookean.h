// Compressible Neo-Hookean: tau = mu (F F^T - I) + lam log(J) I, from the energy mu/2 (|F|^2 - 3) - mu log J + lam/2 log(J)^2.
// Not a number where J <= 0.
#pragma once
#include "material.h"

namespace ds {

struct NeoHookean {
    enum { PARAMS = 2 };  // E [Pa], nu

    template <class P> DS_FN void stress(const P* p, const M3&, M3& F, R&, M3& tau)
    {
        Lame<P> m = lame(p[0], p[1]);
        R log_J = log_(determinant(F, cofactor(F)));
        tau = plus_identity(mul_nt(F, F) * splat(m.mu), log_J * m.lam - m.mu);
    }

    template <class P>
    DS_FN void stress_vjp(const P* p, const M3&, const M3& F, R, const M3& gF_out, R gh_out, const M3& gtau, M3&, M3& gF,
                          R& gh, R* gp)
    {
        Lame<P> m = lame(p[0], p[1]);
        M3 cof = cofactor(F), by_B = mul(twice_symmetric(gtau), F);
        R J = determinant(F, cof), log_J = log_(J), pressed = trace(gtau);
        gF = plus(plus(gF_out, by_B, splat(m.mu)), cof, pressed * m.lam / J);
        gh = gh_out;
        // gtau : F F^T is half of (gtau + gtau^T) F : F
        lame_vjp(p[0], p[1], T(0.5) * dot(by_B, F) - pressed, pressed * log_J, gp[0], gp[1]);
    }
};

}  // namespace ds
