// Vectors and 3 x 3 matrices.
#pragma once
#include "lanes.h"

namespace ds {

struct V3 {
    R x, y, z;
};
DS_FN V3 operator+(V3 a, V3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
DS_FN V3 operator-(V3 a, V3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
DS_FN V3 operator-(V3 a) { return {-a.x, -a.y, -a.z}; }
DS_FN V3 operator*(V3 a, R s) { return {a.x * s, a.y * s, a.z * s}; }
DS_FN R dot(V3 a, V3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
DS_FN V3 cross(V3 a, V3 b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }
DS_FN V3 zero3() { return {R{}, R{}, R{}}; }

// by columns
struct M3 {
    V3 c[3];
};
DS_FN V3 operator*(const M3& A, V3 a) { return A.c[0] * a.x + A.c[1] * a.y + A.c[2] * a.z; }
DS_FN M3 operator*(const M3& A, const M3& B) { return {{A * B.c[0], A * B.c[1], A * B.c[2]}}; }
DS_FN M3 operator*(const M3& A, R s) { return {{A.c[0] * s, A.c[1] * s, A.c[2] * s}}; }
DS_FN M3 operator+(const M3& A, const M3& B) { return {{A.c[0] + B.c[0], A.c[1] + B.c[1], A.c[2] + B.c[2]}}; }
DS_FN M3 operator-(const M3& A, const M3& B) { return {{A.c[0] - B.c[0], A.c[1] - B.c[1], A.c[2] - B.c[2]}}; }
DS_FN M3 transposed(const M3& A)
{
    return {{{A.c[0].x, A.c[1].x, A.c[2].x}, {A.c[0].y, A.c[1].y, A.c[2].y}, {A.c[0].z, A.c[1].z, A.c[2].z}}};
}

}  // namespace ds
