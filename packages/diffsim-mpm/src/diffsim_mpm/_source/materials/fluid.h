// Weakly compressible fluid: pressure by Tait's equation, (K / gamma) (J^-gamma - 1), and Newtonian viscosity of the deviator
// of the velocity gradient. Only the volume is remembered: F becomes J^(1/3) I. Not a number where J <= 0.
#pragma once
#include "material.h"

namespace ds {

struct Fluid {
    enum { PARAMS = 3 };  // bulk_modulus K [Pa], gamma, viscosity [Pa s]

    template <class P> DS_FN void stress(const P* p, const M3& C, M3& F, R&, M3& tau)
    {
        R J = determinant(F, cofactor(F)), log_J = log_(J), root = exp_(log_J * T(1.0 / 3));
        R pressure = (exp_(log_J * -p[1]) - T(1)) * (p[0] / p[1]);
        M3 shear = shear_rate(C);
        tau = plus_identity(shear * (J * p[2]), -(J * pressure));
        F = plus_identity(zero33(), root);
    }

    template <class P>
    DS_FN void stress_vjp(const P* p, const M3& C, const M3& F, R, const M3& gF_out, R gh_out, const M3& gtau, M3& gC, M3& gF,
                          R& gh, R* gp)
    {
        M3 cof = cofactor(F), shear = shear_rate(C);
        R J = determinant(F, cof), log_J = log_(J), root = exp_(log_J * T(1.0 / 3)), power = exp_(log_J * -p[1]);
        R pressure = (power - T(1)) * (p[0] / p[1]), gpressed = trace(gtau), sheared = dot(shear, gtau);
        R gJ = gpressed * (power * p[0] - pressure) + sheared * p[2] + trace(gF_out) * root / (T(3) * J);
        gF = cof * gJ;
        gC = plus(gC, shear_rate(gtau), J * p[2]);
        gh = gh_out;
        gp[0] = gp[0] - gpressed * J * pressure / p[0];
        gp[1] = gp[1] + gpressed * J * (pressure + power * log_J * p[0]) / p[1];
        gp[2] = gp[2] + sheared * J;
    }

private:
    // C + C^T without its trace; the same linear map is its own transpose
    DS_FN M3 shear_rate(const M3& C) { return plus_identity(twice_symmetric(C), trace(C) * T(-2.0 / 3)); }
};

}  // namespace ds
