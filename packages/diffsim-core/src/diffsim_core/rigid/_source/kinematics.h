// Where every link is and how it moves, in world axes about a reference point that travels with the robot: the
// origin of a free joint, or of a link that only slides separate from the world, or the anchor of any other joint on the
// world. A robot a hundred metres out is as accurate as one at the origin, because no lever arm ever contains that
// distance.
#pragma once
#include "joints.h"

namespace ds {

struct Kinematics {
    M3 E[DS_MAX_NL];       // link axes
    V3 r[DS_MAX_NL];       // link origin, from the reference point
    SV S[DS_MAX_NV];       // motion of each degree of freedom
    SV V[DS_MAX_NL];       // velocity
    R height[DS_MAX_NL];   // world z of the reference point
    R x[DS_MAX_NL], y[DS_MAX_NL];  // its world x and y, where they are asked for
};

// velocity (or its like) of the predecessor of a link: the parent; for a link placed in the world the moving, unrotated origin
DS_FN SV before(const Model& m, const int* link, const SV* field, const R* dof, V3 base)
{
    if (link[L_WORLD]) return {zero3(), vec(dof) + base};
    if (link[L_PARENT] < 0) return {zero3(), base};
    return field[link[L_PARENT]];
}

DS_FN void pose(const Model& m, const State& s, Kinematics& k)
{
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        int parent = link[L_PARENT], d = link[L_DOF];
        const R* q = s.q + link[L_Q];
        if (link[L_WORLD]) {
            DS_WITH_JOINT(link, J::place(real, q, k.E[i], k.r[i], k.S + d + J::WORLD))
            k.height[i] = q[2];
            if (m.places) k.x[i] = q[0], k.y[i] = q[1];
            R o = splat(T(1)), z = R{};
            k.S[d] = {zero3(), {o, z, z}}, k.S[d + 1] = {zero3(), {z, o, z}}, k.S[d + 2] = {zero3(), {z, z, o}};
            continue;
        }
        M3 E;
        V3 r, anchor = {splat(real[L_POS]), splat(real[L_POS + 1]), splat(real[L_POS + 2])};
        bool turns = parent < 0 && !link[L_ORIGIN];
        if (parent < 0) {
            E = identity();
            r = turns ? zero3() : anchor;
        } else {
            E = k.E[parent];
            r = k.r[parent] + rotate(E, real + L_POS);
        }
        if (link[L_ROTATED]) E = rotate9(E, real + L_ROT);
        DS_WITH_JOINT(link, J::place(real, q, E, r, k.S + d))
        k.E[i] = E;
        k.r[i] = r;
        k.height[i] = turns ? anchor.z : parent < 0 ? R{} : k.height[parent];
        if (m.places) {
            k.x[i] = turns ? anchor.x : parent < 0 ? R{} : k.x[parent];
            k.y[i] = turns ? anchor.y : parent < 0 ? R{} : k.y[parent];
            if (link[L_ORIGIN]) k.x[i] = k.x[i] + r.x, k.y[i] = k.y[i] + r.y;
        }
        if (link[L_ORIGIN]) {
            // lever arms do not matter to slides, so a link behind slides alone may be its own reference point
            k.height[i] = k.height[i] + r.z;
            k.r[i] = zero3();
        }
    }
}

DS_FN void velocities(const Model& m, const State& s, Kinematics& k)
{
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        k.V[i] = before(m, link, k.V, s.v + link[L_DOF], zero3()) + joint_motion(link, k.S, s.v);
    }
}

DS_FN Inertia link_inertia(const Kinematics& k, const P* real, int i)
{
    const M3& E = k.E[i];
    const P* J = real + L_INERTIA;  // about the centre of mass, link axes: xx yy zz xy xz yz
    V3 c = k.r[i] + rotate(E, real + L_COM);
    // E J by columns, then the six distinct entries of E J E^T
    V3 a = E.c[0] * splat(J[0]) + E.c[1] * splat(J[3]) + E.c[2] * splat(J[4]);
    V3 b = E.c[0] * splat(J[3]) + E.c[1] * splat(J[1]) + E.c[2] * splat(J[5]);
    V3 e = E.c[0] * splat(J[4]) + E.c[1] * splat(J[5]) + E.c[2] * splat(J[2]);
    Inertia I;
    I.m = splat(real[L_MASS]);
    I.h = c * I.m;
    I.i[0] = a.x * E.c[0].x + b.x * E.c[1].x + e.x * E.c[2].x + I.h.y * c.y + I.h.z * c.z;
    I.i[1] = a.y * E.c[0].y + b.y * E.c[1].y + e.y * E.c[2].y + I.h.x * c.x + I.h.z * c.z;
    I.i[2] = a.z * E.c[0].z + b.z * E.c[1].z + e.z * E.c[2].z + I.h.x * c.x + I.h.y * c.y;
    I.i[3] = a.x * E.c[0].y + b.x * E.c[1].y + e.x * E.c[2].y - I.h.x * c.y;
    I.i[4] = a.x * E.c[0].z + b.x * E.c[1].z + e.x * E.c[2].z - I.h.x * c.z;
    I.i[5] = a.y * E.c[0].z + b.y * E.c[1].z + e.y * E.c[2].z - I.h.y * c.z;
    return I;
}

}  // namespace ds
