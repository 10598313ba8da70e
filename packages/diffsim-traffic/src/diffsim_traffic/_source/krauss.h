// A law like that of Krauss (1998), without its noise: the driver takes the highest speed that is safe if the leader brakes
// with b and the driver does so after tau seconds,
//     v_safe = -b tau + sqrt((b tau)^2 + vl^2 + 2 b max(s - s0, 0)),   acc = (min(v + a dt, v_safe, v0) - v) / dt
#pragma once

namespace ds {

enum { KRAUSS_A, KRAUSS_B, KRAUSS_TAU, KRAUSS_S0, KRAUSS_V0 };

DS_FN Rate follow(const R* p, R v, R vl, R s, T dt)
{
    R zero = R{}, one = splat(T(1)), b = p[KRAUSS_B], tau = p[KRAUSS_TAU], bt = b * tau;
    R room = max_(s - p[KRAUSS_S0], zero), open = select(s > p[KRAUSS_S0], one, zero);
    R root = sqrt_(bt * bt + vl * vl + T(2) * b * room), safe = root - bt, faster = v + p[KRAUSS_A] * dt;
    Mask by_a = (faster <= safe) & (faster <= p[KRAUSS_V0]), by_v0 = (p[KRAUSS_V0] < safe) & (p[KRAUSS_V0] < faster);
    R use_a = select(by_a, one, zero), use_v0 = select(by_v0, one, zero), use_safe = one - use_a - use_v0;
    R speed = select(by_a, faster, select(by_v0, p[KRAUSS_V0], safe));
    R per_dt = use_safe / dt, down = one / max_(root, splat(T(1e-12)));
    Rate f;
    f.acc = (speed - v) / dt;
    f.v = (use_a - one) / dt;
    f.vl = per_dt * vl * down;
    f.s = per_dt * b * open * down;
    f.p[KRAUSS_A] = use_a;
    f.p[KRAUSS_B] = per_dt * ((bt * tau + room) * down - tau);
    f.p[KRAUSS_TAU] = per_dt * b * (bt * down - one);
    f.p[KRAUSS_S0] = -f.s;
    f.p[KRAUSS_V0] = use_v0 / dt;
    return f;
}

DS_FN Mask valid(const R* p)
{
    R zero = R{};
    return (p[KRAUSS_A] > zero) & (p[KRAUSS_B] > zero) & (p[KRAUSS_TAU] > zero) & (p[KRAUSS_S0] >= zero) & (p[KRAUSS_V0] > zero);
}

}  // namespace ds
