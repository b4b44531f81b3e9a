/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * tokio 1.23 and later.  A task's vtable (tokio/src/runtime/task/raw.rs) is a constant of ten
 * words: poll, schedule, dealloc, try_read_output, drop_join_handle_slow, drop_abort_handle,
 * shutdown, then the offsets of trailer, scheduler and task id in the cell.  It has no symbol; it
 * is found by that shape (seven addresses of code, three small offsets, the trailer's the largest), which holds for
 * stripped files too, and named by what is known of its functions.
 */
#include <dwarf.h>
#include <stdlib.h>

#include "program/demangle.h"
#include "program/tasks.h"

enum {
    NR_FUNCTIONS = NR_TASK_FUNCTIONS,
    NR_WORDS = 10,
    SLOT_POLL = 0,
    SLOT_SCHEDULE = 1,
    MIN_CORE_OFFSET = 24, /* behind the header */
    MAX_CORE_OFFSET = 512,
    MAX_ID_DISTANCE = 256,
};

static bool is_vtable(const struct elf_file *elf, const uint64_t *words)
{
    uint64_t trailer = words[7], scheduler = words[8], id = words[9];
    uint64_t first = id < scheduler ? id : scheduler; /* tokio's order: the scheduler */
    uint64_t second = id < scheduler ? scheduler : id;
    if (trailer >= UINT32_MAX || first < MIN_CORE_OFFSET || first > MAX_CORE_OFFSET ||
        second > first + MAX_ID_DISTANCE || trailer <= second || (trailer | scheduler | id) % 8)
        return false;
    for (int i = 0; i < NR_FUNCTIONS; i++)
        if (!elf_addr_is_code(elf, words[i]))
            return false;
    /* The functions of a trait, then drop, size and alignment of the next vtable look the same. */
    return scheduler <= id || !elf_addr_is_code(elf, trailer);
}

static int vtable_order(const void *a, const void *b)
{
    const struct task_vtable *x = a, *y = b;
    return x->addr < y->addr ? -1 : x->addr > y->addr;
}

struct task_vtable *tokio_find_vtables(const struct elf_file *elf, struct arena *arena,
                                       uint32_t *nr)
{
    uint32_t nr_sections;
    struct elf_words *data = elf_data_words(elf, arena, &nr_sections);
    struct task_vtable *rows = NULL;
    size_t capacity = 0;
    *nr = 0;
    for (uint32_t s = 0; s < nr_sections; s++)
        for (uint64_t w = 0; w + NR_WORDS <= data[s].nr_words; w++) {
            const uint64_t *words = &data[s].words[w];
            if (!is_vtable(elf, words))
                continue;
            struct task_vtable vtable = {
                .addr = data[s].addr + w * 8,
                .poll_addr = words[SLOT_POLL],
                .trailer_offset = (uint32_t)words[7],
                .scheduler_offset = (uint32_t)words[8],
                .id_offset = (uint32_t)words[9],
            };
            memcpy(vtable.slots, words, sizeof(vtable.slots));
            rows = array_reserve(rows, &capacity, *nr + 1, sizeof(*rows));
            rows[(*nr)++] = vtable;
        }
    if (*nr)
        qsort(rows, *nr, sizeof(*rows), vtable_order);
    struct task_vtable *kept = arena_alloc(arena, (*nr + 1) * sizeof(*kept));
    if (*nr)
        memcpy(kept, rows, *nr * sizeof(*kept));
    free(rows);
    return kept;
}

/* --- names of T and S ------------------------------------------------------------------------ */

/* "tokio::runtime::task::raw::poll::<T, S>" of a v0 symbol. */
static bool names_from_poll_symbol(const char *mangled, struct text *future, struct text *scheduler)
{
    static const char prefix[] = "tokio::runtime::task::raw::poll::<";
    struct text name;
    text_init(&name);
    bool ok = demangle_rust(mangled, &name) && str_starts_with(text_str(&name), prefix) &&
              task_split_arguments(text_str(&name) + sizeof(prefix) - 1, future, scheduler);
    text_deinit(&name);
    return ok;
}

/* drop_in_place<tokio::runtime::task::core::Cell<T, S>>, also inside a Box, in either mangling. */
static bool names_from_drop_glue(const char *mangled, struct text *future, struct text *scheduler)
{
    static const char cell[] = "tokio::runtime::task::core::Cell<";
    if (!strstr(mangled, "drop_in_place") && !strstr(mangled, "drop_glue"))
        return false;
    struct text name;
    text_init(&name);
    bool ok = demangle_rust(mangled, &name);
    const char *at = ok ? strstr(text_str(&name), cell) : NULL;
    if (!at && ok) {
        at = strstr(text_str(&name), "tokio::runtime::task::core::Cell::<");
        at = at ? at + 2 : NULL;
    }
    ok = at && task_split_arguments(at + sizeof(cell) - 1, future, scheduler);
    text_deinit(&name);
    return ok;
}

/* --- following calls, x86-64 only ------------------------------------------------------------ */

/*
 * Looks for a call or jump from the function at `addr` to drop glue that names T and S, through
 * one function in between.  Every byte is tried as an opcode: a target counts only when it is the
 * exact start of a symbol that names a cell, which a stray byte does not hit by chance.
 */
static bool names_from_calls(const struct elf_file *program, const struct elf_file *symbols,
                             uint64_t addr, int depth, struct text *future, struct text *scheduler)
{
    struct task_calls calls;
    if (!task_calls_begin(&calls, program, symbols, addr))
        return false;
    for (const struct elf_symbol *symbol; (symbol = task_calls_next(&calls));) {
        if (names_from_drop_glue(symbol->name, future, scheduler))
            return true;
        if (depth > 0 && strstr(symbol->name, "7harness") &&
            names_from_calls(program, symbols, symbol->addr, depth - 1, future, scheduler))
            return true;
    }
    return false;
}

/* --- rows ------------------------------------------------------------------------------------ */

struct naming {
    struct layout *layout;
    const struct coroutines *coroutines;
    const struct elf_file *program, *symbols;
    struct map polls;    /* address -> row + 1 of index->task_polls */
    struct map cells;    /* hash of "T, S" -> row + 1 of the first of index->task_cells */
    uint32_t *next_cell; /* row + 1 of the next one of the same names; 0: none */
};

static void map_index(struct naming *naming)
{
    const struct program_index *index = naming->layout->index;
    for (size_t i = 0; i < index->task_polls.nr; i++)
        *map_put(&naming->polls, index->task_polls.rows[i].addr, NULL) = (uint32_t)i + 1;
    naming->next_cell = memory_alloc((index->task_cells.nr + 1) * sizeof(*naming->next_cell));
    for (uint32_t i = (uint32_t)index->task_cells.nr; i-- > 0;) {
        const char *names = index->task_cells.rows[i].name + strlen("Cell<");
        uint32_t *first = map_put(&naming->cells, hash_str(names, 0), NULL);
        naming->next_cell[i] = *first;
        *first = i + 1;
    }
}

/* Does the cell's trailer lie where the vtable says?  Two crates may have a T of one name. */
static bool cell_fits(const struct plan_builder *builder, plan_type_id cell,
                      const struct plan_task *task)
{
    const struct plan_type *types = (const struct plan_type *)builder->tables[PLAN_TYPES].rows;
    const struct plan_member *members =
        (const struct plan_member *)builder->tables[PLAN_MEMBERS].rows;
    const struct plan_type *type = cell.v ? &types[cell.v - 1] : NULL;
    for (uint32_t m = 0; type && m < type->nr_members; m++) {
        const struct plan_member *member = &members[type->first_member - 1 + m];
        if (strcmp(plan_builder_text(builder, member->name), "trailer") == 0)
            return member->offset_bytes == task->trailer_offset;
    }
    return false;
}

/* Copies of one cell in many units are equal: a few tries are enough. */
static plan_type_id find_cell(struct naming *naming, const char *arguments,
                              const struct plan_task *task)
{
    const struct index_items *cells = &naming->layout->index->task_cells;
    const uint32_t *row = map_find(&naming->cells, hash_str(arguments, 0));
    for (uint32_t at = row ? *row : 0, tries = 64; at && tries--; at = naming->next_cell[at - 1]) {
        plan_type_id cell = layout_compile(naming->layout, cells->rows[at - 1].die);
        if (cell_fits(naming->layout->builder, cell, task))
            return cell;
    }
    return (plan_type_id){0};
}

/* The future behind template parameter T of a poll function's DIE. */
static plan_future_id future_of(const struct naming *naming, die_ref poll)
{
    struct dwarf_die die, parameter;
    if (!naming->coroutines || !dwarf_die_at(naming->layout->dwarf, poll, &die))
        return (plan_future_id){0};
    for (bool more = dwarf_child(&die, &parameter); more;
         more = dwarf_sibling(&parameter, &parameter)) {
        const char *name = dwarf_attr_string(&parameter, DW_AT_name);
        if (dwarf_tag(&parameter) != DW_TAG_template_type_parameter || !name || name[0] != 'T')
            continue;
        const uint32_t *row =
            map_find(&naming->coroutines->by_die, dwarf_attr_ref(&parameter, DW_AT_type));
        return (plan_future_id){row ? *row : 0};
    }
    return (plan_future_id){0};
}

static bool name_from_dwarf(struct naming *naming, uint64_t poll_addr, struct plan_task *task,
                            struct text *future, struct text *scheduler)
{
    const struct program_index *index = naming->layout->index;
    const uint32_t *row = map_find(&naming->polls, poll_addr);
    if (!row)
        return false;
    const struct index_item *poll = &index->task_polls.rows[*row - 1];
    const char *arguments = poll->name + strlen("poll<");
    if (!task_split_arguments(arguments, future, scheduler))
        return false;
    task->future_id = future_of(naming, poll->die);
    task->cell = find_cell(naming, arguments, task);
    return true;
}

/*
 * The compiler merges functions of equal code under one of their names, drop glue above all.  So a
 * name counts only when all functions of the vtable that lead to one lead to the same.
 */
static bool names_from_slots(const struct naming *naming, const struct task_vtable *vtable,
                             struct text *future, struct text *scheduler)
{
    bool agreed = true;
    struct text other_future, other_scheduler;
    text_init(&other_future);
    text_init(&other_scheduler);
    for (int i = 0; i < NR_FUNCTIONS && agreed; i++) {
        text_clear(&other_future);
        text_clear(&other_scheduler);
        if (!names_from_calls(naming->program, naming->symbols, vtable->slots[i], 2, &other_future,
                              &other_scheduler))
            continue;
        if (!future->length) {
            text_append_str(future, text_str(&other_future));
            text_append_str(scheduler, text_str(&other_scheduler));
        }
        agreed = strcmp(text_str(future), text_str(&other_future)) == 0;
    }
    text_deinit(&other_future);
    text_deinit(&other_scheduler);
    if (!agreed) {
        text_clear(future);
        text_clear(scheduler);
    }
    return future->length > 0;
}

/* Blocking calls run as tasks whose T is a BlockingTask; the loop of a worker thread is one. */
static void set_kinds(struct plan_task *task, const char *future, const char *scheduler)
{
    static const struct {
        const char *part;
        enum plan_scheduler kind;
    } schedulers[] = {
        {"scheduler::multi_thread", PLAN_SCHEDULER_MULTI_THREAD},
        {"thread_pool", PLAN_SCHEDULER_MULTI_THREAD},
        {"scheduler::current_thread", PLAN_SCHEDULER_CURRENT_THREAD},
        {"task::local::Shared", PLAN_SCHEDULER_LOCAL},
        {"BlockingSchedule", PLAN_SCHEDULER_BLOCKING},
        {"NoopSchedule", PLAN_SCHEDULER_BLOCKING},
    };
    if (*future)
        task->kind = !strstr(future, "::blocking::task::BlockingTask<") ? PLAN_TASK_ASYNC
                     : strstr(future, "::worker::")                     ? PLAN_TASK_WORKER
                                                                        : PLAN_TASK_BLOCKING;
    for (size_t i = 0; i < sizeof(schedulers) / sizeof(*schedulers); i++)
        if (strstr(scheduler, schedulers[i].part)) {
            task->scheduler_kind = schedulers[i].kind;
            return;
        }
}

static void name_task(struct naming *naming, const struct task_vtable *vtable,
                      struct plan_task *task)
{
    struct plan_builder *builder = naming->layout->builder;
    struct text future, scheduler;
    text_init(&future);
    text_init(&scheduler);
    const struct elf_symbol *symbol = elf_symbol_at(naming->symbols, vtable->poll_addr);
    if (name_from_dwarf(naming, vtable->poll_addr, task, &future, &scheduler)) {
        task->name_source = PLAN_NAME_DWARF;
    } else if (symbol && names_from_poll_symbol(symbol->name, &future, &scheduler)) {
        task->name_source = PLAN_NAME_SYMBOL;
    } else if (naming->program->machine == EM_X86_64 &&
               names_from_slots(naming, vtable, &future, &scheduler)) {
        task->name_source = PLAN_NAME_DROP_GLUE;
    }
    task->future = plan_builder_string(builder, text_str(&future));
    task->scheduler = plan_builder_string(builder, text_str(&scheduler));
    set_kinds(task, text_str(&future), text_str(&scheduler));
    text_deinit(&future);
    text_deinit(&scheduler);
}

/* Two vtables of one name by drop glue: one of them has merged glue, nothing tells which. */
static void clear_doubtful_names(struct plan_builder *builder)
{
    struct map owners; /* hash of T and S -> row */
    map_init(&owners);
    const size_t nr = builder->tables[PLAN_TASKS].nr;
    bool *doubtful = memory_alloc((nr + 1) * sizeof(*doubtful));
    for (uint32_t i = 1; i <= nr; i++) {
        const struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, i);
        if (task->name_source != PLAN_NAME_DROP_GLUE)
            continue;
        bool is_new;
        uint32_t *owner = map_put(&owners, hash_u64(task->future.v, task->scheduler.v), &is_new);
        if (is_new)
            *owner = i;
        else
            doubtful[i] = doubtful[*owner] = true;
    }
    for (uint32_t i = 1; i <= nr; i++) {
        struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, i);
        if (doubtful[i]) {
            task->future = task->scheduler = (plan_str){0};
            task->kind = task->scheduler_kind = 0;
            task->name_source = PLAN_NAME_NONE;
        }
    }
    free(doubtful);
    map_deinit(&owners);
}

/*
 * `schedule` is the one function of a vtable that is the same for all tasks of one S.  So it names
 * the S of tasks whose own functions have no name.  Rows are those of `vtables`, in their order.
 */
static void name_schedulers(struct plan_builder *builder, const struct task_vtable *vtables,
                            uint32_t nr)
{
    struct map by_function; /* -> row of a task with this S; 0: it has several */
    map_init(&by_function);
    for (uint32_t i = 1; i <= nr; i++) {
        const struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, i);
        if (!task->scheduler_kind)
            continue;
        bool is_new;
        uint32_t *known = map_put(&by_function, vtables[i - 1].slots[SLOT_SCHEDULE], &is_new);
        const struct plan_task *other =
            is_new || !*known ? NULL : plan_builder_row(builder, PLAN_TASKS, *known);
        if (is_new)
            *known = i;
        else if (other && other->scheduler_kind != task->scheduler_kind)
            *known = 0;
    }
    for (uint32_t i = 1; i <= nr; i++) {
        struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, i);
        const uint32_t *known = map_find(&by_function, vtables[i - 1].slots[SLOT_SCHEDULE]);
        if (task->scheduler_kind || !known || !*known)
            continue;
        const struct plan_task *other = plan_builder_row(builder, PLAN_TASKS, *known);
        task->scheduler = other->scheduler;
        task->scheduler_kind = other->scheduler_kind;
        if (task->kind == PLAN_TASK_UNKNOWN && task->scheduler_kind != PLAN_SCHEDULER_BLOCKING)
            task->kind = PLAN_TASK_ASYNC;
    }
    map_deinit(&by_function);
}

/* --- merged tasks ---------------------------------------------------------------------------- */

static void add_other_name(struct naming *naming, uint32_t row, const char *future)
{
    struct plan_builder *builder = naming->layout->builder;
    struct plan_task task = *(const struct plan_task *)plan_builder_row(builder, PLAN_TASKS, row);
    task.future = plan_builder_string(builder, future);
    task.future_id = (plan_future_id){0};
    task.is_other_name = 1;
    plan_builder_add(builder, PLAN_TASKS, &task);
}

/*
 * Names that have a cell and no poll function of their own: it was merged with that of a task of
 * the same S and the same size, whose T is the same but for generic arguments.
 */
static void add_merged_name(struct naming *naming, uint32_t nr, const char *arguments)
{
    struct plan_builder *builder = naming->layout->builder;
    struct text future, scheduler;
    text_init(&future);
    text_init(&scheduler);
    bool ok = task_split_arguments(arguments, &future, &scheduler);
    for (uint32_t i = 1; ok && i <= nr; i++) {
        const struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, i);
        if (task->name_source == PLAN_NAME_DWARF &&
            strcmp(plan_builder_text(builder, task->scheduler), text_str(&scheduler)) == 0 &&
            task_differ_in_arguments(plan_builder_text(builder, task->future), text_str(&future)) &&
            find_cell(naming, arguments, task).v)
            add_other_name(naming, i, text_str(&future));
    }
    text_deinit(&future);
    text_deinit(&scheduler);
}

/* Another poll function at the address of the one that named a task: the linker folded them. */
static void add_folded_name(struct naming *naming, uint32_t nr, const struct index_item *poll)
{
    struct plan_builder *builder = naming->layout->builder;
    struct text future, scheduler;
    text_init(&future);
    text_init(&scheduler);
    bool ok = task_split_arguments(poll->name + strlen("poll<"), &future, &scheduler);
    for (uint32_t i = 1; ok && i <= nr; i++) {
        const struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, i);
        if (task->poll_addr == poll->addr &&
            strcmp(plan_builder_text(builder, task->future), text_str(&future)) != 0)
            add_other_name(naming, i, text_str(&future));
    }
    text_deinit(&future);
    text_deinit(&scheduler);
}

/* `nr` rows are there, one for each vtable. */
static void add_other_names(struct naming *naming, uint32_t nr)
{
    const struct program_index *index = naming->layout->index;
    struct map polls; /* hash of "T, S" of those that have a function of their own */
    map_init(&polls);
    for (uint32_t i = 0; i < index->task_polls.nr; i++) {
        const struct index_item *poll = &index->task_polls.rows[i];
        map_put(&polls, hash_str(poll->name + strlen("poll<"), 0), NULL);
        if (*map_find(&naming->polls, poll->addr) != i + 1)
            add_folded_name(naming, nr, poll);
    }
    for (uint32_t i = 0; index->task_polls.nr && i < index->task_cells.nr; i++) {
        const char *arguments = index->task_cells.rows[i].name + strlen("Cell<");
        uint64_t key = hash_str(arguments, 0);
        if (*map_find(&naming->cells, key) == i + 1 && !map_find(&polls, key))
            add_merged_name(naming, nr, arguments);
    }
    map_deinit(&polls);
}

/* Task types that only drop glue names: their vtables could not be told apart. */
static void add_symbol_tasks(struct naming *naming)
{
    struct plan_builder *builder = naming->layout->builder;
    struct map known; /* string id of T -> 1 */
    map_init(&known);
    struct plan_table *tasks = &builder->tables[PLAN_TASKS];
    for (size_t i = 1; i <= tasks->nr; i++) {
        const struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, (uint32_t)i);
        map_put(&known, task->future.v, NULL);
    }
    for (uint32_t i = 0; i < naming->symbols->nr_symbols; i++) {
        struct text future, scheduler;
        text_init(&future);
        text_init(&scheduler);
        if (naming->symbols->symbols[i].type == STT_FUNC &&
            names_from_drop_glue(naming->symbols->symbols[i].name, &future, &scheduler)) {
            struct plan_task task = {
                .future = plan_builder_string(builder, text_str(&future)),
                .scheduler = plan_builder_string(builder, text_str(&scheduler)),
                .name_source = PLAN_NAME_DROP_GLUE,
            };
            set_kinds(&task, text_str(&future), text_str(&scheduler));
            bool is_new;
            map_put(&known, task.future.v, &is_new);
            if (is_new)
                plan_builder_add(builder, PLAN_TASKS, &task);
        }
        text_deinit(&future);
        text_deinit(&scheduler);
    }
    map_deinit(&known);
}

bool tasks_in_file(const char *path)
{
    struct elf_file elf;
    struct arena arena;
    uint32_t nr = 0;
    if (!elf_file_open(&elf, path, NULL))
        return false;
    arena_init(&arena);
    tokio_find_vtables(&elf, &arena, &nr);
    arena_deinit(&arena);
    elf_file_close(&elf);
    return nr > 0;
}

void tokio_add_tasks(struct layout *layout, const struct coroutines *coroutines,
                     const struct elf_file *program, const struct elf_file *symbols)
{
    struct naming naming = {
        .layout = layout, .coroutines = coroutines, .program = program, .symbols = symbols};
    struct arena scratch;
    uint32_t nr;
    arena_init(&scratch);
    struct task_vtable *vtables = tokio_find_vtables(program, &scratch, &nr);
    map_index(&naming);
    for (uint32_t i = 0; i < nr; i++) {
        struct plan_task task = {
            .vtable_addr = vtables[i].addr,
            .poll_addr = vtables[i].poll_addr,
            .trailer_offset = vtables[i].trailer_offset,
            .scheduler_offset = vtables[i].scheduler_offset,
            .id_offset = vtables[i].id_offset,
            .poll_bytes = task_poll_bytes(program, symbols, vtables[i].poll_addr),
            .code_shape = task_code_shape(program, symbols, &vtables[i]),
        };
        name_task(&naming, &vtables[i], &task);
        plan_builder_add(layout->builder, PLAN_TASKS, &task);
    }
    clear_doubtful_names(layout->builder);
    name_schedulers(layout->builder, vtables, nr);
    add_other_names(&naming, nr);
    if (!layout->index->task_polls.nr)
        add_symbol_tasks(&naming);
    map_deinit(&naming.polls);
    map_deinit(&naming.cells);
    free(naming.next_cell);
    arena_deinit(&scratch);
}
