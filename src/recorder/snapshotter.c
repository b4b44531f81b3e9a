/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/snapshotter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/run_symbols.h"
#include "model/snapshot_file.h"
#include "model/snapshot_take.h"
#include "recorder/memory_file.h"
#include "recorder/recorder_part.h"

static bool load_plan(void *context, struct loaded_plan *plan, const struct target_image *image,
                      struct error *err)
{
    (void)context;
    const struct plan_request request = {
        .path = image->path, .level = PLAN_LEVEL_MEMORY, .use_cache = true};
    return plan_load(plan, &request, err);
}

static int keep(const struct snapshot *snapshot, struct error *err)
{
    struct text bytes = {0};
    snapshot_file_pack(snapshot, &bytes);
    int fd = memory_file_make("snapshot", bytes.data, bytes.length);
    if (fd < 0)
        error_set(err, ERROR_TARGET, "no memory to keep it: %s", strerror(errno));
    text_deinit(&bytes);
    return fd;
}

/* --- while a copy is read -------------------------------------------------------------------------- */

struct waiting {
    struct region_header *header; /* NULL: could not be mapped */
    bool is_program;              /* waits */
};

/* The program goes on, but must not end before its copy was read: the copy would end with it. */
static void program_goes_on(void *context)
{
    const struct waiting *waiting = context;
    if (!waiting->header)
        return;
    __atomic_store_n(&waiting->header->snapshot_goes_on, 1, __ATOMIC_RELEASE);
    if (waiting->is_program)
        stored_snapshot_answer(waiting->header);
}

struct take_context {
    struct waiting waiting;
    struct run_symbols *symbols;
};

static struct region_header *map_header(int fd)
{
    void *header =
        mmap(NULL, sizeof(struct region_header), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return header == MAP_FAILED ? NULL : header;
}

static bool take(const struct snapshotter_question *asked, struct helper_answer *answer,
                 struct take_context *context, struct error *err)
{
    struct target target;
    struct snapshot snapshot;
    const struct snapshot_request request = {
        .load_plan = load_plan,
        .heap = {.stop_limit_ns = asked->stop_limit_ns,
                 .copied = program_goes_on,
                 .context = &context->waiting},
        .symbols = context->symbols,
    };
    if (!target_open(&target, (pid_t)asked->pid, err))
        return false;
    snapshot_init(&snapshot);
    bool ok = snapshot_take(&snapshot, &target, &request, err);
    target_close(&target);
    if (ok) {
        answer->numbers[0] = snapshot_facts(&snapshot)->stop_ns;
        answer->file = keep(&snapshot, err);
    }
    snapshot_deinit(&snapshot);
    return ok && answer->file >= 0;
}

void snapshotter_answer(const struct helper_question *question, struct helper_answer *answer,
                        void **state)
{
    if (!*state) /* names that were looked up serve for all snapshots of the run */
        *state = run_symbols_new();
    struct error err = {0};
    struct snapshotter_question asked;
    memcpy(&asked, question->bytes, sizeof(asked));
    struct take_context context = {{map_header(question->files[0]), asked.is_waited_for}, *state};
    answer->is_ok = take(&asked, answer, &context, &err);
    if (context.waiting.header)
        munmap(context.waiting.header, sizeof(struct region_header));
    snprintf(answer->message, sizeof(answer->message), "%.500s", err.message);
}
