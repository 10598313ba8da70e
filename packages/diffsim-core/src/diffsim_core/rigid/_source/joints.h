// Joints by type: every place where the engine asks what a joint does. DS_JOINTS(X, ...), which is
// X(number, Struct, NQ, NV, WORLD, ...) for each type that a module is compiled with, is generated from the registry
// (rigid/joints.py), and their headers come before this one.
#pragma once
#include "joint.h"

namespace ds {

// run a statement in which J is the struct of a link's joint
#define DS_JOINT_CASE(number, Struct, NQ_, NV_, WORLD_, ...) case number: { typedef Struct J; __VA_ARGS__; break; }
#define DS_WITH_JOINT(link, ...) switch ((link)[L_TYPE]) { DS_JOINTS(DS_JOINT_CASE, __VA_ARGS__) default: unknown_type(); }

#define DS_JOINT_CHECK(number, Struct, NQ_, NV_, WORLD_, ...)                                                       \
    static_assert(Struct::NQ == NQ_ && Struct::NV == NV_ && Struct::WORLD == WORLD_ && (WORLD_ == 0 || WORLD_ == 3), \
                  "the header and the registry's entry differ in the sizes of joint " #Struct);
DS_JOINTS(DS_JOINT_CHECK)

// S x of the columns after those of the world
template <class J>
DS_FN SV motion(const SV* S, const R* x)
{
    SV sum = S[0] * x[0];
    for (int j = 1; j < J::NV - J::WORLD; j++) sum = sum + S[j] * x[j];
    return sum;
}
DS_FN SV joint_motion(const int* link, const SV* S, const R* x)
{
    SV sum;
    DS_WITH_JOINT(link, sum = motion<J>(S + link[L_TURN], x + link[L_TURN]))
    return sum;
}

// tau -= S . F
DS_FN void subtract_projection(const int* link, const SV* S, const SV& F, R* tau)
{
    if (link[L_WORLD]) add(tau + link[L_DOF], -F.v);
    for (int d = link[L_TURN]; d < link[L_TURN] + link[L_TURNS]; d++) tau[d] = tau[d] - dot(S[d], F);
}

}  // namespace ds
