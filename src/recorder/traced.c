/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/traced.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

struct traced *traced_new(const struct region_options *options, struct clock *clock,
                          struct error *err)
{
    static uint32_t last_generation;
    struct traced *traced = memory_alloc(sizeof(*traced));
    if (!region_make(&traced->region, options, err)) {
        free(traced);
        return NULL;
    }
    if (!region_view_fd(&traced->view, traced->region.fd, err)) {
        region_close(&traced->region);
        free(traced);
        return NULL;
    }
    if (!clock_add(clock, &traced->region)) {
        region_view_close(&traced->view);
        region_close(&traced->region);
        free(traced);
        error_set(err, ERROR_TARGET, "too many programs are traced at once");
        return NULL;
    }
    traced->pid_fd = -1;
    traced->generation = ++last_generation;
    for (int i = 0; i < NR_RUN_SNAPSHOT_WHYS; i++)
        traced->snapshots[i].file = -1;
    traced->is_planned = memory_alloc(traced->view.tables[REGION_IMAGES].max_rows);
    return traced;
}

void traced_set_pid(struct traced *traced, pid_t pid)
{
    traced->pid = pid;
    traced->region.header->pid = (uint32_t)pid;
    sampler_init(&traced->sampler, pid);
}

void traced_start(struct traced *traced, uint32_t nr_execs)
{
    traced->is_given = true;
    traced->region.header->nr_execs = nr_execs;
    image_answers_start(&traced->images, &traced->region, &traced->view, traced->pid);
    traced_look(traced);
}

uint64_t traced_look(struct traced *traced)
{
    uint64_t live = sampler_look(&traced->sampler, &traced->view, traced_now_ns(traced));
    site_peaks_look(&traced->peaks, &traced->view, live);
    return live;
}

void traced_free(struct traced *traced, struct clock *clock)
{
    if (!traced)
        return;
    if (traced->is_given)
        image_answers_stop(&traced->images);
    clock_remove(clock, &traced->region);
    sampler_deinit(&traced->sampler);
    site_peaks_deinit(&traced->peaks);
    for (int i = 0; i < NR_RUN_SNAPSHOT_WHYS; i++)
        if (traced->snapshots[i].file >= 0)
            close(traced->snapshots[i].file);
    if (traced->pid_fd >= 0)
        close(traced->pid_fd);
    region_view_close(&traced->view);
    region_close(&traced->region);
    free(traced->is_planned);
    free(traced);
}

uint64_t traced_now_ns(const struct traced *traced)
{
    return clock_ns(CLOCK_MONOTONIC) - traced->region.started_ns;
}

bool traced_has_content(const struct traced *traced)
{
    return traced->is_given && traced->view.header->state != REGION_NEW &&
           region_nr_rows(&traced->view, REGION_THREADS) > 1;
}
