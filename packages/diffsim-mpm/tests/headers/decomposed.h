// For tests of singular.h: leaves V as F, U diag(s) as tau, and the smallest singular value as h.
#pragma once
#include "hencky.h"

namespace ds {

struct Decomposed {
    enum { PARAMS = 2 };
    template <class P> DS_FN void stress(const P*, const M3&, M3& F, R& h, M3& tau)
    {
        Svd d = svd(F);
        h = d.s.z;
        tau = {{d.U.c[0] * d.s.x, d.U.c[1] * d.s.y, d.U.c[2] * d.s.z}};
        F = d.V;
    }
    template <class P>
    DS_FN void stress_vjp(const P*, const M3&, const M3&, R, const M3& gF_out, R gh_out, const M3&, M3&, M3& gF, R& gh, R*)
    {
        gF = gF_out;
        gh = gh_out;
    }
};

}  // namespace ds
