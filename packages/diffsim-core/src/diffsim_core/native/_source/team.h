// Threads of a CPU that share the launches of a step. The caller's thread leads, helpers follow: they wait here, in native
// code, so that joining a step costs them neither Python's lock nor a wake-up. A GPU needs none of this.
//
// `work` is generated from the functions that the engine lists in Python, see native/_module.py.
#pragma once
#include "lanes.h"

namespace ds {

// Positions in the pool, an array of 64-bit integers; gate and queue on cache lines of their own.
enum { P_GATE = 0, P_QUEUE = 8, P_JOINED, P_JOB = 16, P_JOBS, P_TABLE };
// The gate counts the helpers inside in its low bits; then a bit for open; then the number of the round.
constexpr long long G_OPEN = 1 << 16, G_INSIDE = G_OPEN - 1, G_ROUND = G_OPEN << 1;

// One launch: which function, for how many items, and the address of its arguments. The pool has the address of a table.
struct Job {
    long long function, items, args;
};

// Take items from the queue until it is empty, as worker number `worker`.
DS_FN void work(long long* pool, const Job& job, int worker);

DS_FN void relax()
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// one item after the other: a thread whose core is busy elsewhere takes fewer
template <class Args> DS_FN void take_items(long long* pool, const Job& job, const Args& args, void (*function)(int, const Args&))
{
    for (;;) {
        long long item = __atomic_fetch_add(pool + P_QUEUE, 1, __ATOMIC_RELAXED);
        if (item >= job.items) return;
        function(int(item), args);
    }
}

DS_FN void work_on_current(long long* pool, int worker) { work(pool, ((const Job*)pool[P_TABLE])[pool[P_JOB]], worker); }

// Do all jobs in their order, each in a round of its own and with whoever comes. The gate is closed and nobody inside,
// before and after a round; only then is the job changed. So a job sees all that the ones before it wrote.
DS_ENTRY void lead(long long* pool)
{
    for (long long job = 0; job < pool[P_JOBS]; job++) {
        pool[P_JOB] = job;
        long long gate = __atomic_load_n(pool + P_GATE, __ATOMIC_RELAXED);
        __atomic_store_n(pool + P_QUEUE, 0, __ATOMIC_RELAXED);
        __atomic_store_n(pool + P_JOINED, 0, __ATOMIC_RELAXED);
        __atomic_store_n(pool + P_GATE, (gate + G_ROUND) | G_OPEN, __ATOMIC_RELEASE);
        work_on_current(pool, 0);
        __atomic_fetch_and(pool + P_GATE, ~G_OPEN, __ATOMIC_ACQ_REL);
        while (__atomic_load_n(pool + P_GATE, __ATOMIC_ACQUIRE) & G_INSIDE) relax();
    }
}

// Join every round that opens, once, until none has for `patience` turns.
DS_ENTRY void follow(long long* pool, int patience)
{
    long long last = -1;
    for (int idle = 0; idle < patience; idle++) {
        long long gate = __atomic_load_n(pool + P_GATE, __ATOMIC_ACQUIRE);
        if (!(gate & G_OPEN) || gate / G_ROUND == last) {
            relax();
            continue;
        }
        if (!__atomic_compare_exchange_n(pool + P_GATE, &gate, gate + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
        last = gate / G_ROUND;
        // a helper joins a round once, so no two workers of a round have the same number
        work_on_current(pool, int(__atomic_add_fetch(pool + P_JOINED, 1, __ATOMIC_RELAXED)));
        __atomic_fetch_sub(pool + P_GATE, 1, __ATOMIC_RELEASE);
        idle = 0;
    }
}

}  // namespace ds
