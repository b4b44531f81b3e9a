/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/symbols_adopt.h"

#include <stdlib.h>
#include <string.h>

#include "program/code_match.h"
#include "program/tasks.h"

enum { NR_TASK_SLOTS = 7, MAX_ALIGN = 4096, FIRST_METHOD = 3, MAX_OBJECTS = 1 << 17 };

struct adoption {
    struct plan_builder *rebuild;
    const struct plan *program;
    const struct symbols_files *files;
    struct code_graph program_code, rebuild_code;
    unsigned nr_unknown_tasks;
};

/* Numbers for types, by whatever tells them apart. */
static uint32_t number_of(struct map *types, uint64_t key)
{
    uint32_t *number = map_put(types, key, NULL);
    if (!*number)
        *number = (uint32_t)types->count;
    return *number;
}

/* --- task rows ------------------------------------------------------------------------------- */

/* Of a vtable with several names only the first is looked for. */
static bool has_vtable(const struct plan_task *task)
{
    return task->vtable_addr && !task->is_other_name;
}

/* found[i]: the program's row of the rebuild's row i, position + 1; 0: none. */
static void take_addresses(struct adoption *adoption, const uint32_t *found)
{
    const struct plan *program = adoption->program;
    struct plan_task *rows = (struct plan_task *)adoption->rebuild->tables[PLAN_TASKS].rows;
    const size_t nr = adoption->rebuild->tables[PLAN_TASKS].nr;
    struct map matches; /* the rebuild's vtable -> found */
    map_init(&matches);
    for (size_t i = 0; i < nr; i++)
        if (has_vtable(&rows[i])) {
            *map_put(&matches, rows[i].vtable_addr, NULL) = found[i];
            adoption->nr_unknown_tasks += !found[i];
        }
    for (size_t i = 0; i < nr; i++) {
        const uint32_t *match =
            rows[i].vtable_addr ? map_find(&matches, rows[i].vtable_addr) : NULL;
        const struct plan_task *own = match && *match ? &program->tasks[*match - 1] : NULL;
        rows[i].vtable_addr = own ? own->vtable_addr : 0;
        rows[i].poll_addr = own ? own->poll_addr : 0;
    }
    map_deinit(&matches);
}

/* Rows of the rebuild that no vtable of the program was found for. */
struct left_rows {
    struct plan_task *rows;
    uint32_t nr;
};

static struct left_rows list_left(const struct adoption *adoption, const uint32_t *found)
{
    const struct plan_table *table = &adoption->rebuild->tables[PLAN_TASKS];
    const struct plan_task *rows = (const struct plan_task *)table->rows;
    struct left_rows left = {.rows = memory_alloc((table->nr + 1) * sizeof(*left.rows))};
    for (size_t i = 0; i < table->nr; i++)
        if (has_vtable(&rows[i]) && !found[i] && rows[i].future.v)
            left.rows[left.nr++] = rows[i];
    return left;
}

/* May the two be of one type? */
static bool same_cell(const struct plan_task *a, const struct plan_task *b)
{
    return a->trailer_offset == b->trailer_offset && a->scheduler_offset == b->scheduler_offset &&
           a->id_offset == b->id_offset &&
           (!a->scheduler_kind || !b->scheduler_kind || a->scheduler_kind == b->scheduler_kind);
}

/*
 * A row of the program that was not found in the rebuild: with the name that its own plan has for
 * it, else with those of the rebuild's rows that it may be, the first as its own, the others as
 * its other names.
 */
static void keep_row(struct plan_builder *rebuild, const struct plan *program, uint32_t row,
                     const struct left_rows *left)
{
    enum { MAX_NAMES = 32 };
    struct plan_task task = program->tasks[row];
    task.future = plan_builder_string(rebuild, plan_string(program, task.future));
    task.scheduler = plan_builder_string(rebuild, plan_string(program, task.scheduler));
    task.cell = (plan_type_id){0};
    task.future_id = (plan_future_id){0};
    unsigned nr = 0;
    for (uint32_t i = 0; i < left->nr; i++)
        nr += same_cell(&left->rows[i], &task);
    const struct plan_task kept = task;
    bool is_named = task.future.v || nr == 0 || nr > MAX_NAMES;
    for (uint32_t i = 0; !is_named && i < left->nr; i++) {
        if (!same_cell(&left->rows[i], &kept))
            continue;
        task.is_other_name = task.future.v != 0;
        task.future = left->rows[i].future;
        task.kind = left->rows[i].kind;
        task.name_source = left->rows[i].name_source;
        plan_builder_add(rebuild, PLAN_TASKS, &task);
    }
    if (is_named)
        plan_builder_add(rebuild, PLAN_TASKS, &task);
}

/* Tasks of vtables that were not found again are still tasks. */
static void keep_others(struct adoption *adoption, const uint32_t *found, size_t nr,
                        const struct left_rows *left)
{
    const struct plan *program = adoption->program;
    bool *taken = memory_alloc(program->nr_tasks + 1);
    for (size_t i = 0; i < nr; i++)
        if (found[i])
            taken[found[i] - 1] = true;
    for (uint32_t p = 0; p < program->nr_tasks; p++)
        if (has_vtable(&program->tasks[p]) && !taken[p])
            keep_row(adoption->rebuild, program, p, left);
    free(taken);
}

static void adopt_task_rows(struct adoption *adoption, const uint32_t *found)
{
    const size_t nr = adoption->rebuild->tables[PLAN_TASKS].nr;
    struct left_rows left = list_left(adoption, found);
    take_addresses(adoption, found);
    keep_others(adoption, found, nr, &left);
    free(left.rows);
}

/* --- task vtables by code -------------------------------------------------------------------- */

/* Each task row with a vtable as an item; the others get an empty one of a group of their own. */
static struct match_side task_items(const struct plan_task *rows, size_t nr,
                                    const struct code_graph *code)
{
    struct match_side side = {.graph = code, .nr = nr};
    struct arena scratch;
    struct map by_addr; /* vtable -> position + 1 */
    uint32_t nr_vtables;
    arena_init(&scratch);
    map_init(&by_addr);
    const struct task_vtable *vtables = tokio_find_vtables(code->elf, &scratch, &nr_vtables);
    for (uint32_t i = 0; i < nr_vtables; i++)
        *map_put(&by_addr, vtables[i].addr, NULL) = i + 1;
    side.items = memory_alloc((nr + 1) * sizeof(*side.items));
    for (size_t i = 0; i < nr; i++) {
        const uint32_t *found =
            has_vtable(&rows[i]) ? map_find(&by_addr, rows[i].vtable_addr) : NULL;
        const uint64_t offsets[] = {rows[i].trailer_offset, rows[i].scheduler_offset,
                                    rows[i].id_offset};
        side.items[i].group = hash_bytes(offsets, sizeof(offsets), 0);
        for (int s = 0; found && s < NR_TASK_SLOTS; s++)
            side.items[i].slots[s] = code_graph_start(code, vtables[*found - 1].slots[s]);
    }
    map_deinit(&by_addr);
    arena_deinit(&scratch);
    return side;
}

/* Rows of equal T, S and cell are of one type; one that is not named is of its own. */
static void number_task_types(const struct plan_builder *rebuild, struct match_side *side)
{
    const struct plan_task *tasks = (const struct plan_task *)rebuild->tables[PLAN_TASKS].rows;
    const struct plan_type *types = (const struct plan_type *)rebuild->tables[PLAN_TYPES].rows;
    struct map numbers;
    map_init(&numbers);
    for (size_t i = 0; i < side->nr; i++) {
        const struct plan_task *task = &tasks[i];
        const uint64_t size = task->cell.v ? types[task->cell.v - 1].size_bytes : 0;
        const uint64_t key[] = {task->future.v, task->scheduler.v, size,
                                task->future.v ? 0 : i + 1};
        side->items[i].type = number_of(&numbers, hash_bytes(key, sizeof(key), 0));
    }
    map_deinit(&numbers);
}

static void adopt_tasks_by_code(struct adoption *adoption)
{
    struct plan_builder *rebuild = adoption->rebuild;
    const struct plan *program = adoption->program;
    struct plan_task *rows = (struct plan_task *)rebuild->tables[PLAN_TASKS].rows;
    const size_t nr = rebuild->tables[PLAN_TASKS].nr;
    struct match_side theirs = task_items(rows, nr, &adoption->rebuild_code);
    struct match_side own = task_items(program->tasks, program->nr_tasks, &adoption->program_code);
    number_task_types(rebuild, &theirs);
    code_match(&own, &theirs);
    uint32_t *found = memory_alloc((nr + 1) * sizeof(*found));
    for (size_t i = 0; i < nr; i++)
        found[i] = theirs.items[i].match;
    adopt_task_rows(adoption, found);
    free(found);
    free(own.items);
    free(theirs.items);
}

/* --- task vtables by shape: machines whose code is not read ---------------------------------- */

static bool same_shape(const struct plan_task *a, const struct plan_task *b)
{
    return a->trailer_offset == b->trailer_offset && a->scheduler_offset == b->scheduler_offset &&
           a->id_offset == b->id_offset &&
           (!a->poll_bytes || !b->poll_bytes || a->poll_bytes == b->poll_bytes) &&
           (!a->code_shape || !b->code_shape || a->code_shape == b->code_shape);
}

/* The only row of `rows` that has a vtable and the shape of `task`; NULL for none or several. */
static const struct plan_task *only_of_shape(const struct plan_task *rows, size_t nr,
                                             const struct plan_task *task)
{
    const struct plan_task *found = NULL;
    for (size_t i = 0; i < nr; i++) {
        if (!has_vtable(&rows[i]) || !same_shape(&rows[i], task))
            continue;
        if (found)
            return NULL;
        found = &rows[i];
    }
    return found;
}

static void adopt_tasks_by_shape(struct adoption *adoption)
{
    struct plan_builder *rebuild = adoption->rebuild;
    const struct plan *program = adoption->program;
    const size_t nr = rebuild->tables[PLAN_TASKS].nr;
    const struct plan_task *rows = (const struct plan_task *)rebuild->tables[PLAN_TASKS].rows;
    uint32_t *found = memory_alloc((nr + 1) * sizeof(*found));
    for (size_t i = 0; i < nr; i++) {
        bool alone = has_vtable(&rows[i]) && only_of_shape(rows, nr, &rows[i]) != NULL;
        const struct plan_task *own =
            alone ? only_of_shape(program->tasks, program->nr_tasks, &rows[i]) : NULL;
        found[i] = own ? (uint32_t)(own - program->tasks) + 1 : 0;
    }
    adopt_task_rows(adoption, found);
    free(found);
}

/* --- trait objects --------------------------------------------------------------------------- */

/* The vtables of a file's trait objects, of which debug info need not tell. */
struct objects {
    struct match_side side;
    uint64_t *addrs; /* of each item */
    size_t items_capacity, addrs_capacity;
};

/* {drop or 0, size, align, methods}: one of the functions must be there. */
static bool is_object(const struct code_graph *code, const uint64_t *words, uint64_t nr)
{
    uint64_t size = words[1], align = words[2];
    if (size > UINT32_MAX || !align || align > MAX_ALIGN || align & (align - 1) || size % align)
        return false;
    return words[0] ? code_graph_start(code, words[0]) != 0
                    : nr > FIRST_METHOD && code_graph_start(code, words[FIRST_METHOD]) != 0;
}

static void add_object(struct objects *objects, uint64_t addr, const uint64_t *words, uint64_t nr)
{
    const struct code_graph *code = objects->side.graph;
    struct match_item item = {.group = hash_u64(words[1], hash_u64(words[2], words[0] != 0))};
    item.slots[0] = code_graph_start(code, words[0]);
    for (uint64_t w = FIRST_METHOD; w < nr && w - FIRST_METHOD + 1 < MATCH_MAX_SLOTS; w++) {
        uint32_t function = code_graph_start(code, words[w]);
        bool is_next = nr - w > FIRST_METHOD && is_object(code, words + w, nr - w);
        if (!function || is_next)
            break;
        item.slots[w - FIRST_METHOD + 1] = function;
    }
    objects->side.items = array_reserve(objects->side.items, &objects->items_capacity,
                                        objects->side.nr + 1, sizeof(item));
    objects->addrs = array_reserve(objects->addrs, &objects->addrs_capacity, objects->side.nr + 1,
                                   sizeof(*objects->addrs));
    objects->addrs[objects->side.nr] = addr;
    objects->side.items[objects->side.nr++] = item;
}

static struct objects find_objects(const struct code_graph *code)
{
    struct objects objects = {.side = {.graph = code}};
    for (uint32_t s = 0; s < code->nr_data; s++) {
        const struct elf_words *data = &code->data[s];
        for (uint64_t w = 0; w + FIRST_METHOD <= data->nr_words && objects.side.nr < MAX_OBJECTS;
             w++)
            if (is_object(code, data->words + w, data->nr_words - w))
                add_object(&objects, data->addr + w * 8, data->words + w, data->nr_words - w);
    }
    return objects;
}

/*
 * The types of the rebuild's vtables.  *named: address -> row + 1 of PLAN_VTABLES; 0 where rows of
 * several types share a vtable.
 */
static void number_object_types(const struct plan_builder *rebuild, struct objects *objects,
                                struct map *named)
{
    const struct plan_vtable *rows = (const struct plan_vtable *)rebuild->tables[PLAN_VTABLES].rows;
    struct map numbers;
    map_init(&numbers);
    for (uint32_t i = 0; i < rebuild->tables[PLAN_VTABLES].nr; i++) {
        bool is_new;
        uint32_t *row = map_put(named, rows[i].addr, &is_new);
        if (is_new)
            *row = i + 1;
        else if (*row && (rows[*row - 1].type.v != rows[i].type.v ||
                          (!rows[i].type.v && rows[*row - 1].name.v != rows[i].name.v)))
            *row = 0;
    }
    for (size_t i = 0; i < objects->side.nr; i++) {
        const uint32_t *row = map_find(named, objects->addrs[i]);
        const struct plan_vtable *vtable = row && *row ? &rows[*row - 1] : NULL;
        uint64_t key = !vtable          ? hash_u64(i, 1)
                       : vtable->type.v ? hash_u64(vtable->type.v, 2)
                                        : hash_u64(vtable->name.v, 3);
        objects->side.items[i].type = number_of(&numbers, key);
    }
    map_deinit(&numbers);
}

/* The rows of PLAN_VTABLES become those that were found, with the program's addresses. */
static void adopt_objects(struct adoption *adoption)
{
    struct plan_builder *rebuild = adoption->rebuild;
    const size_t nr = rebuild->tables[PLAN_VTABLES].nr;
    struct objects own = find_objects(&adoption->program_code);
    struct objects theirs = find_objects(&adoption->rebuild_code);
    struct plan_vtable *rows = memory_alloc((nr + 1) * sizeof(*rows));
    struct map named;
    map_init(&named);
    number_object_types(rebuild, &theirs, &named);
    if (nr)
        memcpy(rows, rebuild->tables[PLAN_VTABLES].rows, nr * sizeof(*rows));
    rebuild->tables[PLAN_VTABLES].nr = 0;
    code_match(&own.side, &theirs.side);
    for (size_t i = 0; i < own.side.nr; i++) {
        uint32_t match = own.side.items[i].match;
        const uint32_t *row = match ? map_find(&named, theirs.addrs[match - 1]) : NULL;
        if (!row || !*row)
            continue;
        struct plan_vtable vtable = rows[*row - 1];
        vtable.addr = own.addrs[i];
        plan_builder_add(rebuild, PLAN_VTABLES, &vtable);
    }
    map_deinit(&named);
    free(rows);
    free(own.side.items);
    free(own.addrs);
    free(theirs.side.items);
    free(theirs.addrs);
}

/* --- poll functions -------------------------------------------------------------------------- */

static void adopt_polls(struct adoption *adoption)
{
    struct plan_builder *rebuild = adoption->rebuild;
    struct function_match match;
    function_match_init(&match, &adoption->program_code, &adoption->rebuild_code);
    for (uint32_t i = 1; i <= rebuild->tables[PLAN_FUTURES].nr; i++) {
        struct plan_future *future = plan_builder_row(rebuild, PLAN_FUTURES, i);
        uint32_t row = code_graph_start(&adoption->rebuild_code, future->poll_addr);
        uint32_t found = row ? function_match_find(&match, row - 1) : 0;
        future->poll_addr = found ? adoption->program_code.functions[found - 1].addr : 0;
    }
    function_match_deinit(&match);
}

/* --- all of it ------------------------------------------------------------------------------- */

static void drop_addresses(struct plan_builder *rebuild)
{
    for (uint32_t i = 1; i <= rebuild->tables[PLAN_FUTURES].nr; i++)
        ((struct plan_future *)plan_builder_row(rebuild, PLAN_FUTURES, i))->poll_addr = 0;
    rebuild->tables[PLAN_VTABLES].nr = 0;
}

static void adopt_addresses(struct adoption *adoption)
{
    bool has_program = code_graph_init(&adoption->program_code, adoption->files->program);
    bool has_rebuild =
        has_program && code_graph_init(&adoption->rebuild_code, adoption->files->rebuild);
    if (has_rebuild) {
        adopt_tasks_by_code(adoption);
        adopt_objects(adoption);
        adopt_polls(adoption);
        code_graph_deinit(&adoption->rebuild_code);
    } else {
        adopt_tasks_by_shape(adoption);
        drop_addresses(adoption->rebuild);
    }
    if (has_program)
        code_graph_deinit(&adoption->program_code);
    if (adoption->nr_unknown_tasks)
        plan_builder_note(adoption->rebuild, "the addresses of %u of %u task kinds are unknown: %s",
                          adoption->nr_unknown_tasks, adoption->program->nr_tasks,
                          has_rebuild ? "their code is that of others, or differs between the "
                                        "program and the rebuild"
                                      : "others of the program have the same shape");
}

static void adopt_facts(struct plan_builder *rebuild, const struct plan *program, const char *path)
{
    for (uint32_t i = 1; i <= rebuild->tables[PLAN_SOURCES].nr; i++) {
        plan_str role = plan_builder_string(rebuild, i == 1 ? "rebuild" : "rebuild's file");
        ((struct plan_source *)plan_builder_row(rebuild, PLAN_SOURCES, i))->role = role;
    }
    plan_builder_source(rebuild, path, "program");
    rebuild->facts.build_id =
        plan_builder_string(rebuild, plan_string(program, program->facts->build_id));
}

void symbols_adopt(struct plan_builder *rebuild, const struct plan *program,
                   const struct symbols_files *files)
{
    struct adoption adoption = {.rebuild = rebuild, .program = program, .files = files};
    adopt_addresses(&adoption);
    adopt_facts(rebuild, program, files->program->path);
}
