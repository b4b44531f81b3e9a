/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "traced_world.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void traced_put_block(struct region *region, uint64_t addr, unsigned granule_log2, uint64_t bytes)
{
    uint32_t *index = region_rows(region, REGION_LIVE_INDEX);
    struct region_table *chunks = &region->header->tables[REGION_LIVE_CHUNKS];
    uint32_t *place = &index[addr >> REGION_SPAN_BITS];
    if (!*place)
        *place = chunks->nr_rows++ | granule_log2 << 24;
    granule_log2 = *place >> 24;
    uint8_t *base = region_rows(region, REGION_LIVE_CHUNKS);
    struct region_live *chunk =
        (struct region_live *)(base + (uint64_t)(*place & 0xffffff) * REGION_CHUNK_BYTES);
    struct region_live *entry = &chunk[(addr & ((1u << REGION_SPAN_BITS) - 1)) >> granule_log2];
    __atomic_store_n(&entry->block, bytes | (uint64_t)TRACED_SITE << 40, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->owner,
                     REGION_LIVE_PRESENT | TRACED_TASK |
                         (granule_log2 == 5 && addr & 16 ? REGION_LIVE_HALF : 0),
                     __ATOMIC_RELEASE);
}

void traced_world_start(struct traced_world *world, traced_life *life)
{
    static const struct region_options options = {.stacks = REGION_STACKS_ALL};
    struct error err = {0};
    *world = (struct traced_world){0};
    if (!region_make(&world->region, &options, &err))
        fail_msg("%s", err.message);
    world->region.header->state = REGION_TRACING;
    world->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(world->shared != MAP_FAILED);
    world->child = fork();
    if (!world->child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(world->region.fd);
        if (life)
            life(world);
        __atomic_store_n(&world->shared[TRACED_READY], 1, __ATOMIC_RELEASE);
        while (!__atomic_load_n(&world->shared[TRACED_FINISH], __ATOMIC_ACQUIRE))
            usleep(1000);
        _exit(0);
    }
    assert_true(world->child > 0);
    while (!__atomic_load_n(&world->shared[TRACED_READY], __ATOMIC_ACQUIRE))
        usleep(100);
    if (!target_open(&world->target, world->child, &err))
        fail_msg("%s", err.message);
}

void traced_world_end(struct traced_world *world)
{
    int status = 0;
    target_close(&world->target);
    __atomic_store_n(&world->shared[TRACED_FINISH], 1, __ATOMIC_RELEASE);
    assert_int_equal(waitpid(world->child, &status, 0), world->child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    munmap(world->shared, 4096);
    region_close(&world->region);
}
