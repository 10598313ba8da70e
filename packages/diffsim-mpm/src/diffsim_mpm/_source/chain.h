// Kinematic trees: poses of all shapes from joint positions, for one world, and the way back. A joint's frame has its origin
// on the joint's axis; a joint comes after its parent. All of this is in plain numbers T, for a world has its own poses.
#pragma once
#include "shapes.h"

namespace ds {

enum { HINGE, SLIDE };
// columns of a joint's integers and reals: its axis in its own frame, its limits, its frame in its parent's at position 0
enum { JI_KIND, JI_PARENT, JI_COLUMNS };
enum { JR_AXIS, JR_LOW = 3, JR_HIGH, JR_PLACE, JR_COLUMNS = JR_PLACE + 12 };

struct Chain {
    int joints;
    const int* integers;
    const T* reals;
    Shapes shapes;
};

// The tables of Python's `KinematicChain.pack`: how many joints and shapes there are, joints, shapes; reals also samples.
DS_FN Chain read_chain(const int* integers, const T* reals)
{
    int joints = integers[0], shapes = integers[1];
    const int* shape_integers = integers + 2 + joints * JI_COLUMNS;
    const T* shape_reals = reals + joints * JR_COLUMNS;
    return {joints, integers + 2, reals, {shapes, shape_integers, shape_reals, shape_reals + shapes * SR_COLUMNS, nullptr}};
}

// a 3-vector b = E a for a rotation E by columns
DS_FN void turn(const T* E, const T* a, T* b)
{
    for (int i = 0; i < 3; i++) b[i] = E[i] * a[0] + E[3 + i] * a[1] + E[6 + i] * a[2];
}
// a pose in a frame that is itself in the world, where the frame is null for the world
DS_FN void placed(const T* frame, const T* place, T* pose)
{
    if (!frame) {
        for (int i = 0; i < 12; i++) pose[i] = place[i];
        return;
    }
    for (int c = 0; c < 4; c++) turn(frame, place + 3 * c, pose + 3 * c);
    for (int i = 0; i < 3; i++) pose[9 + i] += frame[9 + i];
}
DS_FN void plus_cross(const T* a, const T* b, T* c)
{
    c[0] += a[1] * b[2] - a[2] * b[1];
    c[1] += a[2] * b[0] - a[0] * b[2];
    c[2] += a[0] * b[1] - a[1] * b[0];
}
DS_FN const T* frame_of(const T* frames, int joint) { return joint < 0 ? nullptr : frames + 12 * joint; }

// frames of all joints in the world
DS_FN void joint_frames(const Chain& c, const T* q, T* frames)
{
    for (int j = 0; j < c.joints; j++) {
        const T *reals = c.reals + j * JR_COLUMNS, *axis = reals + JR_AXIS;
        T* frame = frames + 12 * j;
        T place[12];
        placed(frame_of(frames, c.integers[j * JI_COLUMNS + JI_PARENT]), reals + JR_PLACE, place);
        if (c.integers[j * JI_COLUMNS + JI_KIND] == SLIDE) {
            T along[3];
            turn(place, axis, along);
            for (int i = 0; i < 12; i++) frame[i] = place[i];
            for (int i = 0; i < 3; i++) frame[9 + i] += along[i] * q[j];
            continue;
        }
        T sine = wp::sin(q[j]), cosine = wp::cos(q[j]), rest = T(1) - cosine;
        for (int k = 0; k < 3; k++) {  // Rodrigues: column k of the turn
            T e[3] = {T(k == 0), T(k == 1), T(k == 2)}, column[3];
            for (int i = 0; i < 3; i++) column[i] = cosine * e[i] + rest * axis[k] * axis[i];
            T scaled[3] = {sine * axis[0], sine * axis[1], sine * axis[2]};
            plus_cross(scaled, e, column);
            turn(place, column, frame + 3 * k);
        }
        for (int i = 9; i < 12; i++) frame[i] = place[i];
    }
}

// poses [12 per shape] from joint positions q
DS_ENTRY void chain_poses(const Chain& c, const T* q, T* pose)
{
    T frames[12 * DS_MAX_JOINTS];
    joint_frames(c, q, frames);
    for (int s = 0; s < c.shapes.count; s++)
        placed(frame_of(frames, c.shapes.integers[s * SI_COLUMNS + SI_JOINT]), c.shapes.reals + s * SR_COLUMNS + SR_PLACE, pose + 12 * s);
}

// Adds to gq, from cotangents of the poses. A shape that turns by w and moves by v changes its axes e by w x e and its origin
// p by w x p + v: its cotangents are a torque and a force, which add up along the tree; a joint takes what is about its axis.
DS_ENTRY void chain_poses_vjp(const Chain& c, const T* q, const T* gpose, T* gq)
{
    T frames[12 * DS_MAX_JOINTS], wrench[6 * DS_MAX_JOINTS];
    joint_frames(c, q, frames);
    for (int i = 0; i < 6 * c.joints; i++) wrench[i] = T(0);
    for (int s = 0; s < c.shapes.count; s++) {
        int joint = c.shapes.integers[s * SI_COLUMNS + SI_JOINT];
        if (joint < 0) continue;
        T pose[12];
        placed(frames + 12 * joint, c.shapes.reals + s * SR_COLUMNS + SR_PLACE, pose);
        for (int k = 0; k < 12; k += 3) plus_cross(pose + k, gpose + 12 * s + k, wrench + 6 * joint);
        for (int i = 0; i < 3; i++) wrench[6 * joint + 3 + i] += gpose[12 * s + 9 + i];
    }
    for (int j = c.joints - 1; j >= 0; j--) {
        const T *frame = frames + 12 * j, *torque = wrench + 6 * j, *force = torque + 3;
        T axis[3], moment[3] = {torque[0], torque[1], torque[2]};
        turn(frame, c.reals + j * JR_COLUMNS + JR_AXIS, axis);
        plus_cross(force, frame + 9, moment);  // about the joint: the torque less p x force
        const T* along = c.integers[j * JI_COLUMNS + JI_KIND] == SLIDE ? force : moment;
        gq[j] += axis[0] * along[0] + axis[1] * along[1] + axis[2] * along[2];
        int parent = c.integers[j * JI_COLUMNS + JI_PARENT];
        if (parent >= 0)
            for (int i = 0; i < 6; i++) wrench[6 * parent + i] += torque[i];
    }
}

// Joint positions after a fraction of a control step that moves them by u, within their limits.
DS_FN void joints_at(const Chain& c, const T* q, const T* u, T fraction, T* out)
{
    for (int j = 0; j < c.joints; j++) {
        const T* reals = c.reals + j * JR_COLUMNS;
        T x = q[j] + fraction * u[j];
        out[j] = x < reals[JR_LOW] ? reals[JR_LOW] : x > reals[JR_HIGH] ? reals[JR_HIGH] : x;
    }
}
// Adds to gq and gu; a joint at its limit passes nothing on.
DS_FN void joints_at_vjp(const Chain& c, const T* q, const T* u, T fraction, const T* gout, T* gq, T* gu)
{
    for (int j = 0; j < c.joints; j++) {
        const T* reals = c.reals + j * JR_COLUMNS;
        T x = q[j] + fraction * u[j];
        if (x < reals[JR_LOW] || x > reals[JR_HIGH]) continue;
        gq[j] += gout[j];
        gu[j] += fraction * gout[j];
    }
}

}  // namespace ds
