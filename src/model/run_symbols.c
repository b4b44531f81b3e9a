/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A file is known by path and build id, so that two loads of it are one.  Strings are kept once, so that
 * who copies frames elsewhere can know them by their pointers.
 */
#include "model/run_symbols.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/memory.h"
#include "model/frame_names.h"

enum { MAX_FRAMES = 512 };

struct code_file {
    const char *path;
    const char *name; /* the last part of it */
    uint8_t build_id[MAX_BUILD_ID_BYTES];
    uint32_t build_id_bytes;
    bool is_open, is_usable;
    struct debug_source source;
    struct symbolizer symbolizer;
};

struct place {
    uint32_t first, nr; /* of `frames` */
};

struct run_symbols {
    struct arena arena;
    struct code_file **files;
    size_t nr_files, files_capacity;
    struct map file_ids; /* hash of path and build id -> position + 1 */
    struct place *places;
    size_t nr_places, places_capacity;
    struct map place_ids; /* hash of file, offset and exactness -> position + 1 */
    struct run_symbol_frame *frames;
    size_t nr_frames, frames_capacity;
    const char **strings;
    size_t nr_strings, strings_capacity;
    struct map string_ids; /* hash -> position + 1 */
    struct text scratch;
};

struct run_symbols *run_symbols_new(void)
{
    struct run_symbols *symbols = memory_alloc(sizeof(*symbols));
    arena_init(&symbols->arena);
    map_init(&symbols->file_ids);
    map_init(&symbols->place_ids);
    map_init(&symbols->string_ids);
    text_init(&symbols->scratch);
    return symbols;
}

void run_symbols_free(struct run_symbols *symbols)
{
    if (!symbols)
        return;
    for (size_t i = 0; i < symbols->nr_files; i++) {
        if (!symbols->files[i]->is_usable)
            continue;
        symbolizer_deinit(&symbols->files[i]->symbolizer);
        debug_source_close(&symbols->files[i]->source);
    }
    map_deinit(&symbols->file_ids);
    map_deinit(&symbols->place_ids);
    map_deinit(&symbols->string_ids);
    text_deinit(&symbols->scratch);
    free(symbols->files);
    free(symbols->places);
    free(symbols->frames);
    free(symbols->strings);
    arena_deinit(&symbols->arena);
    free(symbols);
}

size_t run_symbols_nr_places(const struct run_symbols *symbols)
{
    return symbols->nr_places;
}

static const char *intern(struct run_symbols *symbols, const char *text)
{
    bool is_new;
    if (!text || !*text)
        return "";
    size_t length = strlen(text);
    uint32_t *id = map_put(&symbols->string_ids, hash_bytes(text, length, 0), &is_new);
    if (!is_new)
        return symbols->strings[*id - 1];
    symbols->strings = array_reserve(symbols->strings, &symbols->strings_capacity,
                                     symbols->nr_strings + 1, sizeof(*symbols->strings));
    symbols->strings[symbols->nr_strings++] = arena_strndup(&symbols->arena, text, length);
    *id = (uint32_t)symbols->nr_strings;
    return symbols->strings[*id - 1];
}

/* --- files ----------------------------------------------------------------------------------- */

static bool is_same_build(const struct code_file *file)
{
    const struct elf_file *elf = file->source.program;
    return !file->build_id_bytes ||
           (elf->build_id_bytes == file->build_id_bytes &&
            memcmp(elf->build_id, file->build_id, file->build_id_bytes) == 0);
}

static void open_file(struct code_file *file)
{
    file->is_open = true;
    if (*file->path != '/' || !debug_source_open(&file->source, file->path, NULL, NULL))
        return;
    if (!is_same_build(file)) {
        debug_source_close(&file->source);
        return;
    }
    debug_source_load(&file->source);
    elf_file_symbols(file->source.symbols);
    symbolizer_init(&file->symbolizer, &file->source);
    file->is_usable = true;
}

/* Position + 1; 0: of no file. */
static uint32_t file_of(struct run_symbols *symbols, const struct run_code *code)
{
    bool is_new;
    if (!code)
        return 0;
    uint64_t key = hash_bytes(code->build_id, code->build_id_bytes, hash_str(code->path, 0));
    uint32_t *id = map_put(&symbols->file_ids, key, &is_new);
    if (!is_new)
        return *id;
    struct code_file *file = arena_alloc(&symbols->arena, sizeof(*file));
    const char *slash = strrchr(code->path, '/');
    file->path = intern(symbols, code->path);
    file->name = intern(symbols, slash ? slash + 1 : code->path);
    if (code->build_id_bytes && code->build_id_bytes <= sizeof(file->build_id)) {
        file->build_id_bytes = code->build_id_bytes;
        memcpy(file->build_id, code->build_id, code->build_id_bytes);
    }
    symbols->files = array_reserve(symbols->files, &symbols->files_capacity, symbols->nr_files + 1,
                                   sizeof(*symbols->files));
    symbols->files[symbols->nr_files++] = file;
    return *id = (uint32_t)symbols->nr_files;
}

/* --- places ---------------------------------------------------------------------------------- */

static struct run_symbol_frame *add_frame(struct run_symbols *symbols)
{
    symbols->frames = array_reserve(symbols->frames, &symbols->frames_capacity,
                                    symbols->nr_frames + 1, sizeof(*symbols->frames));
    struct run_symbol_frame *frame = &symbols->frames[symbols->nr_frames++];
    *frame = (struct run_symbol_frame){.function = "", .full = "", .file = ""};
    return frame;
}

/* Of no function: where it is. */
static void add_unknown(struct run_symbols *symbols, const struct code_file *file, uint64_t offset)
{
    struct text *text = &symbols->scratch;
    text_clear(text);
    if (file)
        text_printf(text, "%s+0x%llx", file->name, (unsigned long long)offset);
    else
        text_printf(text, "0x%llx", (unsigned long long)offset);
    const struct frame unknown = {0};
    struct run_symbol_frame *frame = add_frame(symbols);
    frame->function = frame->full = intern(symbols, text_str(text));
    frame->kind = (uint16_t)frame_kind(&unknown, file ? file->path : "");
}

static void add_known(struct run_symbols *symbols, const struct code_file *file,
                      const struct frame *known)
{
    struct run_symbol_frame *frame = add_frame(symbols);
    text_clear(&symbols->scratch);
    frame_short_name(known, &symbols->scratch);
    frame->function = intern(symbols, text_str(&symbols->scratch));
    frame->full = intern(symbols, known->function);
    frame->name = known->name ? intern(symbols, known->name) : NULL;
    /* Of code that is of no line only the function's own file means anything. */
    frame->file =
        intern(symbols, known->line || !known->declared_in ? known->file : known->declared_in);
    frame->line = known->line;
    frame->kind = (uint16_t)frame_kind(known, file->path);
    frame->is_inlined = known->is_inlined;
}

static void look_up(struct run_symbols *symbols, struct code_file *file,
                    const struct run_symbol_at *at)
{
    struct frame frames[MAX_FRAMES];
    uint32_t nr = 0;
    if (file && !file->is_open)
        open_file(file);
    if (file && file->is_usable)
        nr = symbolize(&file->symbolizer, at->offset - !at->is_exact, frames, MAX_FRAMES);
    for (uint32_t i = 0; i < nr && frames[i].function; i++)
        add_known(symbols, file, &frames[i]);
    if (!nr || !frames[0].function)
        add_unknown(symbols, file, at->offset);
    symbols->frames[symbols->nr_frames - 1].is_inlined = 0; /* or into what is not known */
}

const struct run_symbol_frame *run_symbols_find(struct run_symbols *symbols,
                                                const struct run_symbol_at *at, uint32_t *nr)
{
    bool is_new;
    uint32_t file = file_of(symbols, at->code);
    uint64_t key = hash_u64(at->offset, (uint64_t)file << 1 | at->is_exact);
    uint32_t *id = map_put(&symbols->place_ids, key, &is_new);
    if (is_new) {
        struct place place = {.first = (uint32_t)symbols->nr_frames};
        look_up(symbols, file ? symbols->files[file - 1] : NULL, at);
        place.nr = (uint32_t)symbols->nr_frames - place.first;
        symbols->places = array_reserve(symbols->places, &symbols->places_capacity,
                                        symbols->nr_places + 1, sizeof(*symbols->places));
        symbols->places[symbols->nr_places++] = place;
        *id = (uint32_t)symbols->nr_places;
    }
    const struct place *place = &symbols->places[*id - 1];
    *nr = place->nr;
    return &symbols->frames[place->first];
}
