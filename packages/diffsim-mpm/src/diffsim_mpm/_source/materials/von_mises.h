// Hencky's elasticity with the yield criterion of von Mises: plasticine. The deviator of tau is never longer than yield_stress
// (its Frobenius norm; a uniaxial test yields at sqrt(3/2) times that). What is beyond flows: the return mapping scales the
// deviator of the strain to yield_stress / (2 mu), and leaves the volume. Singular values below 0.01 count as 0.01.
#pragma once
#include "hencky.h"

namespace ds {

struct VonMises {
    enum { PARAMS = 3 };  // E [Pa], nu, yield_stress [Pa]

    template <class P> DS_FN void stress(const P* p, const M3&, M3& F, R&, M3& tau)
    {
        Lame<P> m = lame(p[0], p[1]);
        Strain r = strain(F);
        P most = p[2] / (T(2) * m.mu);
        Mask yields = r.norm > most, changed = yields | clamped(r);
        V3 e = flowed(r, flow(r, yields, most));
        if (any(changed)) F = choose(changed, stretched(r, exp_(e)), F);
        tau = hencky_stress(r, e, m.mu, m.lam);
    }

    template <class P>
    DS_FN void stress_vjp(const P* p, const M3&, const M3& F, R, const M3& gF_out, R gh_out, const M3& gtau, M3&, M3& gF,
                          R& gh, R* gp)
    {
        Lame<P> m = lame(p[0], p[1]);
        Strain r = strain(F);
        P most = p[2] / (T(2) * m.mu);
        Mask yields = r.norm > most;
        Flow f = flow(r, yields, most);
        V3 e = flowed(r, f);
        HenckyBack b = hencky_back(r, e, m.mu, m.lam, gF_out, gtau);
        R gmost, mean = sum(b.ge) * T(1.0 / 3), zero = R{};
        V3 g_trial = deviator_vjp(r, f, yields, b.ge, gmost) + V3{mean, mean, mean};
        gF = hencky_vjp(r, f, e, b, g_trial, m.mu);
        gh = gh_out;
        // selected, because `most` may be infinite where nothing yields
        gp[2] = gp[2] + gmost / (T(2) * m.mu);
        lame_vjp(p[0], p[1], b.gmu - select(yields, gmost * most / m.mu, zero), b.glam, gp[0], gp[1]);
    }

private:
    template <class P> DS_FN Flow flow(const Strain& r, Mask yields, P most)
    {
        R one = splat(T(1));
        return {select(yields, most / select(yields, r.norm, one), one), r.mean};
    }
};

}  // namespace ds
