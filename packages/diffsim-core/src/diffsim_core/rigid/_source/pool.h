// One control step of rigid bodies as a job that the threads of a CPU share.
#pragma once
#include "step.h"
#include "team.h"

namespace ds {

enum { J_INTEGERS = J_OWN, J_REALS, J_SUBSTEPS, J_KEEP, J_DT, J_LIMIT, J_ARRAYS };

#ifndef __CUDACC__
DS_FN void run_block(const long long* job, int b)
{
    const int* mi = (const int*)job[J_INTEGERS];
    const T* mr = (const T*)job[J_REALS];
    const long long* a = job + J_ARRAYS;
    int n = int(job[J_WORLDS]), substeps = int(job[J_SUBSTEPS]), keep = int(job[J_KEEP]);
    T dt = T(real(job, J_DT));
    if (job[J_KIND] == 0)
        control_step(b, mi, mr, n, substeps, keep, dt, T(real(job, J_LIMIT)), (const T*)a[0], (const T*)a[1],
                     (const T*)a[2], (const T*)a[3], (const T*)a[4], (T*)a[5], (T*)a[6], (T*)a[7], (T*)a[8], (int*)a[9],
                     (T*)a[10]);
    else
        control_step_vjp(b, mi, mr, n, substeps, keep, dt, (const T*)a[0], (const T*)a[1], (const int*)a[2],
                         (const T*)a[3], (const T*)a[4], (const T*)a[5], (const T*)a[6], (const T*)a[7], (T*)a[8],
                         (T*)a[9], (T*)a[10], (T*)a[11], (T*)a[12]);
}
#endif

}  // namespace ds
