// The implicit part of a sub-step. The accelerations solve
//     (M + h C) qdd = f,        C = -df/dqd where forces damp,
// so that a damper acts on the velocity it leaves behind, and stays stable however stiff it is. C holds dampers of joints
// (viscous, dry friction, limits, servos) on its diagonal and contact with what does not move link by link; both keep the
// tree's sparsity. Where a force is bounded C has the slope of its secant, bounded force over free force: that of the tangent
// would be zero, and the step would overshoot. See docs/development/adjoint.md, "The implicit part".
#pragma once
#include "model.h"

namespace ds {

#if DS_IMPLICIT
// A symmetric map from motion to force: blocks of force by velocity, torque by velocity (rows: torque), torque by rotation.
struct Sym6 {
    R vv[6], wv[9], ww[6];  // xx yy zz xy xz yz; rows
};
DS_FN V3 times6(const R* s, V3 a)
{
    return {s[0] * a.x + s[3] * a.y + s[4] * a.z, s[3] * a.x + s[1] * a.y + s[5] * a.z, s[4] * a.x + s[5] * a.y + s[2] * a.z};
}
DS_FN SV operator*(const Sym6& B, SV a)
{
    const R* m = B.wv;
    V3 w = {m[0] * a.v.x + m[1] * a.v.y + m[2] * a.v.z, m[3] * a.v.x + m[4] * a.v.y + m[5] * a.v.z,
            m[6] * a.v.x + m[7] * a.v.y + m[8] * a.v.z};
    V3 v = {m[0] * a.w.x + m[3] * a.w.y + m[6] * a.w.z, m[1] * a.w.x + m[4] * a.w.y + m[7] * a.w.z,
            m[2] * a.w.x + m[5] * a.w.y + m[8] * a.w.z};
    return {times6(B.ww, a.w) + w, times6(B.vv, a.v) + v};
}
DS_FN void add(Sym6& a, const Sym6& b)
{
    for (int i = 0; i < 6; i++) a.vv[i] = a.vv[i] + b.vv[i], a.ww[i] = a.ww[i] + b.ww[i];
    for (int i = 0; i < 9; i++) a.wv[i] = a.wv[i] + b.wv[i];
}

struct Damping {
    R dof[DS_MAX_NV];      // [nv]
    Sym6 link[DS_MAX_NL];  // where `touching`: a link's force -link V
    bool touching[DS_MAX_NL];
};
DS_FN void clear(const Model& m, Damping& C)
{
    for (int d = 0; d < m.nv; d++) C.dof[d] = R{};
    for (int i = 0; i < m.nl; i++) C.touching[i] = false;
}

// a damper between a point p of a link and the world: -across u across the unit normal n, -along u along it
DS_FN void damp_point(Damping& C, int link, V3 p, V3 n, R along, R across)
{
    R s = along - across;
    V3 c[3] = {n * (s * n.x), n * (s * n.y), n * (s * n.z)};  // columns of the damper
    c[0].x = c[0].x + across, c[1].y = c[1].y + across, c[2].z = c[2].z + across;
    V3 t[3];
    for (int j = 0; j < 3; j++) t[j] = cross(p, c[j]);  // columns of torque by velocity; its rows are those of velocity by rotation
    V3 row[3] = {{t[0].x, t[1].x, t[2].x}, {t[0].y, t[1].y, t[2].y}, {t[0].z, t[1].z, t[2].z}};
    V3 wx = cross(p, row[0]), wy = cross(p, row[1]), wz = cross(p, row[2]);  // rows of torque by rotation
    Sym6 B = {{c[0].x, c[1].y, c[2].z, c[1].x, c[2].x, c[2].y},
              {row[0].x, row[0].y, row[0].z, row[1].x, row[1].y, row[1].z, row[2].x, row[2].y, row[2].z},
              {wx.x, wy.y, wz.z, wx.y, wx.z, wy.z}};
    if (C.touching[link])
        add(C.link[link], B);
    else
        C.link[link] = B, C.touching[link] = true;
}

// a damper of turning between a link and the world: -along w along the unit vector n, -across w across it
DS_FN void damp_turn(Damping& C, int link, V3 n, R along, R across)
{
    R s = along - across, z = R{};
    Sym6 B = {{z, z, z, z, z, z}, {z, z, z, z, z, z, z, z, z},
              {s * n.x * n.x + across, s * n.y * n.y + across, s * n.z * n.z + across, s * n.x * n.y, s * n.x * n.z, s * n.y * n.z}};
    if (C.touching[link])
        add(C.link[link], B);
    else
        C.link[link] = B, C.touching[link] = true;
}

// The slope of a contact's normal force by the velocity after the sub-step, and its derivative by distance: damping at that
// depth, and the spring's over the sub-step. Constants of the contact alone, so that any law may have it.
struct Firmness {
    R value, by_d;
};
DS_FN Firmness firmness(const P* row, R d, R depth, T width, T h)
{
    R z = R{}, one = splat(T(1)), slope = select(d < z, one, z), curve = z;
    if (width > 0) {
        slope = min_(max_(splat(width) - d, z) * (T(0.5) / width), one);
        curve = select((d < splat(width)) & (d > splat(-width)), splat(T(-0.5) / width), z);
    }
    return {slope * (h * row[C_KN]) - depth * row[C_KD], curve * (h * row[C_KN]) - slope * row[C_KD]};
}
#else
struct Damping {};
#endif

}  // namespace ds
