/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "unit.h"

#include "drop_target.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process/heap_part.h"

enum { ROOM_BYTES = 16 << 20, LIMIT_MS = 60000 };

void drop_target_init(struct drop_target *drop)
{
    *drop = (struct drop_target){.blocks.allocator = HEAP_GLIBC};
    /* Below 4 GB, as in a program that is not moved: half a word could be an address. */
    drop->room = mmap(NULL, ROOM_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    assert_true(drop->room != MAP_FAILED);
}

void *drop_target_block(struct drop_target *drop, size_t size_bytes)
{
    size_t size = ((size_bytes < 24 ? 24 : size_bytes) + 7) / 16 * 16 + 8;
    char *block = (char *)drop->room + drop->used_bytes + CHUNK_HEADER_BYTES;
    drop->used_bytes += size + 8;
    assert_true(drop->used_bytes + CHUNK_HEADER_BYTES <= ROOM_BYTES);
    heap_add_block(&drop->blocks, (uint64_t)block, size);
    return block;
}

void drop_target_start(struct drop_target *drop)
{
    struct error err = {0};
    heap_index_build(&drop->blocks);
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    assert_true(child > 0);
    /* Stopped for a moment: the thread's pointer is known then. */
    if (!target_open(&drop->target, child, &err) || !target_stop(&drop->target, LIMIT_MS, &err))
        fail_msg("%s", err.message);
    target_resume(&drop->target);
}

void drop_target_end(struct drop_target *drop)
{
    pid_t child = drop->target.pid;
    if (child) {
        target_close(&drop->target);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    heap_blocks_deinit(&drop->blocks);
    munmap(drop->room, ROOM_BYTES);
    *drop = (struct drop_target){0};
}

uint32_t drop_target_row(const struct drop_target *drop, const void *block)
{
    uint32_t row = heap_blocks_find(&drop->blocks, (uint64_t)block);
    assert_true(row && drop->blocks.rows[row - 1].addr == (uint64_t)block);
    return row - 1;
}
