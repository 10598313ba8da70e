// A material: its stress, and how its deformation flows. Its header defines one struct, with
//
//     enum { PARAMS = 2 };   // as many as the entry in Python names
//     template <class P> DS_FN void stress(const P* p, const M3& C, M3& F, R& h, M3& tau);
//     template <class P> DS_FN void stress_vjp(const P* p, const M3& C, const M3& F, R h, const M3& gF_out, R gh_out,
//                                              const M3& gtau, M3& gC, M3& gF, R& gh, R* gp);
//
// p: the parameters, each a T (the same for all particles of a lane) or an R. C: velocity gradient [1/s], of use to what is
// viscous. F: deformation gradient; `stress` gets the trial one, (I + dt C) F, and leaves the one after plastic flow. h: one
// number of the particle's own, such as its hardening; most materials leave it alone. tau: Kirchhoff stress [Pa], symmetric:
// Cauchy stress times det F.
//
// stress_vjp gets what `stress` got and the cotangents of the F, h and tau that it left. It sets the cotangents gF and gh of
// the F and h that came in, and adds to gC and to gp[PARAMS]. It must hold where singular values of F are equal: at F = I above all.
#pragma once
#include "tensor.h"

namespace ds {

// Lame's parameters [Pa] from Young's modulus [Pa] and Poisson's ratio, and back: cotangents of the former from the latter's.
template <class P> struct Lame {
    P mu, lam;
};
template <class P> DS_FN Lame<P> lame(P E, P nu) { return {E / (T(2) * (T(1) + nu)), E * nu / ((T(1) + nu) * (T(1) - T(2) * nu))}; }
template <class P> DS_FN void lame_vjp(P E, P nu, R gmu, R glam, R& gE, R& gnu)
{
    P a = T(1) + nu, b = T(1) - T(2) * nu, ab = a * b;
    gE = gE + (gmu * (T(0.5) / a) + glam * (nu / ab));
    gnu = gnu + (glam * (E * (T(1) + T(2) * nu * nu) / (ab * ab)) - gmu * (E * T(0.5) / (a * a)));
}

}  // namespace ds
