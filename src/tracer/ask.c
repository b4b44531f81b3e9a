/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Waiting for the recorder (tracer/ask.h) in short steps: it may be killed meanwhile.  It is gone when its
 * process is, or when its clock stands still.
 */
#include "tracer/ask.h"

#include <errno.h>

#include "tracer/syscalls.h"

enum { STEP_MS = 50, STILL_STEPS = 40 };

struct patience {
    const struct region_header *region;
    uint64_t clock;
    unsigned waited_ms, limit_ms, still;
};

/* Waits a step while `word` is `seen`.  False: the time is up, or the recorder is gone. */
static bool wait_step(struct patience *patience, const uint32_t *word, uint32_t seen)
{
    const struct region_header *region = patience->region;
    uint64_t now = __atomic_load_n(&region->now_ns, __ATOMIC_RELAXED);
    patience->still = now == patience->clock ? patience->still + 1 : 0;
    patience->clock = now;
    if (patience->waited_ms > patience->limit_ms || patience->still > STILL_STEPS ||
        sys_call(SYS_kill, region->recorder_pid, 0, 0) == -ESRCH)
        return false;
    patience->waited_ms += STEP_MS;
    sys_futex_wait(word, seen, STEP_MS);
    return true;
}

bool ask_wait(const struct region_header *region, const uint32_t *word, uint32_t until,
              unsigned wait_ms)
{
    struct patience patience = {.region = region, .limit_ms = wait_ms};
    uint32_t seen;
    while (seen = __atomic_load_n(word, __ATOMIC_ACQUIRE), /* pairs with the recorder's answer */
           (int32_t)(seen - until) < 0)
        if (!wait_step(&patience, word, seen))
            return false;
    return true;
}

void ask_zero_wait(const struct region_header *region, const uint32_t *word)
{
    struct patience patience = {.region = region, .limit_ms = REGION_SNAPSHOT_WAIT_MS};
    uint32_t seen;
    while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != 0 &&
           wait_step(&patience, word, seen))
        ;
}

bool ask_recorder(struct tracer *tracer, enum region_question question)
{
    struct region_header *region = tracer->region;
    uint32_t nothing = REGION_ASK_NOTHING;
    uint32_t answered = __atomic_load_n(&region->answered, __ATOMIC_ACQUIRE);
    if (!__atomic_compare_exchange_n(&region->asked, &nothing, question, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return false;
    sys_futex_wake(&region->asked);
    bool is_answered = ask_wait(region, &region->answered, answered + 1, REGION_SNAPSHOT_WAIT_MS);
    __atomic_store_n(&region->asked, REGION_ASK_NOTHING, __ATOMIC_RELEASE);
    sys_futex_wake(&region->asked);
    return is_answered;
}
