// The Intelligent Driver Model (Treiber, Hennecke and Helbing 2000) with exponent 4:
//     acc = a (1 - (v / v0)^4 - (s* / s)^2)
// With IDM_CLIP_SUM 0, s* = s0 + max(0, v T + v (v - vl) / (2 sqrt(a b))), as SUMO has it; with 1 it is the whole sum that is
// kept from being negative.
#pragma once

namespace ds {

enum { IDM_A, IDM_B, IDM_T, IDM_S0, IDM_V0 };

DS_FN Rate follow(const R* p, R v, R vl, R s, T dt)
{
    R a = p[IDM_A], q = T(2) * sqrt_(a * p[IDM_B]), r = v / p[IDM_V0], zero = R{}, one = splat(T(1));
    R closing = v * (v - vl) / q, wish = v * p[IDM_T] + closing;
#if IDM_CLIP_SUM
    R on = select(p[IDM_S0] + wish > zero, one, zero), s0_on = on;
    R desired = on * (p[IDM_S0] + wish);
#else
    R on = select(wish > zero, one, zero), s0_on = one;
    R desired = p[IDM_S0] + on * wish;
#endif
    R z = desired / s, r2 = r * r, r3 = r2 * r;
    Rate f;
    R share = one - r2 * r2 - z * z;
    R k = -T(2) * a * z / s;  // by the desired gap
    f.acc = a * share;
    f.s = -k * z;
    f.v = -T(4) * a * r3 / p[IDM_V0] + k * on * (p[IDM_T] + (T(2) * v - vl) / q);
    f.vl = -k * on * v / q;
    f.p[IDM_A] = share - k * on * closing / (T(2) * a);
    f.p[IDM_B] = -k * on * closing / (T(2) * p[IDM_B]);
    f.p[IDM_T] = k * on * v;
    f.p[IDM_S0] = k * s0_on;
    f.p[IDM_V0] = T(4) * a * r2 * r2 / p[IDM_V0];
    return f;
}

DS_FN Mask valid(const R* p)
{
    R zero = R{};
    return (p[IDM_A] > zero) & (p[IDM_B] > zero) & (p[IDM_T] >= zero) & (p[IDM_S0] >= zero) & (p[IDM_V0] > zero);
}

}  // namespace ds
