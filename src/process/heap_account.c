/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/heap_account.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "process/foreign_blocks.h"
#include "process/proc.h"

/* A longer stop than this is not made, unless --stop-limit says more; from the second on it is announced. */
#define USUAL_STOP_NS (1000 * UINT64_C(1000000))
#define SHORT_STOP_NS (100 * UINT64_C(1000000))
/* Reading and running drop code, roughly. */
#define NS_A_MIB 2000000

static uint64_t rss_bytes(const struct target *target)
{
    struct text status;
    text_init(&status);
    uint64_t kib = 0;
    if (!target->is_core && proc_read(&status, "/proc/%d/status", (int)target->pid))
        kib = proc_status_number(text_str(&status), "VmRSS");
    text_deinit(&status);
    return kib ? kib << 10 : ~(uint64_t)0;
}

/* How long the target would stand still if there were no child. */
static uint64_t stop_estimate_ns(const struct heap_account *account)
{
    return account->rss_bytes == ~(uint64_t)0 ? 0 : (account->rss_bytes >> 20) * NS_A_MIB;
}

uint64_t heap_stop_limit_ns(const struct heap_options *options)
{
    return options->stop_limit_ns == ~(uint64_t)0 ? USUAL_STOP_NS : options->stop_limit_ns;
}

/* The target stands still until the account is made. */
static bool decide_stop(struct heap_account *account, const struct heap_options *options,
                        const char *why)
{
    uint64_t estimate = stop_estimate_ns(account);
    uint64_t limit = heap_stop_limit_ns(options);
    if (estimate > limit) {
        snprintf(account->reason, sizeof(account->reason),
                 "%s, and a stop of about %llu ms would be longer than %llu ms; --stop-limit %llu "
                 "allows it",
                 why, (unsigned long long)(estimate / 1000000),
                 (unsigned long long)(limit / 1000000), (unsigned long long)(estimate / 500000));
        return false;
    }
    if (options->announce && estimate > SHORT_STOP_NS)
        options->announce(estimate);
    account->how = "a longer stop";
    return true;
}

PRINTF_LIKE(2, 3)
static const char *explain(struct heap_account *account, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(account->why_no_copy, sizeof(account->why_no_copy), format, arguments);
    va_end(arguments);
    return account->why_no_copy;
}

/* NULL: there is a copy; else why not, in words. */
static const char *try_copy(struct heap_account *account, struct target *target,
                            const struct heap_options *options)
{
    struct error err = {0};
    uint64_t fork_ns = target_fork_estimate_ns(target);
    if (fork_ns > options->stop_limit_ns)
        return explain(account, "a copy would stop it for about %llu ms",
                       (unsigned long long)(fork_ns / 1000000));
    if (options->announce && fork_ns > SHORT_STOP_NS)
        options->announce(fork_ns);
    if (!target_fork(target, &err))
        return explain(account, "no copy could be made (%s)", err.message);
    account->is_copied = true;
    account->how = "a copy-on-write child";
    account->fork_ns = target->copy.fork_ns;
    return NULL;
}

void heap_account_begin(struct heap_account *account, struct target *target,
                        const struct heap_options *options)
{
    *account = (struct heap_account){.rss_bytes = rss_bytes(target)};
    if (options->is_off)
        return;
    if (target->is_core) {
        account->how = "the core";
        account->is_there = true;
        return;
    }
    const char *why = try_copy(account, target, options);
    account->is_there = !why || decide_stop(account, options, why);
}

/* Cells that are in no block were made by another allocator than the one that was read, and the rest too. */
static bool has_other_allocator(const struct heap_account *account, const struct task_cells *cells)
{
    size_t nr_outside = 0, nr = 0;
    for (size_t i = 0; i < cells->nr; i++) {
        nr += !cells->rows[i].is_copy;
        nr_outside +=
            !cells->rows[i].is_copy && heap_blocks_find(&account->blocks, cells->rows[i].addr) == 0;
    }
    return nr_outside > nr / 2;
}

static const char unknown_sizes[] =
    "how big its allocator's blocks are is not known, but what was asked for";

/* What is asked for is at most what the allocator gave. */
static void call_sizes_bounds(struct task_drops *drops)
{
    for (size_t i = 0; i < drops->cells->nr; i++)
        if (drops->rows[i].is_exact) {
            drops->rows[i].is_exact = false;
            drops->rows[i].reason = unknown_sizes;
        }
}

static void read_other_allocator(struct heap_account *account, const struct task_futures *futures)
{
    struct heap_blocks *blocks = &account->blocks;
    bool is_usable = foreign_blocks_add(blocks, futures->cells);
    blocks->allocator = HEAP_UNKNOWN;
    blocks->is_of_tasks = true;
    blocks->is_whole = false;
    snprintf(blocks->problem_text, sizeof(blocks->problem_text),
             "the program has an allocator of its own; only blocks that the ends of tasks free are "
             "known, with the sizes that %s",
             is_usable ? "it tells" : "were asked for");
    blocks->problem = blocks->problem_text;
    task_drops_read(&account->drops, futures, blocks);
    if (!is_usable)
        call_sizes_bounds(&account->drops);
}

/* --- of a traced program ----------------------------------------------------------------------- */

/* A task that holds a block of which only the requested size is known. */
static void call_requested_bounds(struct heap_account *account)
{
    const struct task_drops *drops = &account->drops;
    for (size_t i = 0; account->joined.nr_requested && i < drops->cells->nr; i++) {
        struct task_drop *drop = &drops->rows[i];
        for (uint32_t b = 0; drop->is_exact && b < drop->nr_blocks; b++) {
            const struct drop_block *row = &drops->drops[drop->first_block + b];
            if (!traced_heap_is_requested(&account->joined, drops->blocks->rows[row->block].addr))
                continue;
            drop->is_exact = false;
            drop->reason = unknown_sizes;
        }
    }
}

static void describe_table(struct heap_account *account)
{
    struct heap_blocks *blocks = &account->blocks;
    const struct traced_heap *joined = &account->joined;
    char text[sizeof(blocks->problem_text)] = "";
    if (joined->nr_wrong)
        snprintf(text, sizeof(text), "%zu entries of the tracer's table of blocks fit to no block",
                 joined->nr_wrong);
    else if (joined->nr_added && account->traced->lost)
        snprintf(text, sizeof(text), "%llu allocations are not in the tracer's table of blocks",
                 (unsigned long long)account->traced->lost);
    else if (joined->nr_requested)
        snprintf(text, sizeof(text),
                 "of %zu blocks only what was asked for is known, not how big their allocator made "
                 "them",
                 joined->nr_requested);
    if (!*text || blocks->problem)
        return;
    memcpy(blocks->problem_text, text, sizeof(text));
    blocks->problem = blocks->problem_text;
    blocks->is_whole = false;
}

/* Blocks of any allocator are known by the live table. */
static void join_table(struct heap_account *account, const struct target *target,
                       const struct traced_blocks *traced)
{
    struct heap_blocks *blocks = &account->blocks;
    account->traced = traced;
    traced_heap_join(&account->joined, blocks, traced, target);
    if (account->joined.added_bytes > blocks->live_bytes / 2) {
        if (blocks->allocator == HEAP_UNKNOWN) { /* there is no glibc whose heap could be missed */
            blocks->problem = NULL;
            blocks->is_whole = true;
        }
        blocks->allocator = account->joined.allocator;
    }
    if (account->joined.nr_added)
        blocks->retained_bytes = ~(uint64_t)0;
    describe_table(account);
}

void heap_account_read(struct heap_account *account, const struct task_futures *futures,
                       const struct traced_blocks *traced)
{
    const struct target *target = futures->cells->target;
    if (!account->is_there)
        return;
    heap_blocks_read(&account->blocks, target);
    if (traced->is_there)
        join_table(account, target, traced);
    if (has_other_allocator(account, futures->cells)) {
        account->traced = NULL; /* the tracer did not see that allocator */
        read_other_allocator(account, futures);
    } else {
        task_drops_read(&account->drops, futures, &account->blocks);
    }
    call_requested_bounds(account);
    heap_classes_read(&account->classes, target, &account->drops);
}

void heap_account_deinit(struct heap_account *account)
{
    if (!account->is_there)
        return;
    heap_classes_deinit(&account->classes);
    traced_heap_deinit(&account->joined);
    task_drops_deinit(&account->drops);
    heap_blocks_deinit(&account->blocks);
    account->is_there = false;
}
