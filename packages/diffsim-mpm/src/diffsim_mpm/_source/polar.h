// Polar decomposition F = Q S: Q the rotation nearest to F (proper even where F is inverted), S symmetric; and its adjoint.
//
// tr S = s1 + s2 + s3 is the largest root of a quartic whose coefficients are invariants of F (Horn, J. Opt. Soc. Am. A 1987:
// the largest eigenvalue over unit quaternions of tr(Q^T F)). As Q is the derivative of that root by F, it is a polynomial in F.
// No factorisation is needed. The only singular case is s2 + s3 = 0, where the nearest rotation is not unique.
#pragma once
#include "tensor.h"

namespace ds {

#if DS_DOUBLE
enum { MOST_ROOT_STEPS = 60 };
constexpr T ROOT_PRECISION = T(1e-15);
#else
enum { MOST_ROOT_STEPS = 30 };
constexpr T ROOT_PRECISION = T(2e-7);
#endif
constexpr T TINY = DS_DOUBLE ? T(1e-290) : T(1e-36);

struct Polar {
    M3 Q;
    R trace;  // of S
    R gaps;   // (s1 + s2) (s2 + s3) (s3 + s1)
};

DS_FN Polar polar(const M3& F)
{
    M3 C = mul_tn(F, F), cof = cofactor(F);
    R a = trace(C), J = determinant(F, cof), c = T(2) * dot(C, C) - a * a;
    // Newton's steps go down from above to the root of x^4 - 2 a x^2 - 8 J x + c, until that is no more than its rounding,
    // in each lane by itself
    R x = sqrt_(T(3) * a);
    Mask open = a > R{};
    for (int k = 0; k < MOST_ROOT_STEPS; k++) {
        R x2 = x * x, value = ((x2 - T(2) * a) * x - T(8) * J) * x + c, slope = T(4) * ((x2 - a) * x - T(2) * J);
        open = open & (value > x2 * x2 * ROOT_PRECISION);
        if (!any(open)) break;
        x = x - select(open, value / max_(slope, x2 * x * ROOT_PRECISION), R{});
    }
    // where the nearest rotation is not unique, rounding decides: what is divided by is no smaller than the rounding of it
    R slope = max_((x * x - a) * x - T(2) * J, x * x * x * ROOT_PRECISION + TINY), scale = splat(T(1)) / slope;
    M3 Q = plus(F * ((x * x + a) * scale), cof, T(2) * x * scale);
    return {plus(Q, mul(F, C), T(-2) * scale), x, slope * T(0.5)};
}

// Cotangent of F from that of Q. dQ = Q [w]x where (tr(S) I - S) w = axial(Q^T dF).
DS_FN M3 polar_vjp(const M3& F, const Polar& p, const M3& gQ)
{
    M3 S = mul_tn(p.Q, F);
    R xy = T(0.5) * (S.c[0].y + S.c[1].x), xz = T(0.5) * (S.c[0].z + S.c[2].x), yz = T(0.5) * (S.c[1].z + S.c[2].y);
    V3 d = {S.c[1].y + S.c[2].z, S.c[2].z + S.c[0].x, S.c[0].x + S.c[1].y};  // diagonal of tr(S) I - S
    M3 inverse = {{{d.y * d.z - yz * yz, xy * d.z + xz * yz, xz * d.y + xy * yz},
                   {xy * d.z + xz * yz, d.x * d.z - xz * xz, yz * d.x + xy * xz},
                   {xz * d.y + xy * yz, yz * d.x + xy * xz, d.x * d.y - xy * xy}}};
    V3 b = mul(inverse, axial(mul_tn(p.Q, gQ))) * (splat(T(1)) / p.gaps);
    return mul(p.Q, skew(b));
}

}  // namespace ds
