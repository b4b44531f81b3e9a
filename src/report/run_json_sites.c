/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Sites of a run as JSON: each with its whole stack, and groups of them as the text shows them.  Stacks
 * share places, so the text of each place is made once.
 */
#include <stdlib.h>

#include "base/memory.h"
#include "report/run_json_part.h"

enum { KEPT_BYTES = 48 << 20 }; /* of texts of places; beyond it they are made anew */

/* --- frames ---------------------------------------------------------------------------------- */

static const char *const frame_kinds[NR_RUN_FRAME_KINDS] = {
    [RUN_FRAME_USER] = "user",       [RUN_FRAME_LIBRARY] = "library", [RUN_FRAME_STD] = "std",
    [RUN_FRAME_RUNTIME] = "runtime", [RUN_FRAME_POLL] = "poll",       [RUN_FRAME_TRACER] = "tracer",
};

static void put_address(struct text *out, const struct run *run, const struct run_place *place)
{
    run_json_word(out, "image",
                  place->image ? run_string(run, run_images(run, NULL)[place->image - 1].path)
                               : NULL);
    json_number(out, "offset", place->offset);
}

void run_json_frame(struct text *out, const struct run *run, uint32_t place, uint32_t frame)
{
    const struct run_frame *row = frame ? &run_frames(run, NULL)[frame - 1] : NULL;
    json_open(out, '{');
    const char *full = row ? run_string(run, row->full) : "";
    run_json_word(out, "function", *full ? full : row ? run_string(run, row->function) : NULL);
    run_json_word(out, "file", row ? run_string(run, row->file) : NULL);
    json_id(out, "line", row ? row->line : 0);
    json_key(out, "inlined");
    json_put_word(out, row && row->is_inlined ? "true" : "false");
    run_json_word(out, "kind", row ? frame_kinds[row->kind] : NULL);
    if (!row)
        put_address(out, run, &run_places(run, NULL)[place - 1]);
    json_close(out, '}');
}

static void put_place(struct text *out, const struct run *run, uint32_t id)
{
    const struct run_place *place = &run_places(run, NULL)[id - 1];
    for (uint32_t i = 0; i < place->nr_frames; i++)
        run_json_frame(out, run, id, place->first_frame + i);
    if (!place->nr_frames)
        run_json_frame(out, run, id, 0);
}

/* Texts of places by id - 1. */
struct places {
    struct text *texts;
    size_t nr, kept_bytes;
};

static void put_frames(struct text *out, const struct run *run, uint32_t node,
                       struct places *places)
{
    const struct run_node *nodes = run_nodes(run, NULL);
    json_key(out, "frames");
    json_open(out, '[');
    for (; node; node = nodes[node - 1].parent) {
        struct text *kept = &places->texts[nodes[node - 1].place - 1];
        if (!kept->length && places->kept_bytes < KEPT_BYTES) {
            put_place(kept, run, nodes[node - 1].place);
            places->kept_bytes += kept->length;
        }
        if (kept->length) {
            if (out->data[out->length - 1] != '[')
                text_append_char(out, ',');
            text_append(out, kept->data, kept->length);
        } else {
            put_place(out, run, nodes[node - 1].place);
        }
    }
    json_close(out, ']');
}

/* --- sites ----------------------------------------------------------------------------------- */

static void put_lifetimes(struct text *out, const struct run *run, uint32_t id)
{
    const struct run_lifetimes *row = id ? &run_lifetimes_rows(run, NULL)[id - 1] : NULL;
    const size_t nr = row ? sizeof(row->buckets) / sizeof(*row->buckets) : 0;
    json_key(out, "lifetimes");
    json_open(out, '[');
    for (size_t i = 0; i < nr; i++)
        json_put_number(out, row->buckets[i]);
    json_close(out, ']');
}

static void put_site(struct run_json *json, uint32_t id, struct places *places)
{
    const struct run_site *site = &run_sites(json->run, NULL)[id - 1];
    const uint32_t group = json->report->sites.of_site[id - 1];
    struct text *out = &json->text;
    json_open(out, '{');
    json_number(out, "id", id);
    put_frames(out, json->run, site->node, places);
    json_id(out, "group", group);
    json_id(out, "type", site->type);
    run_json_word(out, "kind", run_kind_names[site->kind]);
    json_number(out, "allocations", site->allocations);
    json_number(out, "allocated_bytes", site->allocated_bytes);
    json_number(out, "error_bytes", site->error_bytes);
    json_number(out, "frees", site->frees);
    json_number(out, "freed_bytes", site->freed_bytes);
    json_number(out, "live_bytes", site->live_bytes);
    json_number(out, "live_blocks", site->live_blocks);
    json_number(out, "temporary", site->temporary);
    json_number(out, "peak_bytes", site->peak_bytes);
    put_lifetimes(out, json->run, site->lifetimes);
    json_close(out, '}');
}

/* As the text lists their groups: those of the groups that allocated most first. */
void run_json_sites(struct run_json *json)
{
    size_t nr, nr_places, nr_left;
    const uint32_t *of_site = json->report->sites.of_site;
    const size_t top = json->report->options->top;
    run_sites(json->run, &nr);
    run_places(json->run, &nr_places);
    struct places places = {.texts = memory_alloc((nr_places + 1) * sizeof(struct text)),
                            .nr = nr_places};
    nr_left = json->report->sites.sum.nr_stacks;
    nr_left = top && top < nr_left ? top : nr_left;
    json_number(&json->text, "lifetime_tick_ns", run_facts(json->run)->clock_tick_ns);
    json_key(&json->text, "sites");
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr && nr_left; i++) {
        if (!of_site[i])
            continue;
        put_site(json, (uint32_t)i + 1, &places);
        run_json_flush(json, --nr_left > 0);
    }
    json_close(&json->text, ']');
    for (size_t i = 0; i < nr_places; i++)
        text_deinit(&places.texts[i]);
    free(places.texts);
}

/* --- groups ---------------------------------------------------------------------------------- */

static void put_end(struct text *out, const struct run *run, const char *key,
                    const struct run_stack_frame *frame)
{
    json_key(out, key);
    if (frame->place)
        run_json_frame(out, run, frame->place, frame->frame);
    else
        json_put_word(out, "null");
}

static void put_folded(struct text *out, const struct run_stack_parts *code, uint32_t node)
{
    struct run_stack stack;
    run_stack_fold(code, node, &stack);
    json_key(out, "folded");
    json_open(out, '[');
    for (uint32_t i = 0; i < stack.nr_shown; i++)
        run_json_frame(out, code->run, stack.shown[i].place, stack.shown[i].frame);
    json_close(out, ']');
}

static void put_sums(struct text *out, const struct run_site_group *group)
{
    json_number(out, "stacks", group->nr_stacks);
    json_number(out, "allocations", group->allocations);
    json_number(out, "allocated_bytes", group->allocated_bytes);
    json_number(out, "error_bytes", group->error_bytes);
    json_number(out, "frees", group->frees);
    json_number(out, "freed_bytes", group->freed_bytes);
    json_number(out, "live_bytes", group->live_bytes);
    json_number(out, "live_blocks", group->live_blocks);
    json_number(out, "temporary", group->temporary);
    json_number(out, "peak_bytes", group->peak_bytes);
}

static void put_group(struct run_json *json, uint32_t at)
{
    const struct run_site_group *group = &json->report->sites.rows[at];
    struct text *out = &json->text;
    json_open(out, '{');
    json_number(out, "id", at + 1);
    put_end(out, json->run, "own", &group->own);
    put_end(out, json->run, "outside", &group->outside);
    put_folded(out, &json->report->code, run_sites(json->run, NULL)[group->biggest - 1].node);
    run_json_type(out, json->run, group->type);
    json_number(out, "biggest_site", group->biggest);
    put_sums(out, group);
    json_close(out, '}');
}

void run_json_site_groups(struct run_json *json)
{
    const struct run_site_groups *sites = &json->report->sites;
    const size_t top = json->report->options->top;
    const size_t nr = top && top < sites->nr ? top : sites->nr;
    json_key(&json->text, "site_totals");
    json_open(&json->text, '{');
    json_number(&json->text, "places", sites->nr);
    put_sums(&json->text, &sites->sum);
    json_close(&json->text, '}');
    json_key(&json->text, "by_site");
    json_open(&json->text, '[');
    for (size_t i = 0; i < nr; i++) {
        put_group(json, sites->by_allocated[i]);
        run_json_flush(json, i + 1 < nr);
    }
    json_close(&json->text, ']');
}
