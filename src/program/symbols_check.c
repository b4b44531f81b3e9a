/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/symbols_check.h"

#include <string.h>

static uint32_t nr_vtables(const struct plan *plan)
{
    uint32_t nr = 0;
    for (uint32_t i = 0; i < plan->nr_tasks; i++)
        nr += plan->tasks[i].vtable_addr != 0;
    return nr;
}

static bool same_offsets(const struct plan_task *a, const struct plan_task *b)
{
    return a->trailer_offset == b->trailer_offset && a->scheduler_offset == b->scheduler_offset &&
           a->id_offset == b->id_offset;
}

bool symbols_check(const struct plan *program, const char *program_path,
                   const struct plan *symbols, const char *symbols_path, struct error *err)
{
    static const char *const remedy = "rebuild the same commit with the same options and debug = 2";
    uint32_t nr = nr_vtables(program);
    const char *a_id = plan_string(program, program->facts->build_id);
    const char *b_id = plan_string(symbols, symbols->facts->build_id);
    if (symbols->facts->detail != PLAN_DETAIL_FULL)
        return error_set(err, ERROR_INPUT, "%s: has no type layouts either: %s", symbols_path,
                         plan_string(symbols, symbols->facts->detail_reason));
    if (program->facts->machine != symbols->facts->machine)
        return error_set(err, ERROR_INPUT, "%s: is for another machine than %s; %s", symbols_path,
                         program_path, remedy);
    if (*a_id && strcmp(a_id, b_id) == 0)
        return true;
    if (nr != nr_vtables(symbols))
        return error_set(err, ERROR_INPUT,
                         "%s: is not a rebuild of %s: it has %u task types, the program %u; %s",
                         symbols_path, program_path, nr_vtables(symbols), nr, remedy);
    if (!nr)
        return error_set(err, ERROR_INPUT,
                         "%s: cannot be compared with %s: neither has tokio tasks and their build "
                         "ids differ; %s", symbols_path, program_path, remedy);
    for (uint32_t i = 0; i < nr; i++) {
        const struct plan_task *a = &program->tasks[i], *b = &symbols->tasks[i];
        bool code = a->poll_addr - program->tasks[0].poll_addr ==
                    b->poll_addr - symbols->tasks[0].poll_addr;
        if (same_offsets(a, b) && code)
            continue;
        return error_set(err, ERROR_INPUT,
                         "%s: is not a rebuild of %s: task type %u (%.200s) differs in %s; %s",
                         symbols_path, program_path, i + 1, plan_string(symbols, b->future),
                         code ? "size" : "its poll function", remedy);
    }
    return true;
}
