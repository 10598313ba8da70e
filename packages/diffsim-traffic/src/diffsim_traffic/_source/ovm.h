// The optimal velocity model (Bando et al. 1995) with the full velocity difference of Jiang, Wu and Zhu (2001):
//     acc = kappa (V(s) - v) + lambda (vl - v),   V(s) = v0 (tanh(s / l - beta) + tanh beta) / (1 + tanh beta)
#pragma once

namespace ds {

enum { OVM_KAPPA, OVM_V0, OVM_L, OVM_BETA, OVM_LAMBDA };

DS_FN R tanh_(R x)
{
    R y = R{};
    for (int l = 0; l < DS_LANES; l++) set(y, l, wp::tanh(get(x, l)));
    return y;
}

DS_FN Rate follow(const R* p, R v, R vl, R s, T dt)
{
    R one = splat(T(1)), l = p[OVM_L], x = s / l - p[OVM_BETA];
    R tx = tanh_(x), tb = tanh_(p[OVM_BETA]);
    R sx = one - tx * tx, sb = one - tb * tb, down = one / (one + tb);
    R shape = (tx + tb) * down, optimal = p[OVM_V0] * shape, kv = p[OVM_KAPPA] * p[OVM_V0];
    Rate f;
    f.acc = p[OVM_KAPPA] * (optimal - v) + p[OVM_LAMBDA] * (vl - v);
    f.v = -p[OVM_KAPPA] - p[OVM_LAMBDA];
    f.vl = p[OVM_LAMBDA];
    // far away tanh is flat to the last bit, but s itself is large: flat times large stays zero
    f.s = kv * sx * down / l;
    f.p[OVM_KAPPA] = optimal - v;
    f.p[OVM_V0] = p[OVM_KAPPA] * shape;
    f.p[OVM_L] = -f.s * s / l;
    f.p[OVM_BETA] = kv * down * (sb - sx - shape * sb);
    f.p[OVM_LAMBDA] = vl - v;
    return f;
}

DS_FN Mask valid(const R* p)
{
    R zero = R{};
    return (p[OVM_KAPPA] > zero) & (p[OVM_V0] > zero) & (p[OVM_L] > zero) & (p[OVM_BETA] >= zero) & (p[OVM_LAMBDA] >= zero);
}

}  // namespace ds
