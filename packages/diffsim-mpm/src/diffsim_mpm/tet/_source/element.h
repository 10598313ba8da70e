// Forces of a tetrahedron on its corners, and their adjoint. The energy is Smith et al.'s stable Neo-Hookean one (Stable
// Neo-Hookean Flesh Simulation, 2018) with an activation that shifts the rest volume:
//   Psi = mu/2 (Ic - 3) - mu/2 log(Ic + 1) + lambda/2 (J - alpha + act)^2, alpha = 1 + 3/4 mu/lambda,
// and damping adds k_damp dF/dt to the first Piola-Kirchhoff stress, k_damp dJ/dt to the volumetric force.
//
// Everything is written in the edges D = [x1-x0, x2-x0, x3-x0]. With S = Dm Dm^T, Ic = <D, D S>, and the forces are
//   (mu (1 - 1/(Ic+1)) D + k_damp dD/dt) S + p K,  K = s [d2 x d3, d3 x d1, d1 x d2],  p = lambda (J-1+act) - 3/4 mu + k_damp dJ/dt,
// so F = D Dm is never needed. docs/development/tet-adjoint.md derives both functions.
#pragma once
#include "model.h"

namespace ds {

struct Edges {
    V3 d[3];
};
DS_FN Edges edges(const Field& f, const int* node)
{
    V3 o = get3(f, node[0]);
    return {{get3(f, node[1]) - o, get3(f, node[2]) - o, get3(f, node[3]) - o}};
}
DS_FN Edges combine(const Edges& a, R s, const Edges& b, R t)
{
    return {{a.d[0] * s + b.d[0] * t, a.d[1] * s + b.d[1] * t, a.d[2] * s + b.d[2] * t}};
}
DS_FN R inner(const Edges& a, const Edges& b) { return dot(a.d[0], b.d[0]) + dot(a.d[1], b.d[1]) + dot(a.d[2], b.d[2]); }
// D S for the symmetric S
DS_FN Edges times(const Edges& D, const T* S)
{
    R xx = splat(S[0]), yy = splat(S[1]), zz = splat(S[2]), xy = splat(S[3]), xz = splat(S[4]), yz = splat(S[5]);
    return {{D.d[0] * xx + D.d[1] * xy + D.d[2] * xz, D.d[0] * xy + D.d[1] * yy + D.d[2] * yz,
             D.d[0] * xz + D.d[1] * yz + D.d[2] * zz}};
}
// <D, D S> from the six products of edges
DS_FN R squared(const Edges& D, const T* S)
{
    R diagonal = dot(D.d[0], D.d[0]) * S[0] + dot(D.d[1], D.d[1]) * S[1] + dot(D.d[2], D.d[2]) * S[2];
    return diagonal + (dot(D.d[0], D.d[1]) * S[3] + dot(D.d[0], D.d[2]) * S[4] + dot(D.d[1], D.d[2]) * S[5]) * T(2);
}
// derivative of det D by D, and the derivative of that in the direction E, which is linear and symmetric in E
DS_FN Edges cofactor(const Edges& D) { return {{cross(D.d[1], D.d[2]), cross(D.d[2], D.d[0]), cross(D.d[0], D.d[1])}}; }
DS_FN Edges cofactor_along(const Edges& D, const Edges& E)
{
    return {{cross(E.d[1], D.d[2]) + cross(D.d[1], E.d[2]), cross(E.d[2], D.d[0]) + cross(D.d[2], E.d[0]),
             cross(E.d[0], D.d[1]) + cross(D.d[0], E.d[1])}};
}
DS_FN void spread(const Field& f, const int* node, const Edges& a)
{
    put3(f, node[0], get3(f, node[0]) - (a.d[0] + a.d[1] + a.d[2]));
    for (int k = 0; k < 3; k++) add3(f, node[k + 1], a.d[k]);
}

// factors of the constants of all elements, by world
struct Scales {
    R mu, lambda, density;
};

DS_FN R activation(const Field& u, const int* node) { return node[E_ACTUATOR] < 0 ? R{} : get(u, node[E_ACTUATOR]); }

// f += forces of an element at positions x and velocities v
DS_FN void element(const Field& x, const Field& v, const int* node, const T* e, R act, const Scales& k, const Field& f)
{
    Edges D = edges(x, node), W = edges(v, node), K = cofactor(D);
    R one = splat(T(1)), mu = k.mu * e[E_MU], damp = splat(e[E_DAMP]);
    R J = dot(D.d[0], K.d[0]) * e[E_DET], Jdot = inner(K, W) * e[E_DET];
    R p = k.lambda * e[E_LAMBDA] * (J - one + act) - mu * T(0.75) + damp * Jdot;
    R shear = mu - mu / (squared(D, e + E_S) + one);
    Edges H = times(combine(D, -shear, W, -damp), e + E_S);
    spread(f, node, combine(H, one, K, -p * e[E_DET]));
}

// Adds to gx and gv, to gu of the element's control and to gk, given the cotangents gf of forces.
DS_FN void element_vjp(const Field& x, const Field& v, const int* node, const T* e, R act, const Scales& k, const Field& gf,
                       const Field& gx, const Field& gv, const Field& gu, Scales& gk)
{
    Edges D = edges(x, node), W = edges(v, node), K = cofactor(D), H = edges(gf, node);
    R one = splat(T(1)), mu = k.mu * e[E_MU], lambda = k.lambda * e[E_LAMBDA], damp = splat(e[E_DAMP]), s = splat(e[E_DET]);
    R J = dot(D.d[0], K.d[0]) * s, Jdot = inner(K, W) * s, q = inner(K, H) * s;
    R strain = J - one + act, p = lambda * strain - mu * T(0.75) + damp * Jdot;
    Edges A = times(D, e + E_S), B = times(H, e + E_S);
    R a = inner(H, A), r = one / (inner(D, A) + one);
    Edges Z = cofactor_along(D, combine(W, -q * damp * s, H, -p * s));
    Edges gW = combine(B, -damp, K, -q * damp * s);
    Edges gD = combine(combine(B, mu * (r - one), A, mu * r * r * a * T(-2)), one, combine(Z, one, K, -q * lambda * s), one);
    spread(gx, node, gD);
    spread(gv, node, gW);
    if (node[E_ACTUATOR] >= 0) put(gu, node[E_ACTUATOR], get(gu, node[E_ACTUATOR]) - q * lambda);
    gk.mu = gk.mu - ((one - r) * a - q * T(0.75)) * e[E_MU];
    gk.lambda = gk.lambda - q * strain * e[E_LAMBDA];
}

}  // namespace ds
