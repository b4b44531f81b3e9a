/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/snapshot_take.h"

#include <stdlib.h>

#include "model/snapshot_build.h"
#include "program/tasks.h"

/* The images of a target that have tasks, with their plans. */
struct image_plans {
    struct loaded_plan *loaded;
    const struct target_image **images;
    const struct plan **plans;
    size_t nr;
};

static void image_plans_deinit(struct image_plans *plans)
{
    for (size_t i = 0; i < plans->nr; i++)
        plan_unload(&plans->loaded[i]);
    free(plans->loaded);
    free(plans->images);
    free(plans->plans);
}

static bool add_plan(struct image_plans *plans, const struct target_image *image,
                     const struct snapshot_request *request, struct error *err)
{
    struct loaded_plan *loaded = &plans->loaded[plans->nr];
    if (!request->load_plan(request->context, loaded, image, err))
        return false;
    plans->images[plans->nr++] = image;
    return true;
}

/* The program's plan always, those of libraries that have tasks. */
static bool load_plans(struct image_plans *plans, const struct target *target,
                       const struct snapshot_request *request, struct error *err)
{
    if (!target->nr_images)
        return error_set(err, ERROR_INPUT,
                         "%s: does not say which programs were mapped%s: make a core by gcore PID",
                         target->name, target->is_truncated ? " (that is cut off)" : "");
    plans->loaded = memory_alloc((target->nr_images + 1) * sizeof(*plans->loaded));
    plans->images = memory_alloc((target->nr_images + 1) * sizeof(*plans->images));
    plans->plans = memory_alloc((target->nr_images + 1) * sizeof(*plans->plans));
    for (size_t i = 0; i < target->nr_images; i++) {
        const struct target_image *image = &target->images[i];
        if (!image->path) {
            if (image->is_program)
                return error_set(err, target->is_core ? ERROR_INPUT : ERROR_TARGET, "%s: %s",
                                 image->name, image->problem);
            continue;
        }
        if (!image->is_program && !tasks_in_file(image->path))
            continue;
        if (!add_plan(plans, image, request, err)) {
            if (image->is_program)
                return false;
            if (request->warn)
                request->warn(err);
        }
    }
    for (size_t i = 0; i < plans->nr; i++)
        plans->plans[i] = &plans->loaded[i].plan;
    return true;
}

static bool read_and_build(struct snapshot *snapshot, struct target *target,
                           const struct image_plans *plans, const struct snapshot_request *wanted,
                           struct error *err)
{
    struct task_reader reader = {.traced = {.fd = -1, .view = {.fd = -1}}};
    const struct task_request request = {
        .images = plans->images,
        .plans = plans->plans,
        .nr_plans = plans->nr,
        .heap = wanted->heap,
        .region = wanted->region,
    };
    bool ok = task_reader_read(&reader, target, &request, err);
    if (ok)
        snapshot_build(snapshot, &reader, target->nr_images ? target->images[0].name : target->name,
                       wanted->symbols);
    task_reader_deinit(&reader);
    return ok;
}

bool snapshot_take(struct snapshot *snapshot, struct target *target,
                   const struct snapshot_request *request, struct error *err)
{
    struct image_plans plans = {0};
    bool ok = load_plans(&plans, target, request, err) &&
              read_and_build(snapshot, target, &plans, request, err);
    image_plans_deinit(&plans);
    return ok;
}
