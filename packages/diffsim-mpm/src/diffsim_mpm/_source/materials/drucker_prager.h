// Hencky's elasticity with the yield criterion of Drucker and Prager: dry sand (Klar et al., ACM Trans. Graph. 2016). Shear
// resists in proportion to pressure; what is pulled apart has no stress. h is the volume [log] that was gained so: sand that
// was pulled apart comes together by as much before it resists (volume correction). log(det F) + h never changes as it flows.
#pragma once
#include "hencky.h"

namespace ds {

struct DruckerPrager {
    enum { PARAMS = 3 };  // E [Pa], nu, friction_angle [rad]

    template <class P> DS_FN void stress(const P* p, const M3&, M3& F, R& h, M3& tau)
    {
        Lame<P> m = lame(p[0], p[1]);
        Strain r = strain(F);
        Cone c = cone(r, h, p[2], m.mu, m.lam);
        V3 e = flowed(r, c.flow);
        Mask changed = c.apart | c.yields | clamped(r) | (h != R{});
        if (any(changed)) F = choose(changed, stretched(r, exp_(e)), F);
        h = select(c.apart, c.volume, R{});
        tau = hencky_stress(r, e, m.mu, m.lam);
    }

    template <class P>
    DS_FN void stress_vjp(const P* p, const M3&, const M3& F, R h, const M3& gF_out, R gh_out, const M3& gtau, M3&, M3& gF,
                          R& gh, R* gp)
    {
        Lame<P> m = lame(p[0], p[1]);
        Strain r = strain(F);
        Cone c = cone(r, h, p[2], m.mu, m.lam);
        V3 e = flowed(r, c.flow);
        HenckyBack b = hencky_back(r, e, m.mu, m.lam, gF_out, gtau);
        R gnorm, zero = R{};
        V3 g_deviator = deviator_vjp(r, c.flow, c.yields, b.ge, gnorm);
        // the norm is -volume slope, the mean volume / 3, unless the sand is apart: then the volume goes into h
        R gvolume = select(c.apart, gh_out, sum(b.ge) * T(1.0 / 3) - gnorm * c.slope);
        gh = gvolume;
        gF = hencky_vjp(r, c.flow, e, b, g_deviator + V3{gvolume, gvolume, gvolume}, m.mu);
        R gslope = -(gnorm * c.volume), by_stiff = gslope * c.rough * (T(1.5) / m.mu);
        lame_vjp(p[0], p[1], b.gmu - by_stiff * (m.lam / m.mu), b.glam + by_stiff, gp[0], gp[1]);
        R less = splat(T(3)) - c.sine;
        gp[2] = gp[2] + gslope * (T(1) + T(1.5) * m.lam / m.mu) * (c.cosine * T(SCALE * 3) / (less * less));
    }

private:
    static constexpr double SCALE = 1.632993161855452;  // 2 sqrt(2/3)

    struct Cone {
        R sine, cosine, rough;  // of the friction angle; the ratio of shear to pressure
        R slope, volume;        // longest deviator for each unit of compression; log of the volume, h included
        Mask apart, yields;
        Flow flow;
    };
    template <class P> DS_FN Cone cone(const Strain& r, R h, P angle, P mu, P lam)
    {
        Cone c;
        sincos_(splat(angle), c.sine, c.cosine);
        c.rough = c.sine * T(SCALE) / (splat(T(3)) - c.sine);
        c.slope = c.rough * (T(1) + T(1.5) * lam / mu);
        c.volume = T(3) * r.mean + h;
        R most = -(c.volume * c.slope), one = splat(T(1)), zero = R{};
        c.apart = c.volume >= zero;
        c.yields = r.norm > most && !c.apart;
        R keep = select(c.yields, most / select(c.yields, r.norm, one), one);
        c.flow = {select(c.apart, zero, keep), select(c.apart, zero, c.volume * T(1.0 / 3))};
        return c;
    }
};

}  // namespace ds
