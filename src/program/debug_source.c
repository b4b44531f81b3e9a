/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/debug_source.h"

#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "base/map.h"
#include "program/index.h"

static const char *const debug_roots[] = {"/usr/lib/debug", "/usr/local/lib/debug"};

/* Opens one more file; NULL (and nothing kept) when it cannot be read. */
static struct elf_file *add_source(struct debug_source *source, const char *path, const char *role,
                                   struct error *err)
{
    struct source_file *file = memory_alloc(sizeof(*file));
    file->role = role;
    if (!elf_file_open(&file->elf, path, err)) {
        free(file);
        return NULL;
    }
    source->files = array_reserve(source->files, &source->capacity, source->nr_files + 1,
                                  sizeof(struct source_file *));
    source->files[source->nr_files++] = file;
    return &file->elf;
}

static void drop_last_source(struct debug_source *source)
{
    struct source_file *file = source->files[--source->nr_files];
    elf_file_close(&file->elf);
    free(file);
}

static void append_directory(struct text *path, const char *file)
{
    const char *slash = strrchr(file, '/');
    text_append(path, file, slash ? (size_t)(slash - file) + 1 : 0);
}

static bool same_build(const struct elf_file *a, const struct elf_file *b)
{
    return a->build_id_bytes && a->build_id_bytes == b->build_id_bytes &&
           memcmp(a->build_id, b->build_id, a->build_id_bytes) == 0;
}

static uint32_t file_crc(const struct elf_file *elf)
{
    uLong crc = crc32(0, NULL, 0);
    uint64_t left = elf->file.size_bytes;
    for (const uint8_t *at = elf->file.bytes; left;) {
        uInt step = left > (1u << 30) ? 1u << 30 : (uInt)left;
        crc = crc32(crc, at, step);
        at += step;
        left -= step;
    }
    return (uint32_t)crc;
}

/* Tries one debug file; it must be of the same build. */
static bool try_debug_file(struct debug_source *source, const char *path)
{
    if (access(path, R_OK) != 0)
        return false;
    struct elf_file *elf = add_source(source, path, "debug file", NULL);
    if (!elf)
        return false;
    const struct elf_file *program = source->program;
    bool same = program->build_id_bytes && elf->build_id_bytes
                    ? same_build(program, elf)
                    : program->debuglink && file_crc(elf) == program->debuglink_crc;
    if (same && elf->debug[DEBUG_INFO].data)
        return true;
    if (!same && !source->wrong_debuglink)
        source->wrong_debuglink = strdup(path);
    drop_last_source(source);
    return false;
}

static bool find_by_build_id(struct debug_source *source)
{
    const struct elf_file *program = source->program;
    if (program->build_id_bytes < 2)
        return false;
    struct text path;
    text_init(&path);
    bool found = false;
    for (size_t r = 0; r < sizeof(debug_roots) / sizeof(*debug_roots) && !found; r++) {
        text_clear(&path);
        text_printf(&path, "%s/.build-id/%02x/", debug_roots[r], program->build_id[0]);
        for (uint32_t i = 1; i < program->build_id_bytes; i++)
            text_printf(&path, "%02x", program->build_id[i]);
        text_append_str(&path, ".debug");
        found = try_debug_file(source, text_str(&path));
    }
    text_deinit(&path);
    return found;
}

/* The order of gdb: beside the program, in .debug there, below the debug roots. */
static bool find_by_debuglink(struct debug_source *source)
{
    const char *link = source->program->debuglink;
    if (!link)
        return false;
    char *real = realpath(source->program->path, NULL);
    const char *program = real ? real : source->program->path;
    struct text path;
    text_init(&path);
    append_directory(&path, program);
    text_append_str(&path, link);
    bool found = strcmp(text_str(&path), program) != 0 && try_debug_file(source, text_str(&path));
    if (!found) {
        text_clear(&path);
        append_directory(&path, program);
        text_printf(&path, ".debug/%s", link);
        found = try_debug_file(source, text_str(&path));
    }
    for (size_t r = 0; r < sizeof(debug_roots) / sizeof(*debug_roots) && !found; r++) {
        text_clear(&path);
        text_append_str(&path, debug_roots[r]);
        append_directory(&path, program);
        text_append_str(&path, link);
        found = *program == '/' && try_debug_file(source, text_str(&path));
    }
    text_deinit(&path);
    free(real);
    return found;
}

bool debug_source_open(struct debug_source *source, const char *path, const char *debug_path,
                       struct error *err)
{
    *source = (struct debug_source){0};
    dwarf_init(&source->dwarf);
    source->program = add_source(source, path, "program", err);
    bool ok = source->program != NULL;
    if (ok && debug_path)
        ok = add_source(source, debug_path, "debug file", err) != NULL;
    if (!ok) {
        debug_source_close(source);
        return false;
    }
    if (!debug_path && !source->program->debug[DEBUG_INFO].data && !find_by_build_id(source))
        find_by_debuglink(source);
    source->symbols = source->program;
    if (source->nr_files > 1 && !source->program->has_symtab)
        source->symbols = &source->files[1]->elf;
    return true;
}

/* PROGRAM.dwp or DEBUGFILE.dwp; the name of the program may be a link. */
static struct elf_file *find_package(struct debug_source *source)
{
    struct elf_file *found = NULL;
    struct text path;
    text_init(&path);
    for (size_t i = 0; i < source->nr_files && !found; i++) {
        char *real = realpath(source->files[i]->elf.path, NULL);
        const char *names[] = {source->files[i]->elf.path, real};
        for (int n = 0; n < 2 && !found; n++) {
            if (!names[n])
                continue;
            text_clear(&path);
            text_printf(&path, "%s.dwp", names[n]);
            if (access(text_str(&path), R_OK) == 0)
                found = add_source(source, text_str(&path), "package", NULL);
        }
        free(real);
        if (source->files[i]->role[0] == 'p' && i > 0)
            break;
    }
    text_deinit(&path);
    return found;
}

/* Where the compiler left it, and beside the program for one that was moved. */
static struct elf_file *find_dwo(struct debug_source *source, const struct dwarf_unit *unit)
{
    const char *name = unit->dwo_name;
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    struct text path;
    text_init(&path);
    struct elf_file *found = NULL;
    for (int attempt = 0; attempt < 3 && !found; attempt++) {
        text_clear(&path);
        if (attempt == 0) {
            if (*name != '/' && unit->comp_dir)
                text_printf(&path, "%s/", unit->comp_dir);
            text_append_str(&path, name);
        } else {
            append_directory(&path, source->program->path);
            text_printf(&path, "%s%s", attempt == 2 ? "deps/" : "", base);
        }
        if (access(text_str(&path), R_OK) == 0)
            found = add_source(source, text_str(&path), "split units", NULL);
    }
    text_deinit(&path);
    return found;
}

static void add_split_files(struct debug_source *source, struct dwarf_file *plain)
{
    struct elf_file *package = NULL;
    struct map seen; /* names of .dwo files asked for */
    map_init(&seen);
    for (uint32_t i = 0; i < plain->nr_units; i++) {
        const struct dwarf_unit *unit = &plain->units[i];
        if (!unit->dwo_name)
            continue;
        if (!source->nr_split_wanted++) {
            package = find_package(source);
            if (package)
                dwarf_add_file(&source->dwarf, package);
        }
        bool is_new;
        map_put(&seen, hash_str(unit->dwo_name, hash_str(unit->comp_dir ? unit->comp_dir : "", 0)),
                &is_new);
        if (package || !is_new)
            continue;
        struct elf_file *dwo = find_dwo(source, unit);
        if (dwo)
            dwarf_add_file(&source->dwarf, dwo);
        else if (!source->missing)
            source->missing = strdup(unit->dwo_name);
    }
    map_deinit(&seen);
}

void debug_source_load(struct debug_source *source)
{
    struct elf_file *main_file = source->nr_files > 1 ? &source->files[1]->elf : source->program;
    struct dwarf_file *plain = dwarf_add_file(&source->dwarf, main_file);
    if (!plain)
        return;
    index_load_units(&source->dwarf);
    add_split_files(source, plain);
    if (!source->nr_split_wanted)
        return;
    index_load_units(&source->dwarf);
    dwarf_join_split(&source->dwarf);
    for (size_t f = 0; f < source->dwarf.nr_files; f++)
        for (uint32_t i = 0; i < source->dwarf.files[f]->nr_units; i++)
            source->nr_split_found += source->dwarf.files[f]->units[i].skeleton != NULL;
}

void debug_source_close(struct debug_source *source)
{
    dwarf_deinit(&source->dwarf);
    while (source->nr_files)
        drop_last_source(source);
    free(source->files);
    free(source->missing);
    free(source->wrong_debuglink);
    *source = (struct debug_source){0};
}
