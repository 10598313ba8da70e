// A step shared by several threads of a CPU. The caller's thread leads, helpers follow: they wait here, in native code, so
// that joining a step costs them neither Python's lock nor a wake-up. A GPU needs none of this.
//
// An engine defines `run_block(const long long* job, int block)` for a CPU.
#pragma once
#include "lanes.h"

namespace ds {

// Positions in the pool, an array of 64-bit integers; the first two on cache lines of their own. From J_OWN on a job holds
// what its engine put there.
enum { P_GATE = 0, P_QUEUE = 8, P_JOB = 16 };
enum { J_KIND, J_BLOCKS, J_WORLDS, J_OWN };
// The gate counts the helpers inside in its low bits; then a bit for open; then the number of the round.
constexpr long long G_OPEN = 1 << 16, G_INSIDE = G_OPEN - 1, G_ROUND = G_OPEN << 1;

#ifndef __CUDACC__
DS_FN void run_block(const long long* job, int block);

DS_FN void relax()
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

DS_FN double real(const long long* job, int i) { return __builtin_bit_cast(double, job[i]); }

// take blocks from the queue until it is empty: a thread whose core is busy elsewhere takes fewer
DS_FN void take_blocks(long long* pool)
{
    const long long* job = pool + P_JOB;
    for (;;) {
        long long b = __atomic_fetch_add(pool + P_QUEUE, 1, __ATOMIC_RELAXED);
        if (b >= job[J_BLOCKS]) return;
        run_block(job, int(b));
    }
}
#endif

// Do the job with whoever comes. The gate is closed and nobody inside, before and after; only then is the job changed.
DS_ENTRY void lead(long long* pool)
{
#ifndef __CUDACC__
    long long gate = __atomic_load_n(pool + P_GATE, __ATOMIC_RELAXED);
    __atomic_store_n(pool + P_QUEUE, 0, __ATOMIC_RELAXED);
    __atomic_store_n(pool + P_GATE, (gate + G_ROUND) | G_OPEN, __ATOMIC_RELEASE);
    take_blocks(pool);
    __atomic_fetch_and(pool + P_GATE, ~G_OPEN, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(pool + P_GATE, __ATOMIC_ACQUIRE) & G_INSIDE) relax();
#endif
}

// Join every round that opens, once, until none has for `patience` turns.
DS_ENTRY void follow(long long* pool, int patience)
{
#ifndef __CUDACC__
    long long last = -1;
    for (int idle = 0; idle < patience; idle++) {
        long long gate = __atomic_load_n(pool + P_GATE, __ATOMIC_ACQUIRE);
        if (!(gate & G_OPEN) || gate / G_ROUND == last) {
            relax();
            continue;
        }
        if (!__atomic_compare_exchange_n(pool + P_GATE, &gate, gate + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
        last = gate / G_ROUND;
        take_blocks(pool);
        __atomic_fetch_sub(pool + P_GATE, 1, __ATOMIC_RELEASE);
        idle = 0;
    }
#endif
}

}  // namespace ds
