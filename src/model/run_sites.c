/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: sites with their counts, and the stacks that they need.  Rows are made when a site is first asked
 * for, callers before what they call, so that nothing is looked up that nobody refers to.
 *
 * Who allocates at a node is told from the outermost frame inward: block_on's root future, a runtime's own
 * loop, and from the tracer's hook of a task's vtable on, the task.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/root_names.h"
#include "model/run_build_part.h"
#include "program/tasks.h"

/* --- who ------------------------------------------------------------------------------------- */

/* The T and S of poll<T, S>, shutdown<T, S>: the row of that type. */
static uint32_t type_of_poll(struct run_building *build, const struct frame *frame)
{
    const char *arguments = frame->name ? strchr(frame->name, '<') : NULL;
    struct text future, scheduler;
    if (!arguments || !root_names_is_task(frame))
        return 0;
    text_init(&future);
    text_init(&scheduler);
    const uint32_t *id = NULL;
    if (task_split_arguments(arguments + 1, &future, &scheduler))
        id = map_find(&build->task_types,
                      hash_str(text_str(&scheduler), hash_str(text_str(&future), 0)));
    text_deinit(&future);
    text_deinit(&scheduler);
    return id ? *id : 0;
}

static bool is_runtime_loop(const char *function)
{
    return strstr(function, "tokio::runtime::scheduler::multi_thread::worker::") ||
           strstr(function, "tokio::runtime::blocking::pool::Inner");
}

static void set_runtime(struct run_building *build, uint32_t type, uint32_t scheduler)
{
    struct run_type row = run_types(build->run, NULL)[type - 1];
    if (row.runtime.v)
        return;
    row.runtime = run_intern(build, scheduler == TASK_SCHEDULER_MULTI_THREAD
                                        ? run_runtime_name(PLAN_SCHEDULER_MULTI_THREAD)
                                        : run_runtime_name(PLAN_SCHEDULER_CURRENT_THREAD));
    run_types(build->run, NULL)[type - 1] = row;
}

/* One frame further inward. */
static void pass_frame(struct run_building *build, const struct run_load *load,
                       const struct run_symbol_frame *symbol, struct run_node_owner *owner)
{
    const struct frame frame = {.function = symbol->full, .name = symbol->name};
    struct name_span future;
    if (symbol->kind == RUN_FRAME_TRACER) {
        if (!strstr(symbol->full, "schedule")) /* waking a task is not polling it */
            *owner = (struct run_node_owner){.is_task = true};
        return;
    }
    if (symbol->kind != RUN_FRAME_RUNTIME)
        return;
    if (owner->is_task) {
        owner->type = owner->type ? owner->type : type_of_poll(build, &frame);
        return;
    }
    if (root_names_entry(&frame, &future)) {
        struct text raw;
        text_init(&raw);
        future = root_names_behind_boxes(future);
        while (root_names_local(future, &future))
            future = root_names_behind_boxes(future);
        text_append(&raw, future.text, future.length);
        owner->kind = RUN_KIND_ROOT;
        owner->type = run_root_type(build, load ? load->names : NULL, text_str(&raw));
        text_deinit(&raw);
    } else if (owner->kind == RUN_KIND_ROOT) {
        enum task_scheduler scheduler = root_names_scheduler(&frame);
        if (scheduler != TASK_SCHEDULER_UNKNOWN && owner->type)
            set_runtime(build, owner->type, scheduler);
    } else if (is_runtime_loop(symbol->full)) {
        *owner = (struct run_node_owner){.kind = RUN_KIND_WORKER, .type = run_worker_type(build)};
    }
}

/* --- places ---------------------------------------------------------------------------------- */

static uint32_t add_place(struct run_building *build, const struct run_load *load,
                          const struct run_symbol_frame *frames, uint32_t nr)
{
    struct run_place place = {.image = load ? load->image : 0, .nr_frames = nr};
    for (uint32_t i = 0; i < nr; i++) {
        struct run_frame frame = {
            .function = run_intern_symbol(build, frames[i].function),
            .full = run_intern_symbol(build, frames[i].full),
            .file = run_intern_symbol(build, frames[i].file),
            .line = frames[i].line,
            .kind = frames[i].kind,
            .is_inlined = frames[i].is_inlined,
        };
        uint32_t id = run_add(build->run, RUN_FRAMES, &frame);
        place.first_frame = i ? place.first_frame : id;
    }
    return run_add(build->run, RUN_PLACES, &place);
}

/* The place of a node's address; `owner` passes its frames. */
static uint32_t place_of(struct run_building *build, const struct region_node *node,
                         struct run_node_owner *owner)
{
    const struct run_load *load = run_load_get(build, node->image);
    if (load && (node->pc < load->start || node->pc > load->end))
        load = NULL; /* no row of the tracer's says so */
    struct run_code code;
    struct run_symbol_at at = {.offset = load ? node->pc - load->bias : node->pc,
                               .is_exact = node->is_pc_exact & 1};
    const struct run_symbol_frame *frames = NULL;
    uint32_t nr = 0;
    if (load) {
        code = (struct run_code){load->path, load->build_id, load->build_id_bytes};
        at.code = &code;
    }
    if (build->input->symbols)
        frames = run_symbols_find(build->input->symbols, &at, &nr);
    for (uint32_t i = nr; i-- > 0;)
        pass_frame(build, load, &frames[i], owner);
    bool is_new;
    uint64_t key = hash_u64(at.offset, (uint64_t)(load ? load->image : 0) << 1 | at.is_exact);
    uint32_t *id = map_put(&build->places, key, &is_new);
    if (!is_new)
        return *id;
    uint32_t place = add_place(build, load, frames, nr);
    run_places(build->run, NULL)[place - 1].offset = at.offset;
    return *id = place;
}

/* --- nodes ----------------------------------------------------------------------------------- */

/* `parent` is an id. */
static uint32_t add_node(struct run_building *build, const struct region_node *row, uint32_t parent)
{
    struct run_node_owner owner = parent ? build->owners[parent] : (struct run_node_owner){0};
    struct run_node node = {.parent = parent, .place = place_of(build, row, &owner)};
    uint32_t id = run_add(build->run, RUN_NODES, &node);
    build->owners = array_reserve(build->owners, &build->owners_capacity, (size_t)id + 1,
                                  sizeof(*build->owners));
    build->owners[id] = owner;
    return id;
}

/* The rows from `row` up to a caller that is known already are added, callers first. */
static uint32_t node_id(struct run_building *build, uint32_t row)
{
    uint32_t *chain = NULL, at = row;
    size_t nr = 0, capacity = 0;
    struct region_node node;
    while (at && at < build->nr_nodes && !build->nodes[at] &&
           run_row_copy(build->region, REGION_NODES, at, &node)) {
        chain = array_reserve(chain, &capacity, nr + 1, sizeof(*chain));
        chain[nr++] = at;
        build->nr_wrong_rows += node.parent >= at;
        at = node.parent < at ? node.parent : 0; /* callers have smaller numbers */
    }
    uint32_t id = at < build->nr_nodes ? build->nodes[at] : 0;
    while (nr--) {
        if (run_row_copy(build->region, REGION_NODES, chain[nr], &node))
            id = add_node(build, &node, id);
        build->nodes[chain[nr]] = id;
    }
    free(chain);
    return id;
}

/* --- sites ----------------------------------------------------------------------------------- */

static uint32_t add_lifetimes(struct run_building *build, uint32_t row, uint32_t site,
                              uint32_t site_id)
{
    struct region_lifetimes lifetimes;
    if (!run_row_copy(build->region, REGION_LIFETIMES, row, &lifetimes) || lifetimes.site != site)
        return 0;
    struct run_lifetimes copy = {.site = site_id};
    _Static_assert(sizeof(copy.buckets) == sizeof(lifetimes.buckets), "the same histogram");
    memcpy(copy.buckets, lifetimes.buckets, sizeof(copy.buckets));
    return run_add(build->run, RUN_LIFETIMES, &copy);
}

/* Whose site it is: as the tracer says, else as the stack says. */
static void set_owner(struct run_building *build, const struct region_site *row,
                      struct run_site *site)
{
    struct run_node_owner owner =
        site->node ? build->owners[site->node] : (struct run_node_owner){0};
    uint32_t said = row->type > 1 && row->type < build->nr_types ? build->types[row->type] : 0;
    if (said || (owner.is_task && row->type != 1)) {
        site->type = said ? said : owner.type;
        site->kind = site->type ? run_types(build->run, NULL)[site->type - 1].kind
                                : (uint32_t)RUN_KIND_UNKNOWN;
        return;
    }
    bool is_outside = !owner.is_task && owner.type;
    site->type = is_outside ? owner.type : run_thread_type(build);
    site->kind = is_outside ? owner.kind : (uint32_t)RUN_KIND_THREAD;
}

static uint64_t site_peak(const struct run_building *build, uint32_t row)
{
    return build->input->site_peaks && row < build->input->nr_site_peaks
               ? build->input->site_peaks[row]
               : RUN_UNKNOWN;
}

uint32_t run_site_id(struct run_building *build, uint32_t row)
{
    struct region_site source;
    if (!row || row >= build->nr_sites)
        return 0;
    if (build->sites[row])
        return build->sites[row];
    if (!run_row_copy(build->region, REGION_SITES, row, &source) || !source.node)
        return 0;
    struct run_site site = {.node = node_id(build, source.node),
                            .peak_bytes = site_peak(build, row)};
    if (!site.node)
        return 0;
    set_owner(build, &source, &site);
    uint32_t id = run_add(build->run, RUN_SITES, &site);
    uint32_t lifetimes = add_lifetimes(build, source.lifetimes, row, id);
    run_sites(build->run, NULL)[id - 1].lifetimes = lifetimes;
    return build->sites[row] = id;
}

uint32_t run_unknown_site(struct run_building *build)
{
    const struct run_site site = {.peak_bytes = RUN_UNKNOWN};
    if (!build->unknown_site)
        build->unknown_site = run_add(build->run, RUN_SITES, &site);
    return build->unknown_site;
}

/* --- counts ---------------------------------------------------------------------------------- */

static void add_counts(struct run_site *site, const struct region_site_counts *counts)
{
    site->allocations += counts->allocations;
    site->allocated_bytes += counts->allocated_bytes;
    site->frees += counts->frees;
    site->freed_bytes += counts->freed_bytes;
    site->temporary += counts->temporary;
}

static bool is_empty(const struct region_site_counts *counts)
{
    static const struct region_site_counts zero;
    return memcmp(counts, &zero, sizeof(zero)) == 0;
}

static void add_stripe(struct run_building *build, uint32_t stripe)
{
    struct run_row_walk walk;
    struct region_site_counts counts;
    run_row_walk_begin(&walk, build->region, REGION_SITE_COUNTS, stripe);
    for (uint32_t row; (row = run_row_walk_next(&walk, &counts));) {
        if (is_empty(&counts))
            continue;
        uint32_t id = run_site_id(build, row);
        if (!id)
            id = run_unknown_site(build);
        add_counts(&run_sites(build->run, NULL)[id - 1], &counts);
    }
}

/*
 * A sampled site's bytes are sums of weights.  An allocation of s bytes is sampled with p = 1 - exp(-s / mean) and then
 * weighs s / p, so that n of them have the variance n s^2 (1 - p) / p.
 */
static void set_error(struct run_site *site, double mean_bytes)
{
    if (!site->allocations)
        return;
    double size = (double)site->allocated_bytes / (double)site->allocations;
    double odds = exp(-size / mean_bytes) / -expm1(-size / mean_bytes);
    double error = sqrt((double)site->allocated_bytes * size * odds);
    site->error_bytes = error >= 1 && error < 1e18 ? (uint64_t)error : 1;
}

void run_sites_add(struct run_building *build)
{
    build->nr_sites = region_nr_rows(build->region, REGION_SITES);
    build->nr_nodes = region_nr_rows(build->region, REGION_NODES);
    build->sites = memory_alloc((build->nr_sites + 1) * sizeof(*build->sites));
    build->nodes = memory_alloc((build->nr_nodes + 1) * sizeof(*build->nodes));
    for (uint32_t stripe = 0; stripe < REGION_STRIPES; stripe++)
        add_stripe(build, stripe);
    const struct run_facts *facts = run_facts(build->run);
    size_t nr;
    struct run_site *sites = run_sites(build->run, &nr);
    for (size_t i = 0; facts->stacks == RUN_STACKS_SAMPLED && facts->sample_bytes && i < nr; i++)
        set_error(&sites[i], (double)facts->sample_bytes);
    struct run_task *tasks = run_tasks(build->run, &nr);
    for (size_t i = 0; i < nr; i++) {
        uint32_t site = run_site_id(build, tasks[i].site);
        run_tasks(build->run, NULL)[i].site = site;
    }
}
