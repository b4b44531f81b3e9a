/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Inside run_build: reading rows of the region, and strings.  Parts of the region that were never written are
 * not looked at: that would take memory for good.
 */
#include <string.h>

#include "model/run_build_part.h"

static uint64_t row_at(const struct run_row_walk *walk, uint32_t id)
{
    return region_row_offset(walk->region, walk->table, walk->stripe, id);
}

/* Stripes have as many rows as the table that they belong to. */
static uint32_t nr_rows_of(const struct region_view *region, enum region_table_id table)
{
    enum region_table_id of = table == REGION_TYPE_SUMS     ? REGION_TYPES
                              : table == REGION_SITE_COUNTS ? REGION_SITES
                                                            : table;
    uint32_t nr = region_nr_rows(region, of);
    uint64_t max = region->tables[table].max_rows;
    return nr < max ? nr : (uint32_t)max;
}

void run_row_walk_begin(struct run_row_walk *walk, const struct region_view *region,
                        enum region_table_id table, uint32_t stripe)
{
    *walk = (struct run_row_walk){.region = region, .table = table, .stripe = stripe, .next = 1};
    walk->nr = stripe < region->tables[table].stripes ? nr_rows_of(region, table) : 0;
}

/* Moves to the first row at or behind `next` that is not only a hole. */
static bool find_data(struct run_row_walk *walk)
{
    uint64_t at = row_at(walk, walk->next);
    if (at < walk->data[1])
        return true;
    if (!region_data_span(walk->region, at, row_at(walk, walk->nr), walk->data))
        return false;
    if (walk->data[0] > at)
        walk->next +=
            (uint32_t)((walk->data[0] - at) / walk->region->tables[walk->table].row_bytes);
    return walk->next < walk->nr;
}

uint32_t run_row_walk_next(struct run_row_walk *walk, void *row)
{
    if (walk->next >= walk->nr || !find_data(walk))
        return 0;
    const void *from = walk->region->bytes + row_at(walk, walk->next);
    memcpy(row, from, region_row_bytes[walk->table]);
    return walk->next++;
}

bool run_row_copy(const struct region_view *region, enum region_table_id table, uint32_t id,
                  void *row)
{
    const void *from = region_row(region, table, id);
    if (from)
        memcpy(row, from, region_row_bytes[table]);
    return from;
}

run_str run_intern(struct run_building *build, const char *text)
{
    bool is_new;
    if (!text || !*text)
        return (run_str){0};
    uint32_t *known = map_put(&build->strings, hash_str(text, 0), &is_new);
    if (is_new)
        *known = run_add_string(build->run, text).v + 1;
    return (run_str){*known - 1};
}

run_str run_intern_symbol(struct run_building *build, const char *text)
{
    bool is_new;
    uint32_t *known = map_put(&build->pointers, (uint64_t)(uintptr_t)text, &is_new);
    if (is_new)
        *known = run_intern(build, text).v + 1;
    return (run_str){*known - 1};
}

void run_note_add(struct run_building *build, const char *text)
{
    const struct run_note note = {run_intern(build, text)};
    run_add(build->run, RUN_NOTES, &note);
}

const struct run_load *run_load_get(const struct run_building *build, uint32_t row)
{
    return row && row < build->nr_loads && build->loads[row].image ? &build->loads[row] : NULL;
}
