// What sensors read from a state: poses and velocities of frames fixed to links, and the ground's force at contact
// points; and the vector-Jacobian product, by the same argument about rigid motions as in adjoint.h.
#pragma once
#include "adjoint.h"
#include "block.h"

namespace ds {

enum { POSITION, QUATERNION, VELOCITY, ANGULAR_VELOCITY, VELOCIMETER, GYRO, CONTACT_FORCE };
// tables of sensors: what, the link, the first output, and the contact point; the frame's place and attitude
enum { Q_KIND, Q_LINK, Q_OUT, Q_CONTACT, QI_COLUMNS };
enum { Q_POS = 0, Q_QUAT = 3, Q_AXES = 7, QR_COLUMNS = 16 };

struct Sensors {
    int n, outputs;
    const int* sensor;      // [n][QI_COLUMNS]
    const T* sensorr;       // [n][QR_COLUMNS]
    const T* attitude;      // [nl][4] of each link at the reference position, in its parent
};
DS_FN Sensors unpack_sensors(const int* i, const T* r) { return {i[0], i[1], i + 2, r, r + i[0] * QR_COLUMNS}; }

DS_FN Quat constant(const T* q) { return {splat(q[0]), splat(q[1]), splat(q[2]), splat(q[3])}; }

// attitude of every link, composed joint by joint so that it is as continuous as the coordinates are
DS_FN void attitudes(const Model& m, const Sensors& f, const State& s, Quat* Q)
{
    for (int i = 0; i < m.nl; i++) {
        const int* link = m.link + i * LI_COLUMNS;
        const P* real = m.linkr + i * LR_COLUMNS;
        const R* q = s.q + link[L_Q];
        Quat before_joint = constant(f.attitude + 4 * i);
        if (link[L_PARENT] >= 0) before_joint = Q[link[L_PARENT]] * before_joint;
        DS_WITH_JOINT(link, Q[i] = J::turn(real, q, before_joint))
    }
}

// The worlds of a block, read and placed.
struct Scene {
    State s;
    Kinematics k;
    Quat Q[DS_MAX_NL];
};
DS_FN void place(Model& m, const Sensors& f, const Block& b, const T* q, const T* v, Scene& scene)
{
    m.places = true;  // world x and y of every link
    load_state(m, b, q, v, scene.s);
    pose(m, scene.s, scene.k);
    velocities(m, scene.s, scene.k);
    attitudes(m, f, scene.s, scene.Q);
}

DS_ITEM void sense(int index, const SenseArgs& args)
{
    Model m = unpack(args.integers, args.reals, args.reals + args.integers[H_REALS]);
    Sensors f = unpack_sensors(args.sensor_integers, args.sensor_reals);
    Block b = block(index, args.num_worlds);
    Scene scene;
    const Kinematics& k = scene.k;
    place(m, f, b, args.q, args.qd, scene);
    R out[DS_MAX_OUT];
    for (int j = 0; j < f.outputs; j++) out[j] = R{};
    for (int a = 0; a < f.n; a++) {
        const int* sensor = f.sensor + a * QI_COLUMNS;
        const T* real = f.sensorr + a * QR_COLUMNS;
        int i = sensor[Q_LINK], kind = sensor[Q_KIND];
        R* y = out + sensor[Q_OUT];
        if (kind == QUATERNION) {
            put(y, scene.Q[i] * constant(real + Q_QUAT));
            continue;
        }
        if (kind == CONTACT_FORCE) {
            const P* point = m.contactr + sensor[Q_CONTACT] * CR_COLUMNS;
            ContactPoint at = contact_point(m, k, i, point);
            add(y, level_force(m, point, at.d, k.V[i].v + cross(k.V[i].w, at.p)));
            continue;
        }
        V3 p = k.r[i] + rotate(k.E[i], real + Q_POS), u = k.V[i].v + cross(k.V[i].w, p);
        M3 axes = rotate9(k.E[i], real + Q_AXES);
        V3 w = k.V[i].w, x = p + V3{k.x[i], k.y[i], k.height[i]};
        if (kind == POSITION) put(y, x);
        if (kind == VELOCITY) put(y, u);
        if (kind == ANGULAR_VELOCITY) put(y, w);
        if (kind == VELOCIMETER) put(y, V3{dot(axes.c[0], u), dot(axes.c[1], u), dot(axes.c[2], u)});
        if (kind == GYRO) put(y, V3{dot(axes.c[0], w), dot(axes.c[1], w), dot(axes.c[2], w)});
    }
    store(b, out, f.outputs, args.values);
}

// cotangents of a link's velocity V, and of its rigid displacement W
struct SensedBar {
    SV V, W;
};

// g: cotangent of a contact point's force
DS_FN void contact_force_vjp(const Model& m, const Kinematics& k, int i, const P* point, V3 g, SensedBar& b)
{
    ContactPoint at = contact_point(m, k, i, point);
    V3 p = at.p, u = k.V[i].v + cross(k.V[i].w, p);
    LevelBar f = level_vjp(m, point, at.d, u, -g);
    V3 pu = f.u;
    b.V = b.V + SV{cross(p, pu), pu};
    V3 e = cross(pu, k.V[i].w);  // the lowest point of a sphere does not turn with the link
    b.W.w = b.W.w + V3{p.y * f.d - e.y * point[C_RADIUS], e.x * point[C_RADIUS] - p.x * f.d, R{}} + cross(u, pu);
    b.W.v.z = b.W.v.z + f.d;
}

// cotangents of the coordinates and velocities that a joint moves after WORLD
template <class J>
DS_FN void sensed_vjp(const R* q, const SV* S, const SV& by_velocity, const SV& by_motion, R* gq, R* gv)
{
    R turn[J::NV - J::WORLD];
    for (int j = J::WORLD; j < J::NV; j++) {
        gv[j] = dot(S[j], by_velocity);
        turn[j - J::WORLD] = dot(S[j], by_motion);
    }
    J::pull_back(q, turn, gq);
}

DS_ITEM void sense_vjp(int index, const SenseVjpArgs& args)
{
    Model m = unpack(args.integers, args.reals, args.reals + args.integers[H_REALS]);
    Sensors f = unpack_sensors(args.sensor_integers, args.sensor_reals);
    Block b = block(index, args.num_worlds);
    Scene scene;
    const Kinematics& k = scene.k;
    const State& s = scene.s;
    place(m, f, b, args.q, args.qd, scene);
    R out[DS_MAX_OUT];
    load(b, args.gvalues, f.outputs, out);
    SensedBar bar[DS_MAX_NL];
    for (int i = 0; i < m.nl; i++) bar[i] = {zero6(), zero6()};
    for (int a = 0; a < f.n; a++) {
        const int* sensor = f.sensor + a * QI_COLUMNS;
        const T* real = f.sensorr + a * QR_COLUMNS;
        int i = sensor[Q_LINK], kind = sensor[Q_KIND];
        const R* y = out + sensor[Q_OUT];
        SensedBar& c = bar[i];
        if (kind == QUATERNION) {
            Quat back = quat(y) * conj(scene.Q[i] * constant(real + Q_QUAT));
            c.W.w = c.W.w + V3{back.x, back.y, back.z} * splat(T(0.5));
            continue;
        }
        V3 g = vec(y);
        if (kind == CONTACT_FORCE) {
            contact_force_vjp(m, k, i, m.contactr + sensor[Q_CONTACT] * CR_COLUMNS, g, c);
            continue;
        }
        V3 p = k.r[i] + rotate(k.E[i], real + Q_POS), u = k.V[i].v + cross(k.V[i].w, p);
        // in the frame's own axes a velocity does not change as all is turned together
        if (kind >= VELOCIMETER) g = rotate9(k.E[i], real + Q_AXES) * g;
        if (kind == POSITION) c.W = c.W + SV{cross(p, g), g};
        if (kind == VELOCITY || kind == VELOCIMETER) c.V = c.V + SV{cross(p, g), g};
        if (kind == ANGULAR_VELOCITY || kind == GYRO) c.V.w = c.V.w + g;
        if (kind == VELOCITY) c.W.w = c.W.w + cross(u, g);
        if (kind == ANGULAR_VELOCITY) c.W.w = c.W.w + cross(k.V[i].w, g);
    }
    State g;
    for (int i = m.nl - 1; i >= 0; i--) {
        const int* link = m.link + i * LI_COLUMNS;
        int a = link[L_Q], d = link[L_DOF];
        SensedBar c = bar[i];
        SV by_motion = c.W - cross_force(before(m, link, k.V, s.v + d, zero3()), c.V);
        if (link[L_WORLD]) {
            put(g.v + d, c.V.v);
            put(g.q + a, c.W.v);
        }
        DS_WITH_JOINT(link, sensed_vjp<J>(s.q + a, k.S + d, c.V, by_motion, g.q + a, g.v + d))
        if (link[L_PARENT] >= 0) {
            SensedBar& up = bar[link[L_PARENT]];
            up.V = up.V + c.V;
            up.W = up.W + c.W;
        }
    }
#if DS_COUPLED
    follow_vjp(m, s, g);
#endif
    store_coordinates(m, b, g.q, args.gq);
    store_velocities(m, b, g.v, args.gqd);
}

}  // namespace ds
