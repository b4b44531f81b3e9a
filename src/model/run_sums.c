/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: the totals.  The same events are counted three times by the tracer: for the thread, for the task and
 * for the site.  While the program runs the three are read one after the other, and a kill may come between
 * them; so the largest counts, and what the others lack goes to a row of its own that says so.
 */
#include "model/run_build_part.h"

/* What is counted three times. */
enum { NR_COUNTS = 5 };
struct counts {
    uint64_t v[NR_COUNTS]; /* allocations, allocated bytes, frees, freed bytes, temporary */
};

#define COUNTS_OF(row)                                                                             \
    {                                                                                              \
        {                                                                                          \
            (row)->allocations, (row)->allocated_bytes, (row)->frees, (row)->freed_bytes           \
        }                                                                                          \
    }

static void add(struct counts *sum, const struct counts *more)
{
    for (int i = 0; i < NR_COUNTS; i++)
        sum->v[i] += more->v[i];
}

static void raise(struct counts *max, const struct counts *other)
{
    for (int i = 0; i < NR_COUNTS; i++)
        max->v[i] = max->v[i] > other->v[i] ? max->v[i] : other->v[i];
}

/* What `part` lacks; false: nothing. */
static bool lacks(const struct counts *whole, const struct counts *part, struct counts *rest)
{
    bool any = false;
    for (int i = 0; i < NR_COUNTS; i++) {
        rest->v[i] = whole->v[i] > part->v[i] ? whole->v[i] - part->v[i] : 0;
        any |= rest->v[i] != 0;
    }
    return any;
}

/* --- the parts ------------------------------------------------------------------------------- */

static struct counts sum_threads(struct run_building *build)
{
    struct run_row_walk walk;
    struct region_thread row;
    struct run_facts *facts = run_facts(build->run);
    struct counts sum = {0};
    run_row_walk_begin(&walk, build->region, REGION_THREADS, 0);
    while (run_row_walk_next(&walk, &row)) {
        struct counts counts = COUNTS_OF(&row);
        counts.v[4] = row.temporary;
        add(&sum, &counts);
        facts->unknown_frees += row.unknown_frees;
        facts->polls_future += row.polls_future;
        facts->polls_blocking += row.polls_blocking;
        facts->polls_cancel += row.polls_cancel;
        facts->polls += row.polls;
        if (row.began_ns)
            facts->nr_threads++;
    }
    return sum;
}

static struct counts sum_sites(const struct run *run)
{
    size_t nr;
    const struct run_site *sites = run_sites(run, &nr);
    struct counts sum = {0};
    for (size_t i = 0; i < nr; i++) {
        struct counts counts = COUNTS_OF(&sites[i]);
        counts.v[4] = sites[i].temporary;
        add(&sum, &counts);
    }
    return sum;
}

static struct counts sum_types(const struct run *run)
{
    size_t nr;
    const struct run_type *types = run_types(run, &nr);
    struct counts sum = {0};
    for (size_t i = 0; i < nr; i++) {
        const struct counts counts = COUNTS_OF(&types[i]);
        add(&sum, &counts);
    }
    return sum;
}

/* Rows that are made when they are needed. */
static struct run_type *thread_type(struct run_building *build)
{
    uint32_t id = run_thread_type(build);
    return &run_types(build->run, NULL)[id - 1];
}

static struct run_type *unknown_type(struct run_building *build)
{
    uint32_t id = run_unknown_type(build);
    return &run_types(build->run, NULL)[id - 1];
}

static struct run_site *unknown_site(struct run_building *build)
{
    uint32_t id = run_unknown_site(build);
    return &run_sites(build->run, NULL)[id - 1];
}

/* --- threads outside of tasks ---------------------------------------------------------------- */

static void add_to_type(struct run_type *type, const struct counts *counts)
{
    type->allocations += counts->v[0];
    type->allocated_bytes += counts->v[1];
    type->frees += counts->v[2];
    type->freed_bytes += counts->v[3];
}

/* Sites of root futures and of runtimes' loops give their types what they counted. */
static struct counts split_threads(struct run_building *build)
{
    size_t nr;
    const struct run_site *sites = run_sites(build->run, &nr);
    struct counts split = {0};
    if (run_facts(build->run)->stacks != RUN_STACKS_ALL)
        return split; /* estimates are not put beside exact counts */
    for (size_t i = 0; i < nr; i++) {
        bool is_outside = sites[i].kind == RUN_KIND_ROOT || sites[i].kind == RUN_KIND_WORKER;
        if (!is_outside || !sites[i].type || build->owners[sites[i].node].kind != sites[i].kind)
            continue;
        const struct counts counts = COUNTS_OF(&sites[i]);
        add_to_type(&run_types(build->run, NULL)[sites[i].type - 1], &counts);
        add(&split, &counts);
    }
    return split;
}

/* The rest is that of threads; the row has no tasks, and peaks and times only of whole threads. */
static void add_threads(struct run_building *build)
{
    const struct run_type *all = &build->threads;
    const struct counts counts = COUNTS_OF(all), split = split_threads(build);
    struct counts rest;
    if (lacks(&counts, &split, &rest) || all->tasks)
        add_to_type(thread_type(build), &rest);
    if (!all->tasks)
        return;
    struct run_type *type = thread_type(build);
    type->tasks = all->tasks;
    type->live_tasks = all->live_tasks;
    for (int i = 0; i < NR_RUN_ENDS; i++)
        type->ended[i] = all->ended[i];
    run_facts(build->run)->nr_threads = all->tasks;
}

/* What has no tasks of its own has no peak of them. */
static void forget_peaks(struct run *run)
{
    size_t nr;
    struct run_type *types = run_types(run, &nr);
    for (size_t i = 0; i < nr; i++)
        if (!types[i].tasks || types[i].kind == RUN_KIND_THREAD)
            types[i].peak_bytes_sum = types[i].peak_bytes_max = RUN_UNKNOWN;
}

/* --- the whole ------------------------------------------------------------------------------- */

static void set_facts(struct run_facts *facts, const struct counts *all)
{
    facts->allocations = all->v[0];
    facts->allocated_bytes = all->v[1];
    facts->frees = all->v[2];
    facts->freed_bytes = all->v[3];
    facts->temporary = all->v[4];
}

static void close_counts(struct run_building *build, const struct counts *threads)
{
    struct counts all = *threads, sites = sum_sites(build->run), types = sum_types(build->run),
                  rest;
    bool are_exact = run_facts(build->run)->stacks != RUN_STACKS_SAMPLED;
    raise(&all, &types);
    if (are_exact)
        raise(&all, &sites);
    set_facts(run_facts(build->run), &all);
    if (are_exact && lacks(&all, &sites, &rest)) {
        struct run_site *site = unknown_site(build);
        site->allocations += rest.v[0];
        site->allocated_bytes += rest.v[1];
        site->frees += rest.v[2];
        site->freed_bytes += rest.v[3];
        site->temporary += rest.v[4];
    }
    types.v[4] = all.v[4]; /* not counted by type */
    if (lacks(&all, &types, &rest))
        add_to_type(unknown_type(build), &rest);
}

static void close_polls(struct run_building *build)
{
    size_t nr;
    const struct run_type *types = run_types(build->run, &nr);
    struct run_facts *facts = run_facts(build->run);
    uint64_t polls = 0, cancels = 0;
    for (size_t i = 0; i < nr; i++) {
        polls += types[i].polls;
        cancels += types[i].polls_cancel;
        if (types[i].kind != RUN_KIND_THREAD && types[i].kind != RUN_KIND_ROOT)
            facts->tasks += types[i].tasks;
    }
    uint64_t parts = facts->polls_future + facts->polls_blocking + facts->polls_cancel;
    facts->polls = facts->polls > parts ? facts->polls : parts;
    facts->polls = facts->polls > polls ? facts->polls : polls;
    if (facts->polls_cancel < cancels)
        facts->polls_cancel = cancels;
    uint64_t others = facts->polls_blocking + facts->polls_cancel;
    if (others > facts->polls)
        facts->polls = others;
    facts->polls_future = facts->polls - others;
    if (facts->polls == polls && facts->polls_cancel == cancels)
        return;
    struct run_type *rest = unknown_type(build);
    rest->polls += facts->polls - polls;
    rest->polls_cancel += facts->polls_cancel - cancels;
}

/* The highest that live bytes were since the last publishing, as far as one thread knows. */
static uint64_t unpublished_peak(const struct run_building *build)
{
    uint64_t live = __atomic_load_n(&build->region->header->live_bytes, __ATOMIC_RELAXED);
    uint64_t highest = 0;
    uint32_t nr = region_nr_rows(build->region, REGION_THREADS);
    for (uint32_t id = 1; id < nr; id++) {
        const struct region_thread *row = region_row(build->region, REGION_THREADS, id);
        int64_t peak = row ? __atomic_load_n(&row->unpublished_peak, __ATOMIC_RELAXED) : 0;
        uint64_t sum;
        if (peak > 0 && peak <= REGION_PUBLISH_BYTES && /* else it is being published */
            !__builtin_add_overflow(live, (uint64_t)peak, &sum) && sum > highest)
            highest = sum;
    }
    return highest;
}

static void sum_live(struct run_building *build)
{
    size_t nr;
    const struct run_type *types = run_types(build->run, &nr);
    struct run_facts *facts = run_facts(build->run);
    for (size_t i = 0; i < nr; i++) {
        facts->live_bytes += types[i].live_bytes;
        facts->live_blocks += types[i].live_blocks;
    }
    const struct region_header *header = build->region->header;
    facts->peak_bytes = __atomic_load_n(&header->peak_bytes, __ATOMIC_RELAXED);
    facts->peak_ns = __atomic_load_n(&header->peak_ns, __ATOMIC_RELAXED);
    uint64_t not_published = unpublished_peak(build);
    if (not_published < facts->live_bytes)
        not_published = facts->live_bytes;
    if (facts->peak_bytes < not_published) {
        facts->peak_bytes = not_published;
        facts->peak_ns = build->now_ns;
    }
}

void run_sums_add(struct run_building *build)
{
    const struct counts threads = sum_threads(build);
    uint64_t nr_places = run_facts(build->run)->nr_threads;
    add_threads(build);
    close_counts(build, &threads);
    close_polls(build);
    sum_live(build);
    if (nr_places > 1) /* threads at once; each may have that much unpublished */
        run_facts(build->run)->peak_error_bytes = nr_places * REGION_PUBLISH_BYTES;
    forget_peaks(build->run);
}
