/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The live region as the target has it mapped, copied into a memfd of ours.  The mapping is of
 * terabytes, of which little was ever written: only the used rows of each table are looked at, and of those
 * only pages that the target has touched (/proc/PID/pagemap); reading others would make them.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process/live.h"
#include "process/touched_pages.h"
#include "process/traced_blocks.h"

enum { PAGE_BYTES = 4096, PIECE_BYTES = 1 << 20 };
#define MAX_CLONE_BYTES ((uint64_t)4 << 30)

struct cloning {
    const struct target *target;
    uint64_t start; /* of the region in the target */
    struct touched_pages touched;
    int fd;
    uint8_t *piece;
    uint64_t room;
    const char *problem;
};

static void copy_range(void *context, uint64_t start, uint64_t end)
{
    struct cloning *cloning = context;
    if (end - start > cloning->room)
        cloning->problem = "the live region is too big to be read through the program";
    for (uint64_t at = start; at < end && !cloning->problem;) {
        size_t wanted = end - at < PIECE_BYTES ? end - at : PIECE_BYTES;
        size_t got = live_read(cloning->target, at, cloning->piece, wanted);
        if (got != wanted)
            cloning->problem = "the live region cannot be read through the program";
        else if (pwrite(cloning->fd, cloning->piece, got, (off_t)(at - cloning->start)) !=
                 (ssize_t)got)
            cloning->problem = "no memory for a copy of the live region";
        at += wanted;
        cloning->room -= wanted;
    }
}

/* Offsets in the region. */
static void copy_span(struct cloning *cloning, uint64_t from, uint64_t end)
{
    from &= ~(uint64_t)(PAGE_BYTES - 1);
    end = (end + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    if (from < end && !cloning->problem)
        touched_pages_each(&cloning->touched, cloning->start + from, cloning->start + end,
                           copy_range, cloning);
}

static void copy_table(struct cloning *cloning, const struct region_view *view,
                       enum region_table_id table)
{
    const uint32_t nr = region_nr_rows(view, table);
    copy_span(cloning, region_row_offset(view, table, 0, 0), region_row_offset(view, table, 0, nr));
}

static void copy_tables(struct cloning *cloning, const struct region_view *view)
{
    static const uint8_t tables[] = {REGION_THREADS, REGION_TASKS,     REGION_TYPES,
                                     REGION_NODES,   REGION_SITES,     REGION_IMAGES,
                                     REGION_SLOTS,   REGION_LIVE_INDEX};
    copy_span(cloning, 0, sizeof(struct region_header));
    for (size_t i = 0; i < sizeof(tables); i++)
        copy_table(cloning, view, tables[i]);
    /* Chunks one by one: their ends were mostly never used. */
    const uint32_t nr_chunks = region_nr_rows(view, REGION_LIVE_CHUNKS);
    for (uint32_t i = 1; i < nr_chunks; i++)
        copy_span(cloning, region_row_offset(view, REGION_LIVE_CHUNKS, 0, i),
                  region_row_offset(view, REGION_LIVE_CHUNKS, 0, i + 1));
}

static bool make_file(struct cloning *cloning, uint64_t bytes)
{
    cloning->fd = memfd_create("asyncmem-copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return cloning->fd >= 0 && ftruncate(cloning->fd, (off_t)bytes) == 0 &&
           fcntl(cloning->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0;
}

bool traced_blocks_clone(const struct target *target, const struct traced_blocks *traced, int *fd,
                         struct error *err)
{
    const uint64_t bytes = traced->end - traced->start;
    struct region_header *header = aligned_alloc(64, sizeof(*header));
    struct region_view view;
    struct cloning cloning = {
        .target = target, .start = traced->start, .fd = -1, .room = MAX_CLONE_BYTES};
    bool ok =
        header && live_read(target, traced->start, header, sizeof(*header)) == sizeof(*header);
    if (!ok)
        error_set(err, ERROR_TARGET, "the live region cannot be read through the program");
    /* Only tables' places are looked at, and their numbers of rows, which are in the header. */
    ok = ok && region_view_bytes(&view, header, bytes, err);
    if (ok && !make_file(&cloning, bytes))
        ok = error_set(err, ERROR_TARGET, "no memory for a copy of the live region");
    if (ok) {
        cloning.piece = memory_alloc(PIECE_BYTES);
        touched_pages_open(&cloning.touched, &(struct target){.pid = target->memory_tid});
        cloning.touched.is_strict = true;
        if (cloning.touched.pagemap < 0)
            cloning.problem = "which pages of the live region are used cannot be told";
        copy_tables(&cloning, &view);
        touched_pages_close(&cloning.touched);
        free(cloning.piece);
        if (cloning.problem)
            ok = error_set(err, ERROR_TARGET, "%s", cloning.problem);
    }
    free(header);
    if (!ok && cloning.fd >= 0) {
        close(cloning.fd);
        cloning.fd = -1;
    }
    *fd = cloning.fd;
    return ok;
}
