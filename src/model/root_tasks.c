/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/root_tasks.h"

#include <stdlib.h>
#include <string.h>

#include "model/root_names.h"

enum { MAX_FRAMES_OF_PC = 512 };

/* The code of one plan's image. */
struct image_code {
    bool is_open, is_usable;
    struct debug_source source;
    struct symbolizer symbolizer;
    struct map types; /* hash of a name -> type id + 1 */
};

struct call { /* a frame of a stack, inlined ones too */
    struct frame frame;
    uint32_t plan;
};

struct finder {
    struct root_tasks *roots;
    const struct task_reader *reader;
    struct image_code *images; /* as reader->plans */
    struct call *calls;        /* of the thread at hand, the innermost first */
    size_t nr_calls, calls_capacity;
    struct map rootless; /* hashes of stacks that have no roots */
    size_t nr_cut;       /* stacks that may have roots further out */
};

static void add_note(struct root_tasks *roots, const struct text *note)
{
    roots->notes = array_reserve(roots->notes, &roots->notes_capacity, roots->nr_notes + 1,
                                 sizeof(*roots->notes));
    roots->notes[roots->nr_notes++] = arena_strndup(&roots->arena, text_str(note), note->length);
}

/* --- the code of an image -------------------------------------------------------------------- */

/* The debug info of the code that runs: not that of a rebuild, whose code lies elsewhere. */
static bool has_own_code(const struct plan *plan)
{
    return plan->facts->detail == PLAN_DETAIL_FULL &&
           !(plan->nr_sources &&
             str_starts_with(plan_string(plan, plan->sources[0].role), "rebuild"));
}

static const char *debug_file(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_sources; i++)
        if (strcmp(plan_string(plan, plan->sources[i].role), "debug file") == 0)
            return plan_string(plan, plan->sources[i].path);
    return NULL;
}

static void open_image(struct image_code *code, const struct process_plan *own)
{
    code->is_open = true;
    if (!has_own_code(own->plan) || !own->image.path ||
        !debug_source_open(&code->source, own->image.path, debug_file(own->plan), NULL))
        return;
    debug_source_load(&code->source);
    symbolizer_init(&code->symbolizer, &code->source);
    code->is_usable = true;
}

static void close_image(struct image_code *code)
{
    map_deinit(&code->types);
    if (!code->is_usable)
        return;
    symbolizer_deinit(&code->symbolizer);
    debug_source_close(&code->source);
}

/* Position + 1 of the plan whose image has the address; 0: none. */
static uint32_t plan_at(const struct task_reader *reader, uint64_t addr)
{
    for (uint32_t i = 0; i < reader->nr_plans; i++)
        if (addr >= reader->plans[i].image.start && addr < reader->plans[i].image.end)
            return i + 1;
    return 0;
}

static void add_calls(struct finder *finder, uint64_t pc)
{
    struct frame frames[MAX_FRAMES_OF_PC];
    uint32_t plan = plan_at(finder->reader, pc);
    if (!plan)
        return;
    struct image_code *code = &finder->images[plan - 1];
    if (!code->is_open)
        open_image(code, &finder->reader->plans[plan - 1]);
    if (!code->is_usable)
        return;
    uint32_t nr = symbolize(&code->symbolizer, pc - finder->reader->plans[plan - 1].image.bias,
                            frames, MAX_FRAMES_OF_PC);
    finder->calls = array_reserve(finder->calls, &finder->calls_capacity, finder->nr_calls + nr,
                                  sizeof(*finder->calls));
    for (uint32_t i = 0; i < nr; i++)
        finder->calls[finder->nr_calls++] = (struct call){frames[i], plan - 1};
}

/* --- roots ----------------------------------------------------------------------------------- */

/* The only type of this name. */
static plan_type_id find_type(struct image_code *code, const struct plan *plan,
                              struct name_span name)
{
    bool is_new;
    uint32_t *known = map_put(&code->types, hash_bytes(name.text, name.length, 0), &is_new),
             found = 0;
    if (!is_new)
        return (plan_type_id){*known};
    for (uint32_t i = 0; i < plan->nr_types; i++) {
        const char *each = plan_string(plan, plan->types[i].name);
        if (strncmp(each, name.text, name.length) != 0 || each[name.length])
            continue;
        if (found) {
            found = 0;
            break;
        }
        found = i + 1;
    }
    *known = found;
    return (plan_type_id){found};
}

/* Of the calls inside of an entry: up to the next one, or to one that polls a task. */
static size_t first_inside(const struct finder *finder, size_t entry)
{
    struct name_span future;
    size_t i = entry;
    while (i > 0 && !root_names_entry(&finder->calls[i - 1].frame, &future) &&
           !root_names_is_task(&finder->calls[i - 1].frame))
        i--;
    return i;
}

/*
 * Whether the root's poll is among the calls inside of its entry, of which `first` is the innermost.
 * Its body tells; where the compiler has kept no trace of that (calls that never return), somebody
 * else's code that no task runs, and a root inside of the root.
 */
static bool is_polled(const struct finder *finder, size_t first, size_t entry,
                      struct name_span future)
{
    bool is_foreign = false, is_parked = false;
    for (size_t i = first; i < entry; i++) {
        const struct frame *frame = &finder->calls[i].frame;
        if (root_names_is_body(frame, future))
            return true;
        is_foreign |= root_names_is_foreign(frame);
        is_parked |= root_names_is_parked(frame);
    }
    if (first > 0)
        return !root_names_is_task(&finder->calls[first - 1].frame);
    return is_foreign && !is_parked;
}

static void add_root(struct finder *finder, size_t entry, struct name_span future)
{
    struct root_tasks *roots = finder->roots;
    struct root_task root = {.plan = finder->calls[entry].plan};
    const struct plan *plan = finder->reader->plans[root.plan].plan;
    struct name_span inner = root_names_behind_boxes(future);
    bool is_local = root_names_local(inner, &inner) || root_names_is_local_set(inner);
    while (root_names_local(inner, &inner))
        continue;
    inner = root_names_behind_boxes(inner);
    const size_t first = first_inside(finder, entry);
    root.is_polled = is_polled(finder, first, entry, inner);
    for (size_t i = first; i < entry && !root.scheduler; i++)
        root.scheduler = root_names_scheduler(&finder->calls[i].frame);
    if (is_local)
        root.scheduler = TASK_SCHEDULER_LOCAL;
    root.type = find_type(&finder->images[root.plan], plan, inner);
    root.name = arena_strndup(&roots->arena, inner.text, inner.length);
    roots->rows = array_reserve(roots->rows, &roots->capacity, roots->nr + 1, sizeof(*roots->rows));
    roots->rows[roots->nr++] = root;
}

static void find_in_thread(struct finder *finder, const struct thread_stack *stack)
{
    const uint64_t *pcs = finder->reader->stacks.pcs + stack->first_pc;
    const size_t nr_before = finder->roots->nr;
    /* Parked workers are many, and their stacks are alike. */
    const uint64_t key = hash_bytes(pcs, stack->nr_pcs * sizeof(*pcs), stack->is_whole);
    if (stack->nr_pcs && map_find(&finder->rootless, key))
        return;
    finder->nr_calls = 0;
    for (size_t i = 0; i < stack->nr_pcs; i++)
        add_calls(finder, pcs[i]);
    for (size_t i = finder->nr_calls; i-- > 0;) {
        struct name_span future;
        if (root_names_entry(&finder->calls[i].frame, &future))
            add_root(finder, i, future);
    }
    if (finder->roots->nr > nr_before)
        return;
    finder->nr_cut += !stack->is_whole;
    map_put(&finder->rootless, key, NULL);
}

/* --- what is not known ----------------------------------------------------------------------- */

static void note_images(struct finder *finder)
{
    for (size_t i = 0; i < finder->reader->nr_plans; i++) {
        const struct process_plan *own = &finder->reader->plans[i];
        struct text note;
        if (!own->plan->nr_tasks || !finder->images[i].is_open || finder->images[i].is_usable)
            continue;
        text_init(&note);
        text_printf(&note,
                    "%s: which futures block_on drives is unknown: only debug info of this very "
                    "build tells; build with debug = 2 below [profile.release] in Cargo.toml, or "
                    "give its debug file with --symbols",
                    own->image.name);
        add_note(finder->roots, &note);
        text_deinit(&note);
    }
}

static void note_cut_stacks(struct finder *finder)
{
    struct text note;
    bool may_have_roots = false;
    for (size_t i = 0; i < finder->reader->nr_plans; i++)
        may_have_roots |=
            finder->reader->plans[i].plan->nr_tasks && has_own_code(finder->reader->plans[i].plan);
    if (!finder->nr_cut || !may_have_roots)
        return;
    text_init(&note);
    text_printf(&note,
                "the stacks of %zu of %zu threads could not be followed to their ends: a future "
                "that block_on drives there is not shown",
                finder->nr_cut, finder->reader->stacks.nr);
    add_note(finder->roots, &note);
    text_deinit(&note);
}

void root_tasks_find(struct root_tasks *roots, const struct task_reader *reader)
{
    struct finder finder = {.roots = roots, .reader = reader};
    *roots = (struct root_tasks){0};
    arena_init(&roots->arena);
    map_init(&finder.rootless);
    finder.images = memory_alloc((reader->nr_plans + 1) * sizeof(*finder.images));
    for (size_t i = 0; i < reader->stacks.nr; i++)
        find_in_thread(&finder, &reader->stacks.rows[i]);
    note_images(&finder);
    note_cut_stacks(&finder);
    for (size_t i = 0; i < reader->nr_plans; i++)
        close_image(&finder.images[i]);
    map_deinit(&finder.rootless);
    free(finder.images);
    free(finder.calls);
}

void root_tasks_deinit(struct root_tasks *roots)
{
    free(roots->rows);
    free(roots->notes);
    arena_deinit(&roots->arena);
    *roots = (struct root_tasks){0};
}
