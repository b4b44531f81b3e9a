/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Who allocated what a variable holds, and where: from rows of the live region to tables of the snapshot.  The
 * stages before: process/traced_heap (a block's entry), process/traced_blocks (rows of tasks), model/run_symbols
 * (names of functions).  Only rows that a held block refers to become rows of the snapshot.
 *
 * While a holding is made its origins are a list: blocks of one task and site are one origin.  The region is
 * hostile input: its ids are checked where they are used.
 */
#include <stdlib.h>
#include <string.h>

#include "model/snapshot_part.h"
#include "model/task_kinds.h"

enum { MAX_SITE_NODES = 4096 };

/* Of a holding that is being made. */
struct noted_origin {
    uint32_t next;       /* position + 1; 0: the last */
    uint32_t task, site; /* rows of the region; 0: unknown */
    uint32_t nr_blocks;
    uint64_t requested_bytes;
};

/* One load of an image, with room for what stands in its row. */
struct known_image {
    struct run_code code;
    uint64_t bias;
    char path[REGION_PATH_BYTES + 1];
    uint8_t build_id[REGION_BUILD_ID_BYTES];
};

struct snapshot_making {
    const struct heap_account *heap;
    const struct traced_blocks *traced;
    struct run_symbols *symbols;
    bool has_own_symbols;
    struct noted_origin *noted;
    size_t nr_noted, noted_capacity;
    struct map noted_at;      /* hash of list, task and site -> position + 1 */
    struct map makers, sites; /* row of the region -> id */
    uint64_t *cell_addrs;     /* by maker's position: of its cell; 0 */
    size_t cell_addrs_capacity;
    struct map images; /* row of the region -> position + 1 in known_images */
    struct known_image **known_images;
    size_t nr_images, images_capacity;
};

void snapshot_origins_begin(struct snapshot_building *build, struct run_symbols *symbols)
{
    const struct heap_account *heap = &build->reader->heap;
    if (!heap->is_there || !heap->traced)
        return;
    struct snapshot_making *making = build->making = memory_alloc(sizeof(*making));
    making->heap = heap;
    making->traced = heap->traced;
    making->has_own_symbols = !symbols;
    making->symbols = symbols ? symbols : run_symbols_new();
    map_init(&making->noted_at);
    map_init(&making->makers);
    map_init(&making->sites);
    map_init(&making->images);
}

/* --- who allocated --------------------------------------------------------------------------- */

static snapshot_str thread_name(struct snapshot_building *build, uint32_t row,
                                const struct traced_task *task, uint32_t *tid)
{
    const struct traced_blocks *traced = build->making->traced;
    const struct traced_thread *thread =
        task->thread < traced->nr_threads ? &traced->threads[task->thread] : NULL;
    if (!thread || !thread->tid || thread->task != row)
        return (snapshot_str){0}; /* it has ended; its place may be another's */
    *tid = thread->tid;
    return snapshot_intern(build, thread->name);
}

/* By the vtable, of which the tracer tells the address in its image. */
static snapshot_str future_name(struct snapshot_building *build, const struct traced_task *task)
{
    const struct region_view *view = &build->making->traced->view;
    const struct task_cells *cells = &build->reader->cells;
    const struct region_type *type = region_row(view, REGION_TYPES, task->type);
    const struct region_image *image = type ? region_row(view, REGION_IMAGES, type->image) : NULL;
    const uint32_t kind = image ? task_cells_kind_of(cells, image->bias + type->vtable_offset) : 0;
    if (!kind)
        return (snapshot_str){0};
    const struct image_names *names = &build->images[cells->kinds[kind - 1].plan];
    struct text inside;
    text_init(&inside);
    task_kind_behind_boxes(task_kind_future(names->plan, task_cells_task(cells, kind - 1)),
                           &inside);
    snapshot_str name = snapshot_raw_name(build, names, text_str(&inside), NAME_PATH);
    text_deinit(&inside);
    return name;
}

/* Id of the maker of a task's row; 0: there is none. */
static uint32_t maker_of(struct snapshot_building *build, uint32_t row)
{
    bool is_new;
    struct snapshot_making *making = build->making;
    const struct traced_task *task = traced_blocks_task(making->traced, row);
    if (!task)
        return 0;
    uint32_t *known = map_put(&making->makers, row, &is_new);
    if (!is_new)
        return *known;
    struct snapshot_maker maker = {
        .kind = task->kind == REGION_TASK_CELL ? MAKER_TASK : MAKER_THREAD,
        .run_id = task->id,
        .runtime_task_id = task->kind == REGION_TASK_CELL ? task->runtime_task_id : 0,
    };
    maker.name = maker.kind == MAKER_TASK ? future_name(build, task)
                                          : thread_name(build, row, task, &maker.tid);
    const uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_MAKERS, &maker);
    making->cell_addrs = array_reserve(making->cell_addrs, &making->cell_addrs_capacity, id,
                                       sizeof(*making->cell_addrs));
    making->cell_addrs[id - 1] = maker.kind == MAKER_TASK ? task->cell_addr : 0;
    *map_put(&making->makers, row, NULL) = id;
    return id;
}

/* --- where ------------------------------------------------------------------------------------- */

/* The file that is mapped there opens by another path where the process is in a container. */
static void set_path(const struct snapshot_building *build, const struct region_image *row,
                     struct known_image *image)
{
    const struct target *target = build->reader->target;
    for (size_t i = 0; i < target->nr_images; i++) {
        const struct target_image *own = &target->images[i];
        if (own->bias != image->bias || !own->path || own->end <= row->start ||
            own->start >= row->end)
            continue;
        image->code.path = own->path;
        return;
    }
    image->code.path = image->path;
}

/* NULL: an address in no image. */
static const struct known_image *image_of(struct snapshot_building *build, uint32_t number)
{
    bool is_new;
    struct snapshot_making *making = build->making;
    const struct region_image *row = region_row(&making->traced->view, REGION_IMAGES, number);
    if (!row)
        return NULL;
    uint32_t *known = map_put(&making->images, number, &is_new);
    if (!is_new)
        return making->known_images[*known - 1];
    struct known_image *image = memory_alloc(sizeof(*image));
    memcpy(image->path, row->path, REGION_PATH_BYTES);
    memcpy(image->build_id, row->build_id, sizeof(image->build_id));
    image->bias = row->bias;
    const uint32_t bytes = row->build_id_bytes;
    image->code.build_id = image->build_id;
    image->code.build_id_bytes = bytes < sizeof(image->build_id) ? bytes : sizeof(image->build_id);
    set_path(build, row, image);
    making->known_images = array_reserve(making->known_images, &making->images_capacity,
                                         making->nr_images + 1, sizeof(*making->known_images));
    making->known_images[making->nr_images++] = image;
    *known = (uint32_t)making->nr_images;
    return image;
}

static void add_frame(struct snapshot_building *build, const struct run_symbol_frame *source,
                      struct snapshot_site *site)
{
    if (source->kind == RUN_FRAME_TRACER)
        return;
    const struct snapshot_site_frame row = {
        .function = snapshot_intern(build, source->function),
        .full = snapshot_intern(build, source->full),
        .file = snapshot_intern(build, source->file),
        .line = source->line,
        .kind = source->kind,
        .is_inlined = source->is_inlined,
    };
    const bool is_own = source->kind == RUN_FRAME_USER || source->kind == RUN_FRAME_POLL;
    const uint32_t id = snapshot_add(build->snapshot, SNAPSHOT_SITE_FRAMES, &row);
    site->first_frame = site->nr_frames++ ? site->first_frame : id;
    if (is_own && !site->own)
        site->own = site->nr_frames;
    if ((is_own || source->kind == RUN_FRAME_LIBRARY) && !site->outside)
        site->outside = site->nr_frames;
}

/* The frames of one address, inlined ones too. */
static void add_place(struct snapshot_building *build, const struct region_node *node,
                      struct snapshot_site *site)
{
    uint32_t nr;
    const struct known_image *image = image_of(build, node->image);
    const struct run_symbol_at at = {
        .code = image ? &image->code : NULL,
        .offset = image ? node->pc - image->bias : node->pc,
        .is_exact = node->is_pc_exact & 1,
    };
    const struct run_symbol_frame *frames = run_symbols_find(build->making->symbols, &at, &nr);
    for (uint32_t i = 0; i < nr; i++)
        add_frame(build, &frames[i], site);
}

/* Id of the stack of a site's row; 0: there is none. */
static uint32_t site_of(struct snapshot_building *build, uint32_t row)
{
    bool is_new;
    const struct region_view *view = &build->making->traced->view;
    const struct region_site *source = region_row(view, REGION_SITES, row);
    if (!source)
        return 0;
    uint32_t *known = map_put(&build->making->sites, row, &is_new);
    if (!is_new)
        return *known;
    struct snapshot_site site = {0};
    uint32_t id = source->node;
    for (uint32_t i = 0; i < MAX_SITE_NODES; i++) {
        const struct region_node *node = region_row(view, REGION_NODES, id);
        if (!node)
            break;
        const struct region_node copy = *node;
        add_place(build, &copy, &site);
        if (copy.parent >= id) /* callers come first; damaged ones could be a circle */
            break;
        id = copy.parent;
    }
    return *known = site.nr_frames ? snapshot_add(build->snapshot, SNAPSHOT_SITES, &site) : 0;
}

/* --- origins ----------------------------------------------------------------------------------- */

static const struct traced_block *entry_of(const struct snapshot_making *making, uint32_t block)
{
    const uint32_t entry = making->heap->joined.entries[block];
    return entry ? &making->traced->blocks[entry - 1] : NULL;
}

/* The origin of that task and site in a list. */
static struct noted_origin *find_noted(struct snapshot_making *making, uint32_t *list,
                                       uint32_t task, uint32_t site)
{
    bool is_new = true;
    uint32_t *known = NULL;
    if (*list) {
        known = map_put(&making->noted_at,
                        hash_u64(*list, hash_u64((uint64_t)task << 32 | site, 11)), &is_new);
        if (!is_new)
            return &making->noted[*known - 1];
    }
    making->noted = array_reserve(making->noted, &making->noted_capacity, making->nr_noted + 1,
                                  sizeof(*making->noted));
    struct noted_origin *origin = &making->noted[making->nr_noted++];
    *origin = (struct noted_origin){.task = task, .site = site};
    const uint32_t id = (uint32_t)making->nr_noted;
    if (known) {
        *known = id;
        origin->next = making->noted[*list - 1].next;
        making->noted[*list - 1].next = id;
    } else {
        *list = id;
        *map_put(&making->noted_at, hash_u64(id, hash_u64((uint64_t)task << 32 | site, 11)), NULL) =
            id;
    }
    return origin;
}

void snapshot_origin_note(struct snapshot_building *build, uint32_t *list, uint32_t block)
{
    if (!build->making)
        return;
    const struct traced_block *entry = entry_of(build->making, block);
    struct noted_origin *origin =
        find_noted(build->making, list, entry ? entry->task : 0, entry ? entry->site : 0);
    origin->nr_blocks++;
    origin->requested_bytes = entry ? origin->requested_bytes + entry->bytes : UNKNOWN_BYTES;
}

/* What is not known comes last. */
static int more_bytes_first(const void *a, const void *b)
{
    const struct noted_origin *x = a, *y = b;
    if (!x->task != !y->task)
        return x->task ? -1 : 1;
    if (x->requested_bytes != y->requested_bytes)
        return x->requested_bytes > y->requested_bytes ? -1 : 1;
    if (x->task != y->task)
        return x->task < y->task ? -1 : 1;
    return x->site < y->site ? -1 : x->site > y->site;
}

void snapshot_origins_put(struct snapshot_building *build, uint32_t list, uint32_t holding)
{
    size_t nr = 0;
    const struct snapshot_making *making = build->making;
    for (uint32_t at = list; at; at = making->noted[at - 1].next)
        nr++;
    if (!nr)
        return;
    struct noted_origin *rows = memory_alloc(nr * sizeof(*rows));
    size_t filled = 0;
    for (uint32_t at = list; at; at = making->noted[at - 1].next)
        rows[filled++] = making->noted[at - 1];
    qsort(rows, nr, sizeof(*rows), more_bytes_first);
    for (size_t i = 0; i < nr; i++) {
        const struct snapshot_origin origin = {
            .holding = holding,
            .maker = maker_of(build, rows[i].task),
            .site = site_of(build, rows[i].site),
            .nr_blocks = rows[i].nr_blocks,
            .requested_bytes = rows[i].requested_bytes,
        };
        snapshot_add(build->snapshot, SNAPSHOT_ORIGINS, &origin);
    }
    free(rows);
}

void snapshot_origin_of_task(struct snapshot_building *build, uint32_t block, uint32_t task)
{
    const struct traced_block *entry = block == NO_BLOCK ? NULL : entry_of(build->making, block);
    if (!entry)
        return;
    const struct snapshot_spawn spawn = {
        .task = task, .maker = maker_of(build, entry->task), .site = site_of(build, entry->site)};
    snapshot_add(build->snapshot, SNAPSHOT_SPAWNS, &spawn);
}

/* --- the end ----------------------------------------------------------------------------------- */

/* Tasks that live are tasks of the snapshot: their cells are where the tracer says. */
static void find_tasks(struct snapshot_building *build)
{
    size_t nr;
    const struct task_cells *cells = &build->reader->cells;
    struct snapshot_maker *makers = snapshot_makers(build->snapshot, &nr);
    struct map rows; /* address of a cell -> position + 1 */
    map_init(&rows);
    for (size_t i = 0; i < cells->nr; i++)
        if (build->tasks[i])
            *map_put(&rows, cells->rows[i].addr, NULL) = (uint32_t)i + 1;
    for (size_t i = 0; i < nr; i++) {
        const uint64_t addr = build->making->cell_addrs[i];
        const uint32_t *row = addr ? map_find(&rows, addr) : NULL;
        makers[i].task = row ? build->tasks[*row - 1] : 0;
    }
    map_deinit(&rows);
}

void snapshot_origins_end(struct snapshot_building *build)
{
    struct snapshot_making *making = build->making;
    if (!making)
        return;
    find_tasks(build);
    if (making->has_own_symbols)
        run_symbols_free(making->symbols);
    for (size_t i = 0; i < making->nr_images; i++)
        free(making->known_images[i]);
    free(making->known_images);
    free(making->noted);
    free(making->cell_addrs);
    map_deinit(&making->noted_at);
    map_deinit(&making->makers);
    map_deinit(&making->sites);
    map_deinit(&making->images);
    free(making);
    build->making = NULL;
}
