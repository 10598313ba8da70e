// Singular value decomposition F = U diag(s) V^T of 3x3 matrices, U and V rotations, s1 >= s2 >= |s3|, and the adjoint of
// functions of it. One-sided Jacobi: F's rows are turned until each is orthogonal to the others, from a start in which one of
// them mostly is. No lane branches: where two rows are orthogonal already, they are turned by nothing. So a
// lane's numbers do not depend on the other lanes; only the sign of a zero may.
#pragma once
#include "tensor.h"

namespace ds {

#if DS_DOUBLE
constexpr T ORTHOGONAL = T(1e-15), NO_LENGTH = T(1e-290);
#else
constexpr T ORTHOGONAL = T(2.5e-7), NO_LENGTH = T(1e-36);
#endif
enum { MOST_SWEEPS = 12 };

struct Svd {
    M3 U;
    V3 s;
    M3 V;
};

// Turn a and b, rows of F, to be orthogonal, and u and v, columns of U, with them. Says which lanes had something to turn.
DS_FN Mask turn_orthogonal(V3& a, V3& b, V3& u, V3& v)
{
    R aa = dot(a, a), bb = dot(b, b), ab = dot(a, b);
    Mask open = ab * ab > max_(aa * bb * (ORTHOGONAL * ORTHOGONAL), splat(NO_LENGTH));
    if (!any(open)) return open;
    R far = bb - aa, twice = ab + ab, length = sqrt_(far * far + twice * twice), reach = length + abs_(far), one = splat(T(1));
    R k = one / sqrt_(select(open, T(2) * length * reach, one));
    R c = select(open, reach * k, one), s = select(open, select(far < R{}, -twice, twice) * k, R{});
    V3 p = a, q = u;
    a = plus(a * c, b, -s);
    b = plus(b * c, p, s);
    u = plus(u * c, v, -s);
    v = plus(v * c, q, s);
    return open;
}

DS_FN V3 choose(Mask m, V3 a, V3 b) { return {select(m, a.x, b.x), select(m, a.y, b.y), select(m, a.z, b.z)}; }
// a the longer one of the two rows, by a quarter turn
DS_FN void longer_first(V3& a, V3& b, V3& u, V3& v)
{
    Mask swap = dot(a, a) < dot(b, b);
    V3 p = a, q = u;
    a = choose(swap, b, a);
    b = choose(swap, -p, b);
    u = choose(swap, v, u);
    v = choose(swap, -q, v);
}

// A rotation whose first column is the eigenvector of F F^T that belongs to the eigenvalue farthest from the other two; up to
// rounding, and any rotation where all three are equal. The other columns are arbitrary.
DS_FN M3 most_apart(const M3& F)
{
    M3 B = mul_nt(F, F);
    R mean = trace(B) * T(1.0 / 3), one = splat(T(1));
    M3 D = plus_identity(B, -mean);
    R inverse = one / sqrt_(max_(dot(D, D) * T(1.0 / 6), mean * mean * (ORTHOGONAL * ORTHOGONAL) + NO_LENGTH));
    // Scaled so, D has the eigenvalues 2 cos(t), 2 cos(t + 2 pi / 3), 2 cos(t - 2 pi / 3), whose product is 2 r. For r > 0 the
    // largest is farthest from the others, between sqrt(3) and 2; otherwise D's sign is turned. Two steps of Newton's from
    // the quadratic function with the right ends find it.
    R r = T(0.5) * determinant(D, cofactor(D)) * inverse * inverse * inverse;
    inverse = select(r < R{}, -inverse, inverse);
    r = min_(abs_(r), one);
    R x = T(1.7320508) + r * (T(1.0 / 3) - r * T(0.0653841));
    for (int k = 0; k < 2; k++) x = x - ((x * x - T(3)) * x - T(2) * r) / (T(3) * x * x - T(3));
    M3 projection = cofactor(plus_identity(D * inverse, -x));  // onto the eigenvector, times a number above 3
    V3 d = diagonal(projection), n = choose(d.y > d.x, projection.c[1], projection.c[0]);
    n = choose(d.z > max_(d.x, d.y), projection.c[2], n);
    n = n * (one / sqrt_(dot(n, n)));
    // two directions across n (Duff et al., JCGT 2017)
    R side = select(n.z < R{}, -one, one), a = -one / (side + n.z), b = n.x * n.y * a;
    return {{n, {one + side * n.x * n.x * a, side * b, -(side * n.x)}, {b, side + n.y * n.y * a, -n.y}}};
}

DS_FN Svd svd(const M3& F)
{
    M3 U = most_apart(F), rows = {{mul_t(F, U.c[0]), mul_t(F, U.c[1]), mul_t(F, U.c[2])}};
    V3 &a = rows.c[0], &b = rows.c[1], &c = rows.c[2], &u = U.c[0], &v = U.c[1], &w = U.c[2];
    turn_orthogonal(b, c, v, w);
    for (int k = 0; k < MOST_SWEEPS; k++) {
        Mask open = turn_orthogonal(a, b, u, v);
        open = open | turn_orthogonal(a, c, u, w);
        open = open | turn_orthogonal(b, c, v, w);
        if (!any(open)) break;
    }
    longer_first(a, b, u, v);
    longer_first(a, c, u, w);
    longer_first(b, c, v, w);
    R s1 = sqrt_(dot(a, a)), s2 = sqrt_(dot(b, b));
    a = a * (splat(T(1)) / max_(s1, splat(NO_LENGTH)));
    b = b * (splat(T(1)) / max_(s2, splat(NO_LENGTH)));
    V3 third = cross(a, b);  // which makes V a rotation, and gives s3 its sign
    return {U, {s1, s2, dot(c, third)}, {{a, b, third}}};
}

// What a pair i < j of singular values contributes to the adjoint of X = U diag(g) V^T and Y = U diag(t) U^T, where g and t
// are functions of s: a = (g_i - g_j) / (s_i - s_j) and b = (g_i + g_j) / (s_i + s_j), t = (t_i - t_j) / (s_i^2 - s_j^2). The
// caller knows the limits of the first and the last where s_i = s_j.
struct Pair {
    R a, b, t;
};
struct Pairs {
    Pair xy, xz, yz;
};
// entries ij and ji of the cotangent of U^T F V, from those of U^T gX V (w) and the sum of those of U^T gY U (y)
DS_FN void pair_vjp(const Pair& p, R si, R sj, R w_ij, R w_ji, R y, R& k_ij, R& k_ji)
{
    R even = T(0.5) * p.a * (w_ij + w_ji), odd = T(0.5) * p.b * (w_ij - w_ji), t = p.t * y;
    k_ij = even + odd + t * sj;
    k_ji = even - odd + t * si;
}
// Cotangent of F, with that of each singular value in gs: from W = U^T gX V and Y = U^T gY U.
DS_FN M3 svd_vjp(const Svd& d, const Pairs& p, const M3& W, const M3& Y, V3 gs)
{
    M3 K;
    K.c[0].x = gs.x;
    K.c[1].y = gs.y;
    K.c[2].z = gs.z;
    pair_vjp(p.xy, d.s.x, d.s.y, W.c[1].x, W.c[0].y, Y.c[1].x + Y.c[0].y, K.c[1].x, K.c[0].y);
    pair_vjp(p.xz, d.s.x, d.s.z, W.c[2].x, W.c[0].z, Y.c[2].x + Y.c[0].z, K.c[2].x, K.c[0].z);
    pair_vjp(p.yz, d.s.y, d.s.z, W.c[2].y, W.c[1].z, Y.c[2].y + Y.c[1].z, K.c[2].y, K.c[1].z);
    return mul_nt(mul(d.U, K), d.V);
}

}  // namespace ds
