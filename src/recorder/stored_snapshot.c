/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * When a snapshot is taken on the way: at each new high-water mark of the live bytes (a tenth above the last, and not so
 * often that stops or our own work would be felt), and when the tracer asks for one before a runtime
 * drops its tasks.  Of each kind the last one is kept.
 */
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "recorder/recorder_part.h"
#include "recorder/snapshotter.h"

enum {
    STOPS_COST = 100, /* all stops together are at most one part in so many of the run */
    WORK_COST = 10,   /* the same of the time that snapshots take beside the program */
    FIRST_BYTES = 1 << 16,
};

static const uint64_t stop_limit_ns = 50000000, last_stop_limit_ns = 5000000000,
                      first_after_ns = 200000000;

static bool ask(struct recorder *recorder, enum run_snapshot_why why, uint64_t limit_ns)
{
    struct traced *traced = recorder->main;
    const struct snapshotter_question asked = {.pid = (uint32_t)traced->pid,
                                               .is_waited_for = why == RUN_SNAPSHOT_SHUTDOWN,
                                               .stop_limit_ns = limit_ns};
    struct helper_question question = {.nr_files = 1, .files = {traced->region.fd}};
    recorder->answered_before = __atomic_load_n(&traced->region.header->answered, __ATOMIC_RELAXED);
    memcpy(question.bytes, &asked, sizeof(asked));
    recorder->snapshotting = traced->generation;
    recorder->snapshot_why = why;
    recorder->snapshot =
        (struct kept_snapshot){-1, traced_now_ns(traced),
                               __atomic_load_n(&traced->view.header->live_bytes, __ATOMIC_RELAXED)};
    return helper_ask(&recorder->snapshotter, &question);
}

static bool has_tasks(const struct traced *traced)
{
    return region_nr_rows(&traced->view, REGION_TYPES) > 2;
}

void stored_snapshot_tick(struct recorder *recorder, uint64_t live_bytes)
{
    const struct traced *traced = recorder->main;
    uint64_t now_ns = recorder_clock_ns();
    if (live_bytes < FIRST_BYTES || live_bytes < recorder->snapshot_peak_bytes / 10 * 11 ||
        traced_now_ns(traced) < first_after_ns || now_ns < recorder->snapshot_free_ns ||
        recorder->snapshotter.is_busy || !has_tasks(traced))
        return;
    if (ask(recorder, RUN_SNAPSHOT_PEAK, stop_limit_ns))
        recorder->snapshot_peak_bytes = live_bytes;
}

/* --- on demand ----------------------------------------------------------------------------------- */

void stored_snapshot_answer(struct region_header *header)
{
    __atomic_store_n(&header->asked, REGION_ASK_NOTHING, __ATOMIC_RELAXED);
    __atomic_add_fetch(&header->answered, 1,
                       __ATOMIC_RELEASE); /* pairs with the tracer's waiting */
    syscall(SYS_futex, &header->answered, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    syscall(SYS_futex, &header->asked, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* A snapshot that is being taken is ended by its own answer, which asks again. */
void stored_snapshot_asked(struct recorder *recorder)
{
    struct traced *traced = recorder->main;
    if (!traced || recorder->snapshotter.is_busy)
        return;
    uint32_t asked = __atomic_load_n(&traced->region.header->asked, __ATOMIC_ACQUIRE);
    if (asked == REGION_ASK_NOTHING)
        return;
    enum run_snapshot_why why =
        asked == REGION_ASK_SNAPSHOT_SHUTDOWN ? RUN_SNAPSHOT_SHUTDOWN : RUN_SNAPSHOT_EXIT;
    recorder->is_answer_due = has_tasks(traced) && ask(recorder, why, last_stop_limit_ns);
    if (!recorder->is_answer_due)
        stored_snapshot_answer(traced->region.header);
}

static void keep(struct recorder *recorder, struct traced *traced,
                 const struct helper_answer *answer)
{
    struct kept_snapshot *kept = &traced->snapshots[recorder->snapshot_why];
    if (kept->file >= 0)
        close(kept->file);
    *kept = recorder->snapshot;
    kept->file = answer->file;
}

static void tell(struct recorder *recorder, const struct traced *traced,
                 const struct helper_answer *answer)
{
    struct error err;
    if (recorder->was_snapshot_told || recorder->has_ended || !traced)
        return;
    recorder->was_snapshot_told = true;
    error_set(&err, ERROR_TARGET, "no snapshot could be taken on the way: %s", answer->message);
    recorder->options->tell(&err);
}

/* Whoever waits for the snapshot in the program goes on, if the snapshotter has not let it go before. */
static void let_go(const struct recorder *recorder, struct region_header *header)
{
    __atomic_store_n(&header->snapshot_goes_on, 0, __ATOMIC_RELEASE);
    syscall(SYS_futex, &header->snapshot_goes_on, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    if (recorder->is_answer_due &&
        __atomic_load_n(&header->answered, __ATOMIC_RELAXED) == recorder->answered_before)
        stored_snapshot_answer(header);
}

void stored_snapshot_take(struct recorder *recorder)
{
    struct helper_answer answer;
    helper_take(&recorder->snapshotter, &answer);
    struct traced *traced = recorder_find(recorder, recorder->snapshotting);
    uint64_t now_ns = recorder_clock_ns(), took_ns = now_ns - recorder->snapshotter.asked_ns;
    if (answer.is_ok && answer.file >= 0 && traced)
        keep(recorder, traced, &answer);
    else if (answer.file >= 0)
        close(answer.file);
    if (!answer.is_ok)
        tell(recorder, traced, &answer);
    if (traced)
        let_go(recorder, traced->region.header);
    recorder->is_answer_due = false;
    recorder->stop_sum_ns += answer.is_ok ? answer.numbers[0] : 0;
    uint64_t by_stops = traced ? traced->region.started_ns + recorder->stop_sum_ns * STOPS_COST : 0;
    uint64_t by_work = now_ns + took_ns * WORK_COST;
    recorder->snapshot_free_ns = by_stops > by_work ? by_stops : by_work;
    stored_snapshot_asked(recorder);
}
