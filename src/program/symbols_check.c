/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/symbols_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* What two builds of one program have in common about a task type. */
struct task_shape {
    uint32_t trailer_offset, scheduler_offset, id_offset;
    uint32_t poll_bytes;
};

struct task_shapes {
    struct task_shape *rows;
    uint32_t nr;
};

static int shape_order(const void *a, const void *b)
{
    const struct task_shape *x = a, *y = b;
    const uint32_t left[] = {x->trailer_offset, x->scheduler_offset, x->id_offset, x->poll_bytes};
    const uint32_t right[] = {y->trailer_offset, y->scheduler_offset, y->id_offset, y->poll_bytes};
    for (int i = 0; i < 4; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}

/* Of a vtable with several names only the first counts. */
static bool has_vtable(const struct plan_task *task)
{
    return task->vtable_addr && !task->is_other_name;
}

static bool has_code(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_tasks; i++)
        if (has_vtable(&plan->tasks[i]) && !plan->tasks[i].poll_bytes)
            return false;
    return true;
}

/* Sorted, since the linker orders vtables by names that differ between two builds. */
static struct task_shapes shapes_of(const struct plan *plan, bool with_code)
{
    struct task_shapes shapes = {.rows = memory_alloc(plan->nr_tasks * sizeof(*shapes.rows))};
    for (uint32_t i = 0; i < plan->nr_tasks; i++) {
        const struct plan_task *task = &plan->tasks[i];
        if (has_vtable(task))
            shapes.rows[shapes.nr++] =
                (struct task_shape){task->trailer_offset, task->scheduler_offset, task->id_offset,
                                    with_code ? task->poll_bytes : 0};
    }
    if (shapes.nr)
        qsort(shapes.rows, shapes.nr, sizeof(*shapes.rows), shape_order);
    return shapes;
}

static const char remedy[] = "rebuild the same commit with the same options and debug = 2";

static bool compare_shapes(const struct task_shapes *program, const char *program_path,
                           const struct task_shapes *symbols, const char *symbols_path,
                           struct error *err)
{
    if (program->nr != symbols->nr)
        return error_set(err, ERROR_INPUT,
                         "%s: is not a rebuild of %s: it has %u task types, the program %u; %s",
                         symbols_path, program_path, symbols->nr, program->nr, remedy);
    if (!program->nr)
        return error_set(err, ERROR_INPUT,
                         "%s: cannot be compared with %s: neither has tokio tasks and their build "
                         "ids differ; %s",
                         symbols_path, program_path, remedy);
    for (uint32_t i = 0; i < program->nr; i++) {
        const struct task_shape *a = &program->rows[i], *b = &symbols->rows[i];
        if (shape_order(a, b) == 0)
            continue;
        return error_set(err, ERROR_INPUT,
                         "%s: is not a rebuild of %s: the %s of a task type differs (%u and %u "
                         "bytes); %s",
                         symbols_path, program_path,
                         a->trailer_offset != b->trailer_offset ? "size" : "poll function",
                         a->trailer_offset != b->trailer_offset ? b->trailer_offset : b->poll_bytes,
                         a->trailer_offset != b->trailer_offset ? a->trailer_offset : a->poll_bytes,
                         remedy);
    }
    return true;
}

bool symbols_check(const struct plan *program, const char *program_path, const struct plan *symbols,
                   const char *symbols_path, struct error *err)
{
    if (symbols->facts->detail != PLAN_DETAIL_FULL)
        return error_set(err, ERROR_INPUT, "%s: has no type layouts either: %s", symbols_path,
                         plan_string(symbols, symbols->facts->detail_reason));
    if (program->facts->machine != symbols->facts->machine)
        return error_set(err, ERROR_INPUT, "%s: is for another machine than %s; %s", symbols_path,
                         program_path, remedy);
    bool with_code = has_code(program) && has_code(symbols);
    struct task_shapes a = shapes_of(program, with_code), b = shapes_of(symbols, with_code);
    bool ok = compare_shapes(&a, program_path, &b, symbols_path, err);
    free(a.rows);
    free(b.rows);
    return ok;
}
