/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The plans that the recorder publishes, made ready for walks: which types lead to futures, and where
 * vtables and poll functions are.  Each is made ready once, by the first task that needs it, in mapped
 * memory that stays.
 */
#include "tracer/task_plans.h"

#include <string.h>
#include <sys/mman.h>

enum { MAX_IMAGES = 1024, MAX_TYPES = 4000000 };

static struct task_plan *plans[MAX_IMAGES]; /* by row of REGION_IMAGES */
static struct task_plan none;               /* of an image whose plan cannot be read */

/* --- a set of numbers, each with a row --------------------------------------------------------- */

static unsigned index_log2(uint32_t nr)
{
    unsigned log2 = 4;
    while (log2 < 28 && (1u << log2) < 2 * (nr + 1))
        log2++;
    return log2;
}

static uint32_t index_slot(const struct task_plan_index *index, uint64_t addr)
{
    return (uint32_t)(addr * 0x9e3779b97f4a7c15u >> (64 - index->log2));
}

static void index_put(struct task_plan_index *index, uint64_t addr, uint32_t row)
{
    uint32_t i = index_slot(index, addr), mask = (1u << index->log2) - 1;
    while (addr && index->slots[i].row && index->slots[i].addr != addr)
        i = (i + 1) & mask;
    if (addr && !index->slots[i].row)
        index->slots[i] = (struct task_plan_slot){addr, row, 0};
}

uint32_t task_plan_find(const struct task_plan_index *index, uint64_t addr)
{
    uint32_t i = index_slot(index, addr), mask = (1u << index->log2) - 1;
    while (index->slots[i].row && index->slots[i].addr != addr)
        i = (i + 1) & mask;
    return index->slots[i].row;
}

/* --- making one ready -------------------------------------------------------------------------- */

static void fill(struct task_plan *own)
{
    const struct plan *plan = &own->plan;
    for (uint32_t i = 0; i < plan->nr_vtables; i++)
        if (plan->vtables[i].type.v)
            index_put(&own->vtables, plan->vtables[i].addr, i + 1);
    for (uint32_t i = 0; i < plan->nr_futures; i++)
        if (plan->futures[i].type.v)
            index_put(&own->polls, plan->futures[i].poll_addr, i + 1);
    for (uint32_t i = 0; i < plan->nr_tasks; i++)
        if (!plan->tasks[i].is_other_name)
            index_put(&own->tasks, plan->tasks[i].vtable_addr, i + 1);
}

static struct task_plan *make(const void *bytes, uint64_t size)
{
    struct plan plan;
    const char *problem;
    if (!plan_open(&plan, bytes, size, &problem) || plan.nr_types > MAX_TYPES)
        return &none;
    const uint32_t counts[] = {plan.nr_vtables, plan.nr_futures, plan.nr_tasks};
    size_t need = sizeof(struct task_plan) + plan_walk_bytes(&plan) + 8;
    for (size_t i = 0; i < 3; i++)
        need += sizeof(struct task_plan_slot) << index_log2(counts[i]);
    uint8_t *memory = mmap(NULL, need, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    struct task_plan *own = (struct task_plan *)memory;
    struct task_plan_index *indexes[] = {&own->vtables, &own->polls, &own->tasks};
    own->plan = plan;
    own->mapped_bytes = need;
    memory += sizeof(*own);
    for (size_t i = 0; i < 3; i++) {
        *indexes[i] =
            (struct task_plan_index){(struct task_plan_slot *)memory, index_log2(counts[i])};
        memory += sizeof(struct task_plan_slot) << indexes[i]->log2;
    }
    plan_walk_init(&own->walk, &own->plan, memory);
    fill(own);
    return own;
}

const struct task_plan *task_plan_of(const struct tracer *tracer, uint32_t image)
{
    const struct region_image *row =
        (const struct region_image *)region_table_rows(tracer->region, REGION_IMAGES) + image;
    if (image >= MAX_IMAGES)
        return NULL;
    struct task_plan *known = __atomic_load_n(&plans[image], __ATOMIC_ACQUIRE);
    if (known)
        return known == &none ? NULL : known;
    uint64_t bytes = __atomic_load_n(&row->plan_bytes, __ATOMIC_ACQUIRE); /* with the recorder */
    uint64_t offset = row->plan_offset;
    uint64_t room = tracer->region->tables[REGION_PLANS].max_rows;
    if (!bytes || offset > room || bytes > room - offset)
        return NULL;
    const uint8_t *start = region_table_rows(tracer->region, REGION_PLANS);
    struct task_plan *made = make(start + offset, bytes);
    if (made && !__atomic_compare_exchange_n(&plans[image], &known, made, false, __ATOMIC_RELEASE,
                                             __ATOMIC_ACQUIRE)) {
        if (made != &none)
            munmap(made, made->mapped_bytes);
        made = known;
    }
    return made == &none ? NULL : made;
}

uint32_t task_plan_image_at(const struct tracer *tracer, uint64_t addr)
{
    struct region_header *region = tracer->region;
    const struct region_image *images = region_table_rows(region, REGION_IMAGES);
    uint32_t nr = __atomic_load_n(&region->tables[REGION_IMAGES].nr_rows, __ATOMIC_ACQUIRE);
    for (uint32_t i = 1; i < nr && i < MAX_IMAGES; i++)
        if (addr >= images[i].start && addr < images[i].end && !images[i].unloaded_ns)
            return i;
    return 0;
}

/* --- tokio's cell ------------------------------------------------------------------------------ */

/* The enum below wrappers of one member each. */
static plan_type_id inner_variants(const struct plan *plan, plan_type_id id, uint64_t *offset)
{
    for (int depth = 0; depth < 8 && id.v; depth++) {
        const struct plan_type *type = plan_type(plan, id);
        if (type->kind == PLAN_TYPE_VARIANTS)
            return id;
        if (type->nr_members != 1)
            break;
        *offset += plan_members(plan, type)->offset_bytes;
        id = plan_members(plan, type)->type;
    }
    return (plan_type_id){0};
}

bool task_plan_stage(const struct task_plan *own, uint64_t vtable_offset, struct task_stage *stage)
{
    const struct plan *plan = &own->plan;
    uint32_t row = task_plan_find(&own->tasks, vtable_offset);
    if (!row)
        return false;
    const struct plan_member *core = plan_member_named(plan, plan->tasks[row - 1].cell, "core");
    const struct plan_member *member = core ? plan_member_named(plan, core->type, "stage") : NULL;
    if (!member)
        return false;
    stage->offset = core->offset_bytes + member->offset_bytes;
    stage->type = inner_variants(plan, member->type, &stage->offset);
    return stage->type.v != 0;
}
