// Materials whose stress is linear in the logarithmic strain, and that flow in its space (Hencky): F = U diag(s) V^T becomes
// U diag(exp(e)) V^T, and tau = U diag(2 mu e + lam sum(e)) U^T. What differs is the return mapping, from the trial strain
// log(s) to e = mean 1 + keep (log(s) - its mean): it scales the deviator by `keep`, and sets the mean.
#pragma once
#include "material.h"
#include "singular.h"

namespace ds {

constexpr T LEAST_STRETCH = T(0.01);  // singular values below count as this
constexpr T LEAST_SUM = T(1e-4);      // of two singular values, where it is divided by: one may be negative
constexpr T NO_STRAIN = DS_DOUBLE ? T(1e-200) : T(1e-30);

DS_FN R sum(V3 a) { return a.x + a.y + a.z; }
DS_FN V3 scaled(V3 a, V3 b) { return {a.x * b.x, a.y * b.y, a.z * b.z}; }
DS_FN V3 exp_(V3 a) { return {exp_(a.x), exp_(a.y), exp_(a.z)}; }
DS_FN V3 log_(V3 a) { return {log_(a.x), log_(a.y), log_(a.z)}; }
DS_FN V3 max_(V3 a, T least) { return {max_(a.x, splat(least)), max_(a.y, splat(least)), max_(a.z, splat(least))}; }

// The trial strain: s, its least, e = log(s), mean and deviator of e, and the norm of that.
struct Strain {
    Svd svd;
    V3 s, e, deviator;
    R mean, norm;
};
DS_FN Strain strain(const M3& F)
{
    Strain r;
    r.svd = svd(F);
    r.s = max_(r.svd.s, LEAST_STRETCH);
    r.e = log_(r.s);
    r.mean = sum(r.e) * T(1.0 / 3);
    R m = -r.mean;
    r.deviator = {r.e.x + m, r.e.y + m, r.e.z + m};
    r.norm = sqrt_(dot(r.deviator, r.deviator));
    return r;
}
// lanes in which a singular value is below the least
DS_FN Mask clamped(const Strain& r) { return r.svd.s.z < LEAST_STRETCH; }

// The strain after the return mapping.
struct Flow {
    R keep, mean;
};
DS_FN V3 flowed(const Strain& r, const Flow& f) { return plus({f.mean, f.mean, f.mean}, r.deviator, f.keep); }

template <class P> DS_FN M3 hencky_stress(const Strain& r, V3 e, P mu, P lam)
{
    R pressed = sum(e) * lam;
    V3 t = {e.x * (T(2) * mu) + pressed, e.y * (T(2) * mu) + pressed, e.z * (T(2) * mu) + pressed};
    const M3& U = r.svd.U;
    return mul_nt({{U.c[0] * t.x, U.c[1] * t.y, U.c[2] * t.z}}, U);
}
DS_FN M3 stretched(const Strain& r, V3 g)
{
    const Svd& d = r.svd;
    return mul_nt({{d.U.c[0] * g.x, d.U.c[1] * g.y, d.U.c[2] * g.z}}, d.V);
}
DS_FN M3 choose(Mask m, const M3& A, const M3& B)
{
    return {{choose(m, A.c[0], B.c[0]), choose(m, A.c[1], B.c[1]), choose(m, A.c[2], B.c[2])}};
}

// (log a - log b) / (a - b) for positive a and b, from their logarithms; by the series of artanh where they are close
DS_FN R log_quotient(R a, R b, R log_a, R log_b)
{
    R apart = a - b, one = splat(T(1)), inverse_sum = one / (a + b), r = apart * inverse_sum, r2 = r * r;
    R series = T(2) * inverse_sum
        * (one + r2 * (T(1.0 / 3) + r2 * (T(1.0 / 5) + r2 * (T(1.0 / 7) + r2 * (T(1.0 / 9) + r2 * (T(1.0 / 11) + r2 * T(1.0 / 13)))))));
    Mask close = r2 < T(0.01);
    return select(close, series, (log_a - log_b) / select(close, one, apart));
}
// (exp a - exp b) / (a - b), from the exponentials
DS_FN R exp_quotient(R a, R b, R exp_a, R exp_b)
{
    R apart = a - b, one = splat(T(1)), x2 = apart * apart * T(0.25);
    R series = sqrt_(exp_a * exp_b)
        * (one + x2 * (T(1.0 / 6) + x2 * (T(1.0 / 120) + x2 * (T(1.0 / 5040) + x2 * (T(1.0 / 362880) + x2 * T(1.0 / 39916800))))));
    Mask close = x2 < T(0.1);
    return select(close, series, (exp_a - exp_b) / select(close, one, apart));
}

// Quotients of i and j: their singular values, positive ones, strains before and after, and exponentials of the latter.
template <class P>
DS_FN Pair hencky_pair(R si, R sj, R pi, R pj, R log_i, R log_j, R ei, R ej, R gi, R gj, R keep, P mu)
{
    // where only the smaller one is held at the least, the quotient by what it is held at becomes one by what it is
    R held = select(sj < LEAST_STRETCH, (pi - pj) / max_(si - sj, splat(NO_LENGTH)), splat(T(1)));
    R by_log = log_quotient(pi, pj, log_i, log_j) * held * keep, inverse_sum = splat(T(1)) / max_(si + sj, splat(LEAST_SUM));
    return {exp_quotient(ei, ej, gi, gj) * by_log, (gi + gj) * inverse_sum, by_log * inverse_sum * (T(2) * mu)};
}

// The backward pass, in two parts: hencky_back goes from F and tau to the strain e after the return mapping. The caller goes
// back through that mapping, and hencky_vjp from the trial strain to F.
struct HenckyBack {
    M3 W, Y;
    V3 g, ge;   // exp(e), and the cotangent of e
    R gmu, glam;
};
template <class P> DS_FN HenckyBack hencky_back(const Strain& r, V3 e, P mu, P lam, const M3& gF_out, const M3& gtau)
{
    const Svd& d = r.svd;
    HenckyBack b = {mul(mul_tn(d.U, gF_out), d.V), mul(mul_tn(d.U, gtau), d.U), exp_(e)};
    V3 gt = diagonal(b.Y);
    R pressed = sum(gt) * lam;
    b.ge = plus(V3{pressed, pressed, pressed}, gt, splat(T(2) * mu)) + scaled(diagonal(b.W), b.g);
    b.gmu = T(2) * dot(gt, e);
    b.glam = sum(gt) * sum(e);
    return b;
}
// Cotangent of the trial's deviator from that of e; and, where `yields`, of the norm that the deviator was scaled to.
DS_FN V3 deviator_vjp(const Strain& r, const Flow& f, Mask yields, V3 ge, R& gnorm)
{
    R m = sum(ge) * T(-1.0 / 3), inverse = splat(T(1)) / max_(r.norm, splat(NO_STRAIN));
    gnorm = select(yields, dot(r.deviator, ge) * inverse, R{});
    return plus(V3{ge.x + m, ge.y + m, ge.z + m}, r.deviator, -(gnorm * inverse)) * f.keep;
}
// Cotangent of F from that of the trial strain.
template <class P>
DS_FN M3 hencky_vjp(const Strain& r, const Flow& f, V3 e, const HenckyBack& b, V3 g_trial, P mu)
{
    const V3 &s = r.svd.s, &p = r.s, &l = r.e, &g = b.g;
    Pairs pairs = {hencky_pair(s.x, s.y, p.x, p.y, l.x, l.y, e.x, e.y, g.x, g.y, f.keep, mu),
                   hencky_pair(s.x, s.z, p.x, p.z, l.x, l.z, e.x, e.z, g.x, g.z, f.keep, mu),
                   hencky_pair(s.y, s.z, p.y, p.z, l.y, l.z, e.y, e.z, g.y, g.z, f.keep, mu)};
    R o = R{};
    V3 gs = {select(s.x < LEAST_STRETCH, o, g_trial.x / p.x), select(s.y < LEAST_STRETCH, o, g_trial.y / p.y),
             select(s.z < LEAST_STRETCH, o, g_trial.z / p.z)};
    return svd_vjp(r.svd, pairs, b.W, b.Y, gs);
}

}  // namespace ds
