// Vectors in world axes.
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

}  // namespace ds
