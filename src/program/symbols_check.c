/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/symbols_check.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"
#include "program/demangle.h"
#include "program/elf_file.h"

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

/* --- adopting -------------------------------------------------------------------------------- */

static bool same_cell(const struct plan_task *a, const struct plan_task *b)
{
    return a->trailer_offset == b->trailer_offset && a->scheduler_offset == b->scheduler_offset &&
           a->id_offset == b->id_offset;
}

static bool same_shape(const struct plan_task *a, const struct plan_task *b)
{
    return same_cell(a, b) &&
           (!a->poll_bytes || !b->poll_bytes || a->poll_bytes == b->poll_bytes) &&
           (!a->code_shape || !b->code_shape || a->code_shape == b->code_shape);
}

/* Which row of the program is which of the rebuild. */
struct adoption {
    const struct plan_builder *rebuild;
    const struct plan *program;
    const struct plan_task *rows; /* the rebuild's, as they were */
    uint32_t nr;
    uint32_t *found; /* by row of the rebuild: position + 1 in the program's tasks */
    bool *taken;     /* by row of the program */
};

/* What debug info and both manglings have in common of a name: no numbers of closures. */
static void append_plain(const char *name, struct text *out)
{
    static const char *const closures[] = {"{async_fn_env#",      "{async_block_env#",
                                           "{async_closure_env#", "{closure_env#",
                                           "{closure#",           "{{closure}"};
    static const char allocator[] = ", alloc::alloc::Global";
    while (*name) {
        size_t known = 0;
        while (known < sizeof(closures) / sizeof(*closures) &&
               !str_starts_with(name, closures[known]))
            known++;
        if (known < sizeof(closures) / sizeof(*closures)) {
            const char *end = strchr(name + strlen(closures[known]), '}');
            text_append_str(out, "{closure}");
            name = end ? end + 1 : name + strlen(name);
        } else if (str_starts_with(name, allocator)) {
            name += sizeof(allocator) - 1;
        } else {
            text_append(out, name++, 1);
        }
    }
}

static bool same_name(const char *a, const char *b)
{
    struct text x, y;
    text_init(&x);
    text_init(&y);
    append_plain(a, &x);
    append_plain(b, &y);
    bool same = *a && *b && strcmp(text_str(&x), text_str(&y)) == 0;
    text_deinit(&x);
    text_deinit(&y);
    return same;
}

/* By code, or by name: the compiler may share other functions in a build with debug info. */
static bool fits(const struct adoption *adoption, uint32_t own, uint32_t other, bool by_name)
{
    const struct plan_task *a = &adoption->rows[own], *b = &adoption->program->tasks[other];
    if (!has_vtable(a) || !has_vtable(b) || adoption->found[own] || adoption->taken[other])
        return false;
    if (a->scheduler_kind && b->scheduler_kind && a->scheduler_kind != b->scheduler_kind)
        return false;
    return by_name ? same_cell(a, b) && same_name(plan_builder_text(adoption->rebuild, a->future),
                                                  plan_string(adoption->program, b->future))
                   : same_shape(a, b);
}

/* Position + 1 of the only row of the program that is left for this one; 0: none or several. */
static uint32_t only_one(const struct adoption *adoption, uint32_t own, bool by_name)
{
    uint32_t found = 0;
    for (uint32_t p = 0; p < adoption->program->nr_tasks; p++) {
        if (!fits(adoption, own, p, by_name))
            continue;
        if (found)
            return 0;
        found = p + 1;
    }
    for (uint32_t i = 0; found && i < adoption->nr; i++)
        if (i != own && fits(adoption, i, found - 1, by_name))
            return 0;
    return found;
}

static bool find_pairs(struct adoption *adoption, bool by_name)
{
    bool any = false;
    for (uint32_t i = 0; i < adoption->nr; i++) {
        uint32_t found = adoption->found[i] ? 0 : only_one(adoption, i, by_name);
        if (!found)
            continue;
        adoption->found[i] = found;
        adoption->taken[found - 1] = any = true;
    }
    return any;
}

/* A row of the program, and as its names those of the rebuild's that it may be. */
static void keep_row(const struct adoption *adoption, uint32_t row, struct plan_builder *rebuild)
{
    const struct plan *program = adoption->program;
    struct plan_task task = program->tasks[row];
    task.future = plan_builder_string(rebuild, plan_string(program, task.future));
    task.scheduler = plan_builder_string(rebuild, plan_string(program, task.scheduler));
    task.cell = (plan_type_id){0};
    task.future_id = (plan_future_id){0};
    bool is_named = task.future.v;
    for (uint32_t i = 0; !is_named && i < adoption->nr; i++) {
        if (!fits(adoption, i, row, false))
            continue;
        task.is_other_name = task.future.v != 0;
        task.future = adoption->rows[i].future;
        task.kind = adoption->rows[i].kind;
        task.name_source = adoption->rows[i].name_source;
        plan_builder_add(rebuild, PLAN_TASKS, &task);
    }
    if (is_named || !task.future.v)
        plan_builder_add(rebuild, PLAN_TASKS, &task);
}

/* Of what has no counterpart the program's own rows say as much as is known. */
static unsigned keep_others(const struct adoption *adoption, struct plan_builder *rebuild)
{
    unsigned nr = 0;
    for (uint32_t p = 0; p < adoption->program->nr_tasks; p++) {
        if (!has_vtable(&adoption->program->tasks[p]) || adoption->taken[p])
            continue;
        keep_row(adoption, p, rebuild);
        nr++;
    }
    return nr;
}

static void adopt_tasks(struct plan_builder *rebuild, const struct plan *program)
{
    const uint32_t nr = (uint32_t)rebuild->tables[PLAN_TASKS].nr;
    struct plan_task *rows = memory_alloc((nr + 1) * sizeof(*rows));
    if (nr)
        memcpy(rows, rebuild->tables[PLAN_TASKS].rows, nr * sizeof(*rows));
    struct adoption adoption = {
        .rebuild = rebuild,
        .program = program,
        .rows = rows,
        .nr = nr,
        .found = memory_alloc((nr + 1) * sizeof(*adoption.found)),
        .taken = memory_alloc(program->nr_tasks + 1),
    };
    while (find_pairs(&adoption, false) || find_pairs(&adoption, true))
        continue;
    for (uint32_t i = 0; i < nr; i++)
        for (uint32_t first = 0; rows[i].is_other_name && first < nr; first++)
            if (!rows[first].is_other_name && rows[first].vtable_addr == rows[i].vtable_addr)
                adoption.found[i] = adoption.found[first];
    for (uint32_t i = 0; i < nr; i++) {
        struct plan_task *task = plan_builder_row(rebuild, PLAN_TASKS, i + 1);
        const struct plan_task *found =
            adoption.found[i] ? &program->tasks[adoption.found[i] - 1] : NULL;
        task->vtable_addr = found ? found->vtable_addr : 0;
        task->poll_addr = found ? found->poll_addr : 0;
    }
    unsigned unknown = keep_others(&adoption, rebuild);
    free(rows);
    free(adoption.found);
    free(adoption.taken);
    if (unknown)
        plan_builder_note(rebuild,
                          "%u task kinds of the program cannot be told from others of the same "
                          "shape: their layouts are unknown",
                          unknown);
}

/* --- poll functions -------------------------------------------------------------------------- */

/* The program's functions by name: hash -> position + 1; of two with one name none. */
static void map_functions(const struct elf_file *elf, struct map *functions)
{
    const uint32_t several = UINT32_MAX;
    struct text name;
    text_init(&name);
    for (uint32_t i = 0; i < elf->nr_symbols; i++) {
        text_clear(&name);
        if (elf->symbols[i].type != STT_FUNC || !demangle_rust(elf->symbols[i].name, &name))
            continue;
        bool is_new;
        uint32_t *known = map_put(functions, hash_str(text_str(&name), 0), &is_new);
        *known = is_new ? i + 1 : several;
    }
    text_deinit(&name);
}

/* Through them the futures behind trait objects are known, whose vtables have no names. */
static void adopt_polls(struct plan_builder *rebuild, const char *path)
{
    struct elf_file elf;
    struct map functions, wanted;
    bool is_open = elf_file_open(&elf, path, NULL);
    map_init(&functions);
    map_init(&wanted);
    if (is_open) {
        elf_file_symbols(&elf);
        map_functions(&elf, &functions);
    }
    const uint32_t nr = (uint32_t)rebuild->tables[PLAN_FUTURES].nr;
    for (uint32_t i = 1; i <= nr; i++) {
        const struct plan_future *future = plan_builder_row(rebuild, PLAN_FUTURES, i);
        ++*map_put(&wanted, future->symbol.v, NULL);
    }
    for (uint32_t i = 1; i <= nr; i++) {
        struct plan_future *future = plan_builder_row(rebuild, PLAN_FUTURES, i);
        const char *symbol = plan_builder_text(rebuild, future->symbol);
        const uint32_t *found = *symbol && *map_find(&wanted, future->symbol.v) == 1
                                    ? map_find(&functions, hash_str(symbol, 0))
                                    : NULL;
        future->poll_addr = found && *found <= elf.nr_symbols ? elf.symbols[*found - 1].addr : 0;
    }
    map_deinit(&functions);
    map_deinit(&wanted);
    if (is_open)
        elf_file_close(&elf);
}

void symbols_adopt(struct plan_builder *rebuild, const struct plan *program, const char *path)
{
    adopt_tasks(rebuild, program);
    adopt_polls(rebuild, path);
    rebuild->tables[PLAN_VTABLES].nr = 0;
    for (uint32_t i = 1; i <= rebuild->tables[PLAN_SOURCES].nr; i++) {
        plan_str role = plan_builder_string(rebuild, i == 1 ? "rebuild" : "rebuild's file");
        ((struct plan_source *)plan_builder_row(rebuild, PLAN_SOURCES, i))->role = role;
    }
    plan_builder_source(rebuild, path, "program");
    rebuild->facts.build_id =
        plan_builder_string(rebuild, plan_string(program, program->facts->build_id));
}
