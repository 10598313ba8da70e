// Joints by type: every place where the engine asks what a joint does. DS_JOINTS(X, ...), X(number, Struct, ...) for each type
// that a module is compiled with, is generated from the registry (rigid/joints.py), and their headers come before this one.
#pragma once
#include "joint.h"

namespace ds {

// run a statement in which J is the struct of a link's joint
#define DS_JOINT_CASE(number, Struct, ...) case number: { typedef Struct J; __VA_ARGS__; break; }
#define DS_WITH_JOINT(link, ...) switch ((link)[L_TYPE]) { DS_JOINTS(DS_JOINT_CASE, __VA_ARGS__) default: unknown_type(); }

#define DS_JOINT_CHECK(number, Struct, ...) \
    static_assert(Struct::WORLD == 0 || (Struct::WORLD == 3 && Struct::NV >= 3), #Struct ": WORLD is 0 or 3");
DS_JOINTS(DS_JOINT_CHECK)

// how many of a joint's velocities, the first ones, are its link's in the world
#define DS_JOINT_BIT(number, Struct, ...) | (unsigned(Struct::WORLD != 0) << number)
constexpr unsigned IN_WORLD = 0 DS_JOINTS(DS_JOINT_BIT);
DS_FN int world_columns(const int* link) { return (IN_WORLD >> link[L_TYPE] & 1) ? 3 : 0; }

DS_FN int dofs(const int* link)
{
    int n = 0;
    DS_WITH_JOINT(link, n = J::NV)
    return n;
}

// S x of the columns after WORLD, of a joint's own S and x
template <class J>
DS_FN SV motion(const SV* S, const R* x)
{
    SV sum = S[J::WORLD] * x[J::WORLD];
    for (int j = J::WORLD + 1; j < J::NV; j++) sum = sum + S[j] * x[j];
    return sum;
}
DS_FN SV joint_motion(const int* link, const SV* S, const R* x)
{
    SV sum;
    DS_WITH_JOINT(link, sum = motion<J>(S + link[L_DOF], x + link[L_DOF]))
    return sum;
}

// tau -= S . F
template <class J>
DS_FN void subtract_projection(const SV* S, const SV& F, R* tau)
{
    if (J::WORLD) add(tau, -F.v);
    for (int j = J::WORLD; j < J::NV; j++) tau[j] = tau[j] - dot(S[j], F);
}
DS_FN void subtract_joint_projection(const int* link, const SV* S, const SV& F, R* tau)
{
    DS_WITH_JOINT(link, subtract_projection<J>(S + link[L_DOF], F, tau + link[L_DOF]))
}

}  // namespace ds
