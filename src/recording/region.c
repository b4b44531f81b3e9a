/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Making a region and looking into one (recording/region.h).  The region is sparse: its size is that of all
 * tables at their largest, its memory that of what was written.  It is sealed against change of size, so
 * that no page of a mapping can be missing.
 */
#include "recording/region.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096 };

const uint32_t region_row_bytes[NR_REGION_TABLES] = {
    [REGION_THREADS] = sizeof(struct region_thread),
    [REGION_TASKS] = sizeof(struct region_task),
    [REGION_TYPES] = sizeof(struct region_type),
    [REGION_TYPE_SUMS] = sizeof(struct region_type_sums),
    [REGION_NODES] = sizeof(struct region_node),
    [REGION_SITES] = sizeof(struct region_site),
    [REGION_SITE_COUNTS] = sizeof(struct region_site_counts),
    [REGION_LIFETIMES] = sizeof(struct region_lifetimes),
    [REGION_IMAGES] = sizeof(struct region_image),
    [REGION_SLOTS] = sizeof(struct region_slot),
    [REGION_PLANS] = 1,
    [REGION_AWAITS] = sizeof(struct region_await),
    [REGION_AWAIT_ENDS] = sizeof(struct region_await_end),
    [REGION_LIVE_INDEX] = sizeof(uint32_t),
    [REGION_LIVE_CHUNKS] = REGION_CHUNK_BYTES,
    [REGION_NODE_INDEX] = sizeof(uint32_t),
    [REGION_AWAIT_INDEX] = sizeof(uint32_t),
};

/* A row lies at a multiple of this, so that its fields are aligned. */
static const uint8_t row_align[NR_REGION_TABLES] = {
    [REGION_THREADS] = 8,     [REGION_TASKS] = 64,      [REGION_TYPES] = 8,
    [REGION_TYPE_SUMS] = 8,   [REGION_NODES] = 8,       [REGION_SITES] = 4,
    [REGION_SITE_COUNTS] = 8, [REGION_LIFETIMES] = 4,   [REGION_IMAGES] = 8,
    [REGION_SLOTS] = 8,       [REGION_PLANS] = 1,       [REGION_AWAITS] = 4,
    [REGION_AWAIT_ENDS] = 8,  [REGION_LIVE_INDEX] = 4,  [REGION_LIVE_CHUNKS] = 64,
    [REGION_NODE_INDEX] = 4,  [REGION_AWAIT_INDEX] = 4,
};

/* No size of a program is known that needs more; what is not used costs nothing. */
static const uint64_t most_rows[NR_REGION_TABLES] = {
    [REGION_THREADS] = 1 << 16,
    [REGION_TASKS] = REGION_MAX_ROWS,
    [REGION_TYPES] = 1 << 16,
    [REGION_TYPE_SUMS] = 1 << 16,
    [REGION_NODES] = REGION_MAX_ROWS,
    [REGION_SITES] = REGION_MAX_ROWS,
    [REGION_SITE_COUNTS] = REGION_MAX_ROWS,
    [REGION_LIFETIMES] = REGION_MAX_ROWS,
    [REGION_IMAGES] = 1 << 14,
    [REGION_SLOTS] = 1 << 16,
    [REGION_PLANS] = 1 << 30,
    [REGION_AWAITS] = 1 << 22,
    [REGION_AWAIT_ENDS] = 1 << 22,
    [REGION_LIVE_INDEX] = 1 << (REGION_ADDR_BITS - REGION_SPAN_BITS),
    [REGION_LIVE_CHUNKS] = 1 << 14,
    [REGION_NODE_INDEX] = 1 << 27,
    [REGION_AWAIT_INDEX] = 1 << 24,
};

static bool has_stripes(enum region_table_id table)
{
    return table == REGION_TYPE_SUMS || table == REGION_SITE_COUNTS;
}

static bool is_filled_by_position(enum region_table_id table)
{
    return has_stripes(table) || table == REGION_LIVE_INDEX || table == REGION_NODE_INDEX ||
           table == REGION_AWAIT_INDEX;
}

static uint64_t page_align(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
}

/* --- making ---------------------------------------------------------------------------------- */

/* Places all tables; returns the size of the whole. */
static uint64_t place_tables(struct region_table *tables, const uint64_t *max_rows)
{
    uint64_t offset = page_align(sizeof(struct region_header));
    for (int i = 0; i < NR_REGION_TABLES; i++) {
        struct region_table *table = &tables[i];
        table->offset_bytes = offset;
        table->max_rows = max_rows && max_rows[i] ? max_rows[i] : most_rows[i];
        table->row_bytes = region_row_bytes[i];
        table->stripes = has_stripes(i) ? REGION_STRIPES : 1;
        table->nr_rows = is_filled_by_position(i) ? (uint32_t)table->max_rows : 1;
        offset += page_align(table->max_rows * table->row_bytes * table->stripes);
    }
    tables[REGION_TYPES].nr_rows = 2; /* row 1 is that of threads */
    return offset;
}

static bool make_memory(struct region *region, struct error *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < region->bytes)
        return error_set(err, ERROR_TARGET,
                         "the size of files is limited here (ulimit -f), which leaves no room to "
                         "record; run: ulimit -f unlimited");
    region->fd = memfd_create("asyncmem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->fd < 0)
        return error_set(err, ERROR_TARGET, "no memory to record into: memfd_create: %s",
                         strerror(errno));
    if (ftruncate(region->fd, (off_t)region->bytes) != 0 ||
        fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return error_set(err, ERROR_TARGET, "no memory to record into: %s", strerror(errno));
    void *mapped = mmap(NULL, region->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        region->fd, 0);
    if (mapped == MAP_FAILED)
        return error_set(err, ERROR_TARGET,
                         "no address space to record into (%llu GB): %s; look at ulimit -v",
                         (unsigned long long)(region->bytes >> 30), strerror(errno));
    region->header = mapped;
    madvise(mapped, region->bytes, MADV_DONTDUMP);
    return true;
}

bool region_make(struct region *region, const struct region_options *options, struct error *err)
{
    *region = (struct region){.fd = -1};
    struct region_table tables[NR_REGION_TABLES] = {0};
    region->bytes = place_tables(tables, options->max_rows);
    if (!make_memory(region, err)) {
        region_close(region);
        return false;
    }
    struct region_header *header = region->header;
    memcpy(header->tables, tables, sizeof(tables));
    header->version = REGION_VERSION;
    header->header_bytes = sizeof(*header);
    header->region_bytes = region->bytes;
    header->recorder_pid = (uint32_t)getpid();
    header->stacks = options->stacks;
    header->follows_children = options->follows_children;
    header->sample_bytes = options->sample_bytes ? options->sample_bytes : 512 << 10;
    header->lifetime_tick_ns_log2 = 20;
    header->next_task_id = 1;
    region_clock_begin(region);
    memcpy(header->magic, REGION_MAGIC, sizeof(header->magic));
    return true;
}

void region_close(struct region *region)
{
    if (region->header)
        munmap(region->header, region->bytes);
    if (region->fd >= 0)
        close(region->fd);
    *region = (struct region){.fd = -1};
}

/* --- reading --------------------------------------------------------------------------------- */

/* Checks one table's place, and cuts it where the bytes end. */
static bool check_table(struct region_view *view, enum region_table_id id)
{
    struct region_table *table = &view->tables[id];
    uint64_t row_bytes = table->row_bytes;
    if (row_bytes < region_row_bytes[id] || row_bytes % row_align[id] ||
        table->offset_bytes % PAGE_BYTES || table->max_rows > UINT32_MAX ||
        table->stripes != (has_stripes(id) ? REGION_STRIPES : 1u))
        return false;
    uint64_t bytes = table->max_rows * row_bytes; /* below 2^64: both are of 32 bits */
    if (table->offset_bytes < sizeof(struct region_header))
        return false;
    if (table->offset_bytes <= view->size &&
        bytes <= (view->size - table->offset_bytes) / table->stripes)
        return true;
    view->is_cut = true;
    uint64_t there = table->offset_bytes <= view->size ? view->size - table->offset_bytes : 0;
    if (table->stripes > 1)
        there = 0; /* a stripe's place depends on max_rows */
    table->max_rows = there / row_bytes;
    return true;
}

static bool check_header(struct region_view *view, struct error *err)
{
    const struct region_header *header = view->header;
    if (view->size < sizeof(*header) || memcmp(header->magic, REGION_MAGIC, 8) != 0)
        return error_set(err, ERROR_INPUT, "this is no live region of asyncmem");
    if (header->version != REGION_VERSION || header->header_bytes < sizeof(*header))
        return error_set(err, ERROR_INPUT,
                         "the live region is of another version of asyncmem (%u, here %u); use "
                         "that one",
                         header->version, REGION_VERSION);
    memcpy(view->tables, header->tables, sizeof(view->tables));
    for (int i = 0; i < NR_REGION_TABLES; i++)
        if (!check_table(view, i))
            return error_set(err, ERROR_INPUT, "the live region is damaged: place of table %d", i);
    return true;
}

bool region_view_bytes(struct region_view *view, const void *bytes, uint64_t size,
                       struct error *err)
{
    *view = (struct region_view){.bytes = bytes, .size = size, .header = bytes, .fd = -1};
    return check_header(view, err);
}

bool region_view_fd(struct region_view *view, int fd, struct error *err)
{
    *view = (struct region_view){.fd = fd};
    struct stat status;
    if (fstat(fd, &status) != 0 || status.st_size < (off_t)sizeof(struct region_header))
        return error_set(err, ERROR_INPUT, "this is no live region of asyncmem");
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return error_set(err, ERROR_INPUT, "the live region could become shorter while it is read");
    view->size = (uint64_t)status.st_size;
    void *mapped = mmap(NULL, view->size, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (mapped == MAP_FAILED)
        return error_set(err, ERROR_TARGET, "cannot map the live region: %s", strerror(errno));
    view->bytes = mapped;
    view->header = mapped;
    if (check_header(view, err))
        return true;
    region_view_close(view);
    return false;
}

void region_view_close(struct region_view *view)
{
    if (view->fd >= 0 && view->bytes)
        munmap((void *)view->bytes, view->size);
    *view = (struct region_view){.fd = -1};
}

uint32_t region_nr_rows(const struct region_view *view, enum region_table_id table)
{
    uint32_t nr = __atomic_load_n(&view->header->tables[table].nr_rows, __ATOMIC_ACQUIRE);
    uint64_t max = view->tables[table].max_rows;
    return nr < max ? nr : (uint32_t)max;
}

uint64_t region_row_offset(const struct region_view *view, enum region_table_id table,
                           uint32_t stripe, uint32_t id)
{
    const struct region_table *place = &view->tables[table];
    return place->offset_bytes + (stripe * place->max_rows + id) * place->row_bytes;
}

const void *region_row(const struct region_view *view, enum region_table_id table, uint32_t id)
{
    if (!id || id >= region_nr_rows(view, table))
        return NULL;
    return view->bytes + region_row_offset(view, table, 0, id);
}

const void *region_stripe_row(const struct region_view *view, enum region_table_id table,
                              uint32_t stripe, uint32_t id)
{
    const struct region_table *place = &view->tables[table];
    if (stripe >= place->stripes || id >= place->max_rows)
        return NULL;
    return view->bytes + region_row_offset(view, table, stripe, id);
}

const void *region_plan_bytes(const struct region_view *view, uint64_t offset, uint64_t bytes)
{
    const struct region_table *place = &view->tables[REGION_PLANS];
    uint64_t all = place->max_rows * place->row_bytes;
    if (offset > all || bytes > all - offset)
        return NULL;
    return view->bytes + place->offset_bytes + offset;
}

bool region_data_span(const struct region_view *view, uint64_t from, uint64_t end, uint64_t span[2])
{
    if (end > view->size)
        end = view->size;
    if (from >= end)
        return false;
    span[0] = from;
    span[1] = end;
    if (view->fd < 0)
        return true;
    off_t data = lseek(view->fd, (off_t)from, SEEK_DATA);
    if (data < 0 || (uint64_t)data >= end)
        return false;
    span[0] = (uint64_t)data;
    off_t hole = lseek(view->fd, data, SEEK_HOLE);
    if (hole > data && (uint64_t)hole < end)
        span[1] = (uint64_t)hole;
    return true;
}
