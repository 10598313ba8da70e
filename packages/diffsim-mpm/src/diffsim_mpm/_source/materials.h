// Dispatch by the number of a material, over the list DS_MATERIALS: X(number, struct, parameters, ...) for each of them.
// An engine includes the materials' headers before this one.
#pragma once
#include "material.h"

namespace ds {

#define CHECK(number, Material, params, ...) static_assert(int(Material::PARAMS) == params, "PARAMS is not as Python names them");
DS_MATERIALS(CHECK)
#undef CHECK

template <class P> DS_FN void material_stress(int material, const P* p, const M3& C, M3& F, R& h, M3& tau)
{
    switch (material) {
#define CASE(number, Material, ...) \
    case number: return Material::stress(p, C, F, h, tau);
        DS_MATERIALS(CASE)
#undef CASE
    }
}

template <class P>
DS_FN void material_stress_vjp(int material, const P* p, const M3& C, const M3& F, R h, const M3& gF_out, R gh_out, const M3& gtau,
                               M3& gC, M3& gF, R& gh, R* gp)
{
    switch (material) {
#define CASE(number, Material, ...) \
    case number: return Material::stress_vjp(p, C, F, h, gF_out, gh_out, gtau, gC, gF, gh, gp);
        DS_MATERIALS(CASE)
#undef CASE
    }
}

}  // namespace ds
