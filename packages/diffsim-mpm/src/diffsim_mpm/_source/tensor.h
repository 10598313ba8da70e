// 3x3 matrices of what deforms, on top of the vectors and rotations of the core's algebra.h (there M3 is by columns, here too).
// Products are written out, one expression for each entry, so that the compiler fuses multiplications with additions.
#pragma once
#include "algebra.h"

namespace ds {

DS_FN M3 operator+(const M3& A, const M3& B) { return {{A.c[0] + B.c[0], A.c[1] + B.c[1], A.c[2] + B.c[2]}}; }
DS_FN M3 operator-(const M3& A, const M3& B) { return {{A.c[0] - B.c[0], A.c[1] - B.c[1], A.c[2] - B.c[2]}}; }
DS_FN M3 operator*(const M3& A, R s) { return {{A.c[0] * s, A.c[1] * s, A.c[2] * s}}; }
DS_FN M3 zero33() { return {{zero3(), zero3(), zero3()}}; }

// a + b s, and A + B s, in one rounding each
DS_FN V3 plus(V3 a, V3 b, R s) { return {a.x + b.x * s, a.y + b.y * s, a.z + b.z * s}; }
DS_FN M3 plus(const M3& A, const M3& B, R s) { return {{plus(A.c[0], B.c[0], s), plus(A.c[1], B.c[1], s), plus(A.c[2], B.c[2], s)}}; }
// A + s I
DS_FN M3 plus_identity(M3 A, R s)
{
    A.c[0].x = A.c[0].x + s;
    A.c[1].y = A.c[1].y + s;
    A.c[2].z = A.c[2].z + s;
    return A;
}

DS_FN M3 transpose(const M3& A)
{
    return {{{A.c[0].x, A.c[1].x, A.c[2].x}, {A.c[0].y, A.c[1].y, A.c[2].y}, {A.c[0].z, A.c[1].z, A.c[2].z}}};
}
DS_FN R trace(const M3& A) { return A.c[0].x + A.c[1].y + A.c[2].z; }
DS_FN V3 diagonal(const M3& A) { return {A.c[0].x, A.c[1].y, A.c[2].z}; }
// sum of A_ij B_ij
DS_FN R dot(const M3& A, const M3& B) { return dot(A.c[0], B.c[0]) + dot(A.c[1], B.c[1]) + dot(A.c[2], B.c[2]); }
DS_FN M3 outer(V3 a, V3 b) { return {{a * b.x, a * b.y, a * b.z}}; }
// A + A^T
DS_FN M3 twice_symmetric(const M3& A)
{
    R xy = A.c[0].y + A.c[1].x, xz = A.c[0].z + A.c[2].x, yz = A.c[1].z + A.c[2].y;
    return {{{A.c[0].x + A.c[0].x, xy, xz}, {xy, A.c[1].y + A.c[1].y, yz}, {xz, yz, A.c[2].z + A.c[2].z}}};
}
// the vector w with w . b = A : [b]x, where [b]x a = b x a
DS_FN V3 axial(const M3& A) { return {A.c[1].z - A.c[2].y, A.c[2].x - A.c[0].z, A.c[0].y - A.c[1].x}; }
DS_FN M3 skew(V3 b)
{
    R o = R{};
    return {{{o, b.z, -b.y}, {-b.z, o, b.x}, {b.y, -b.x, o}}};
}

// A b, A^T b, A B, A^T B, A B^T
DS_FN V3 mul(const M3& A, V3 b)
{
    return {A.c[0].x * b.x + A.c[1].x * b.y + A.c[2].x * b.z, A.c[0].y * b.x + A.c[1].y * b.y + A.c[2].y * b.z,
            A.c[0].z * b.x + A.c[1].z * b.y + A.c[2].z * b.z};
}
DS_FN V3 mul_t(const M3& A, V3 b) { return {dot(A.c[0], b), dot(A.c[1], b), dot(A.c[2], b)}; }
DS_FN M3 mul(const M3& A, const M3& B) { return {{mul(A, B.c[0]), mul(A, B.c[1]), mul(A, B.c[2])}}; }
DS_FN M3 mul_tn(const M3& A, const M3& B) { return {{mul_t(A, B.c[0]), mul_t(A, B.c[1]), mul_t(A, B.c[2])}}; }
DS_FN M3 mul_nt(const M3& A, const M3& B) { return mul(A, transpose(B)); }

// det(A) A^-T, the gradient of the determinant: its columns are cross products of A's
DS_FN M3 cofactor(const M3& A) { return {{cross(A.c[1], A.c[2]), cross(A.c[2], A.c[0]), cross(A.c[0], A.c[1])}}; }
// from A's cofactor
DS_FN R determinant(const M3& A, const M3& cofactor) { return dot(A.c[0], cofactor.c[0]); }

// Arrays from outside have matrices by rows.
DS_FN M3 from_rows(const R* a) { return {{{a[0], a[3], a[6]}, {a[1], a[4], a[7]}, {a[2], a[5], a[8]}}}; }
DS_FN void to_rows(const M3& A, R* a)
{
    for (int j = 0; j < 3; j++) {
        a[j] = A.c[j].x;
        a[3 + j] = A.c[j].y;
        a[6 + j] = A.c[j].z;
    }
}

}  // namespace ds
