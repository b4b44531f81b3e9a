/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "analysis/run_select.h"

#include <string.h>

#include "analysis/run_sum.h"

struct selecting {
    const struct run *run;
    const struct run_filter *filter;
    struct run_selection *out;
};

static bool has(const struct selecting *selecting, run_str str)
{
    return strcasestr(run_string(selecting->run, str), selecting->filter->match);
}

static bool *new_bools(size_t nr, bool value)
{
    bool *bools = memory_alloc(nr + 1);
    memset(bools, value, nr + 1);
    return bools;
}

static bool *select_types(const struct selecting *selecting)
{
    size_t nr;
    const struct run_type *types = run_types(selecting->run, &nr);
    bool *chosen = new_bools(nr, !selecting->filter->match);
    for (size_t i = 0; i < nr && selecting->filter->match; i++)
        chosen[i] = has(selecting, types[i].future) || has(selecting, types[i].full) ||
                    has(selecting, types[i].runtime);
    return chosen;
}

/* An await matches with its parents: they come before it. */
static bool *select_awaits(const struct selecting *selecting)
{
    size_t nr;
    const struct run_await *awaits = run_awaits(selecting->run, &nr);
    bool *chosen = new_bools(nr, !selecting->filter->match);
    for (size_t i = 0; i < nr && selecting->filter->match; i++) {
        const struct run_await *await = &awaits[i];
        chosen[i] = (await->parent && chosen[await->parent - 1]) || has(selecting, await->future) ||
                    has(selecting, await->full) || has(selecting, await->file) ||
                    has(selecting, await->waits_for);
    }
    return chosen;
}

static bool task_matches(const struct selecting *selecting, const struct run_task *task)
{
    return (task->type && selecting->out->types[task->type - 1]) ||
           (task->await && selecting->out->awaits[task->await - 1]) ||
           (task->site && selecting->out->sites[task->site - 1]) || has(selecting, task->thread) ||
           has(selecting, task->waits_for);
}

static bool *select_tasks(const struct selecting *selecting)
{
    size_t nr;
    const struct run_task *tasks = run_tasks(selecting->run, &nr);
    const struct run_filter *filter = selecting->filter;
    bool *chosen = new_bools(nr, true);
    for (size_t i = 0; i < nr; i++)
        chosen[i] = (!filter->task || tasks[i].id == filter->task) &&
                    (!filter->match || task_matches(selecting, &tasks[i]));
    return chosen;
}

static bool *select_places(const struct selecting *selecting)
{
    size_t nr;
    const struct run_place *places = run_places(selecting->run, &nr);
    const struct run_frame *frames = run_frames(selecting->run, NULL);
    bool *chosen = new_bools(nr, false);
    for (size_t i = 0; i < nr; i++)
        for (uint32_t j = 0; j < places[i].nr_frames && !chosen[i]; j++) {
            const struct run_frame *frame = &frames[places[i].first_frame - 1 + j];
            chosen[i] = has(selecting, frame->function) || has(selecting, frame->full) ||
                        has(selecting, frame->file);
        }
    return chosen;
}

/* A node matches with its callers. */
static bool *select_nodes(const struct selecting *selecting)
{
    size_t nr;
    const struct run_node *nodes = run_nodes(selecting->run, &nr);
    bool *places = select_places(selecting), *chosen = new_bools(nr, false);
    for (size_t i = 0; i < nr; i++)
        chosen[i] = (nodes[i].parent && chosen[nodes[i].parent - 1]) ||
                    (nodes[i].place && places[nodes[i].place - 1]);
    free(places);
    return chosen;
}

static bool *select_sites(const struct selecting *selecting)
{
    size_t nr;
    const struct run_site *sites = run_sites(selecting->run, &nr);
    bool *chosen = new_bools(nr, !selecting->filter->match);
    if (!selecting->filter->match)
        return chosen;
    bool *nodes = select_nodes(selecting);
    for (size_t i = 0; i < nr; i++)
        chosen[i] = (sites[i].node && nodes[sites[i].node - 1]) ||
                    (sites[i].type && selecting->out->types[sites[i].type - 1]);
    free(nodes);
    return chosen;
}

void run_selection_init(struct run_selection *selection, const struct run *run,
                        const struct run_filter *filter)
{
    const struct selecting selecting = {run, filter, selection};
    selection->is_all = !filter->match && !filter->task;
    selection->types = select_types(&selecting);
    selection->awaits = select_awaits(&selecting);
    selection->sites = select_sites(&selecting);
    selection->tasks = select_tasks(&selecting);
}

void run_selection_deinit(struct run_selection *selection)
{
    free(selection->types);
    free(selection->tasks);
    free(selection->sites);
    free(selection->awaits);
}
