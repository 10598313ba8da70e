// A step of traffic as a job that the threads of a CPU share.
#pragma once
#include "step.h"
#include "team.h"

namespace ds {

enum { J_INTEGERS = J_OWN, J_REALS, J_ARRAYS };

#ifndef __CUDACC__
DS_FN void run_block(const long long* job, int b)
{
    const int* mi = (const int*)job[J_INTEGERS];
    const T* mr = (const T*)job[J_REALS];
    const long long* a = job + J_ARRAYS;
    int n = int(job[J_WORLDS]);
    const T *x = (const T*)a[0], *v = (const T*)a[1], *y = (const T*)a[2], *psi = (const T*)a[3], *p = (const T*)a[4],
            *steering = (const T*)a[5], *acc = (const T*)a[6];
    if (job[J_KIND] == 0)
        traffic_step(b, mi, mr, n, x, v, y, psi, p, steering, acc, (T*)a[7], (T*)a[8], (T*)a[9], (T*)a[10], (T*)a[11],
                     (int*)a[12]);
    else
        traffic_step_vjp(b, mi, mr, n, x, v, y, psi, p, steering, acc, (const int*)a[7], (const T*)a[8], (const T*)a[9],
                         (const T*)a[10], (const T*)a[11], (const T*)a[12], (T*)a[13], (T*)a[14], (T*)a[15], (T*)a[16],
                         (T*)a[17], (T*)a[18], (T*)a[19]);
}
#endif

}  // namespace ds
