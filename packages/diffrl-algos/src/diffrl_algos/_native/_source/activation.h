// Activation functions, and their derivatives from what a forward pass leaves.
#pragma once
#include "product.h"

namespace ds {

enum { ELU, SILU, RELU, TANH };  // in the order of Activation in _native_fit.py

// e^x - 1 for x <= 0: with x = k log(2) + r, |r| <= log(2) / 2, it is (2^k - 1) + 2^k (e^r - 1). Below 2 ulp. What is no
// number counts as very low: its conversion to a whole number would be undefined.
DS_FN R expm1_(R x)
{
#if DS_DOUBLE
    typedef long long Int __attribute__((vector_size(DS_LANES * sizeof(long long))));
    constexpr T LOWEST = -40.0, HIGH = 6.93147180369123816490e-01, LOW = 1.90821492927058770002e-10;
    constexpr int BIAS = 1023, MANTISSA = 52;
#else
    typedef int Int __attribute__((vector_size(DS_LANES * sizeof(int))));
    constexpr T LOWEST = -30.0f, HIGH = 0.693359375f, LOW = -2.12194440e-4f;
    constexpr int BIAS = 127, MANTISSA = 23;
#endif
    R within = select(x > LOWEST, x, broadcast(LOWEST));
    R k = __builtin_elementwise_roundeven(within * T(1.4426950408889634));
    R r = fma_(k, broadcast(-LOW), fma_(k, broadcast(-HIGH), within));
#if DS_DOUBLE
    R p = broadcast(1.0 / 87178291200.0);  // the series, 1 / 14! to 1 / 2!
    for (int n = 13; n >= 2; n--) {
        T factorial = 1;
        for (int i = 2; i <= n; i++) factorial *= i;
        p = fma_(p, r, broadcast(1 / factorial));
    }
#else
    R p = broadcast(1.9875691500e-4f);  // minimax, from Cephes
    p = fma_(p, r, broadcast(1.3981999507e-3f));
    p = fma_(p, r, broadcast(8.3334519073e-3f));
    p = fma_(p, r, broadcast(4.1665795894e-2f));
    p = fma_(p, r, broadcast(1.6666665459e-1f));
    p = fma_(p, r, broadcast(5.0000001201e-1f));
#endif
    p = fma_(p * r, r, r);
    Int exponent = (__builtin_convertvector(k, Int) + BIAS) << MANTISSA;
    R scale = (R)exponent;
    return fma_(scale, p, scale - T(1));
}

DS_FN R tanh_(R x)
{
    R e = expm1_(abs_(x) * T(-2));  // tanh |x| = -e / (2 + e)
    R y = -e / (e + T(2));
    return select(x > R{}, y, select(x <= R{}, -y, x));
}

// The activation of z; `s` is what `slope` needs to know besides it.
template <int ACTIVATION> DS_FN R activate(R z, R& s)
{
    if (ACTIVATION == ELU) return select(z <= R{}, expm1_(select(z < R{}, z, R{})), z);
    if (ACTIVATION == SILU) {
        R inverse = exp_(-z) + T(1);
        s = T(1) / inverse;
        return z / inverse;
    }
    if (ACTIVATION == RELU) return select(z < R{}, R{}, z);
    return tanh_(z);
}

// The derivative of the activation at its value e, times g.
template <int ACTIVATION> DS_FN R slope(R g, R e, R s)
{
    if (ACTIVATION == ELU) return select(e > R{}, g, g * (e + T(1)));
    if (ACTIVATION == SILU) return g * fma_(e, T(1) - s, s);
    if (ACTIVATION == RELU) return select(e <= R{}, R{}, g);
    return g * (T(1) - e * e);
}

}  // namespace ds
