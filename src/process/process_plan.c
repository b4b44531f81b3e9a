/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "process/process_plan.h"

void process_plan_init(struct process_plan *own, const struct target_image *image,
                       const struct plan *plan)
{
    *own = (struct process_plan){.image = *image, .plan = plan};
    arena_init(&own->arena);
    struct plan_walk walk;
    plan_walk_init(&walk, plan, arena_alloc(&own->arena, plan_walk_bytes(plan)));
    own->types = walk.types;
    own->states = walk.states;
    map_init(&own->vtables);
    map_init(&own->polls);
    for (uint32_t i = 0; i < plan->nr_vtables; i++)
        if (plan->vtables[i].addr)
            *map_put(&own->vtables, plan->vtables[i].addr, NULL) = i + 1;
    for (uint32_t i = 0; i < plan->nr_futures; i++)
        if (plan->futures[i].poll_addr)
            *map_put(&own->polls, plan->futures[i].poll_addr, NULL) = i + 1;
}

void process_plan_deinit(struct process_plan *own)
{
    map_deinit(&own->vtables);
    map_deinit(&own->polls);
    arena_deinit(&own->arena);
}
