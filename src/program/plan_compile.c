/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/plan_compile.h"

#include <dwarf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "program/coroutines.h"
#include "program/debug_source.h"
#include "program/impl_names.h"
#include "program/memory_types.h"
#include "program/plan_builder.h"
#include "program/plan_cache.h"
#include "program/symbols_adopt.h"
#include "program/symbols_check.h"
#include "program/tasks.h"

static const char *const remedy =
    "build with debug info (debug = 2 below [profile.release] in Cargo.toml), or give types, "
    "plan or snapshot a rebuild of the same commit that has it with --symbols";

struct compiler {
    const struct plan_request *request;
    struct debug_source source;
    struct program_index index;
    bool gave_up; /* layouts are not complete */
    struct plan_builder builder;
    struct arena arena;
};

static void say(struct compiler *compiler, const char *step)
{
    if (compiler->request->progress)
        compiler->request->progress(compiler->request->context, step);
}

/* --- what could be read and what not --------------------------------------------------------- */

static void set_detail(struct compiler *compiler, enum plan_detail detail, const char *reason)
{
    compiler->builder.facts.detail = detail;
    compiler->builder.facts.detail_reason = plan_builder_string(&compiler->builder, reason);
}

static bool has_task_names(struct plan_builder *builder)
{
    for (size_t i = 1; i <= builder->tables[PLAN_TASKS].nr; i++) {
        const struct plan_task *task = plan_builder_row(builder, PLAN_TASKS, (uint32_t)i);
        if (task->future.v)
            return true;
    }
    return false;
}

/* Split debug info that is not there, or is there and of another build. */
static void explain_split(const struct debug_source *source, struct text *reason)
{
    const char *found = NULL;
    for (size_t i = 1; i < source->nr_files; i++)
        if (source->files[i]->elf.has_split_sections)
            found = source->files[i]->elf.path;
    if (found)
        text_printf(reason,
                    "the split debug info (%s) is of another build; put the right one "
                    "there, or %s",
                    found, remedy);
    else
        text_printf(reason,
                    "the split debug info is missing (%s, and no %s.dwp): put it beside "
                    "the program, or %s",
                    source->missing ? source->missing : "its .dwo files", source->program->path,
                    remedy);
}

/* Why there are no layouts, as one sentence with its remedy. */
static void explain_missing(struct compiler *compiler, struct text *reason)
{
    const struct debug_source *source = &compiler->source;
    const struct elf_file *program = source->program;
    bool has_info = source->dwarf.nr_files > 0;
    if (source->nr_split_wanted > source->nr_split_found)
        explain_split(source, reason);
    else if (source->symbols->unread_debug || program->unread_debug)
        text_printf(reason, "%s; build the program again",
                    program->unread_debug ? program->unread_debug : source->symbols->unread_debug);
    else if (source->wrong_debuglink)
        text_printf(reason, "the debug file %s is of another build; put the right one there, or %s",
                    source->wrong_debuglink, remedy);
    else if (program->debuglink && !has_info)
        text_printf(reason,
                    "the debug file %s that the program names was not found; put it "
                    "beside the program, or %s",
                    program->debuglink, remedy);
    else if (has_info && compiler->index.nr_rust_units)
        text_printf(reason, "the debug info has no types (debug = 1 or line tables only); %s",
                    remedy);
    else if (has_info)
        text_printf(reason, "no part of the debug info is of Rust code; %s", remedy);
    else if (source->symbols->nr_symbols && source->symbols->has_symtab)
        text_printf(reason, "the program has symbols but no debug info (debug = 0); %s", remedy);
    else
        text_printf(reason, "the program is stripped: it has neither debug info nor symbols; %s",
                    remedy);
}

static void decide_detail(struct compiler *compiler)
{
    struct plan_builder *builder = &compiler->builder;
    struct text reason;
    text_init(&reason);
    if (compiler->index.nr_rust_types) {
        set_detail(compiler, PLAN_DETAIL_FULL, NULL);
        if (compiler->source.nr_split_found < compiler->source.nr_split_wanted)
            plan_builder_note(builder,
                              "%u of %u split units are missing or of another build%s%s; "
                              "types that only they have are not shown",
                              compiler->source.nr_split_wanted - compiler->source.nr_split_found,
                              compiler->source.nr_split_wanted,
                              compiler->source.missing ? ", the first: " : "",
                              compiler->source.missing ? compiler->source.missing : "");
    } else {
        explain_missing(compiler, &reason);
        set_detail(compiler,
                   has_task_names(builder) || compiler->source.symbols->has_symtab
                       ? PLAN_DETAIL_NAMES
                       : PLAN_DETAIL_NONE,
                   text_str(&reason));
    }
    text_deinit(&reason);
}

static void note_damage(struct compiler *compiler)
{
    struct plan_builder *builder = &compiler->builder;
    if (compiler->gave_up)
        plan_builder_note(builder, "the debug info nests too deeply: layouts are not complete");
    if (compiler->source.dwarf.nr_corrupt_files)
        plan_builder_note(builder, "the list of units in .debug_info ends early: the debug info "
                                   "is corrupt; build the program again");
    if (compiler->index.nr_unreadable_units)
        plan_builder_note(builder, "%u of %u units of the debug info cannot be read",
                          compiler->index.nr_unreadable_units, compiler->index.nr_units);
    for (size_t i = 0; i < compiler->source.nr_files; i++)
        if (compiler->source.files[i]->elf.unread_debug)
            plan_builder_note(builder, "%s: %s", compiler->source.files[i]->elf.path,
                              compiler->source.files[i]->elf.unread_debug);
}

static void add_sources(struct compiler *compiler)
{
    struct plan_builder *builder = &compiler->builder;
    for (size_t i = 0; i < compiler->source.nr_files; i++)
        plan_builder_source(builder, compiler->source.files[i]->elf.path,
                            compiler->source.files[i]->role);
}

static void format_build_id(const struct elf_file *elf, char hex[2 * MAX_BUILD_ID_BYTES + 1])
{
    hex[0] = 0;
    for (uint32_t i = 0; i < elf->build_id_bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", elf->build_id[i]);
}

static void add_facts(struct compiler *compiler)
{
    struct plan_facts *facts = &compiler->builder.facts;
    const struct elf_file *program = compiler->source.program;
    char hex[2 * MAX_BUILD_ID_BYTES + 1];
    format_build_id(program, hex);
    facts->build_id = plan_builder_string(&compiler->builder, hex);
    facts->machine = program->machine;
    facts->level = compiler->request->level;
    facts->nr_units = compiler->index.nr_units;
    facts->nr_unreadable_units = compiler->index.nr_unreadable_units;
    facts->nr_rust_units = compiler->index.nr_rust_units;
    facts->nr_dies = compiler->index.nr_dies;
    for (size_t f = 0; f < compiler->source.dwarf.nr_files; f++) {
        const struct dwarf_file *file = compiler->source.dwarf.files[f];
        for (int s = 0; s < NR_DEBUG_SECTIONS; s++)
            facts->debug_bytes += file->elf->debug[s].size;
        for (uint32_t i = 0; i < file->nr_units; i++)
            if (file->units[i].version > facts->dwarf_version)
                facts->dwarf_version = file->units[i].version;
    }
}

/* --- compiling ------------------------------------------------------------------------------- */

/* Types, futures and tasks into a fresh builder; again when declared types were found. */
static void compile_types(struct compiler *compiler)
{
    struct layout layout;
    struct coroutines coroutines = {0};
    layout_init(&layout, &compiler->source.dwarf, &compiler->index, &compiler->builder,
                &compiler->arena);
    coroutines_choose(&coroutines, &layout);
    for (int round = 0;; round++) {
        coroutines_compile(&coroutines, &layout, compiler->source.symbols);
        tokio_add_tasks(&layout, &coroutines, compiler->source.program, compiler->source.symbols);
        memory_types_compile(&layout, compiler->request->level);
        if (round == 3 || !layout_resolve_declared(&layout))
            break;
        plan_builder_deinit(&compiler->builder);
        plan_builder_init(&compiler->builder);
        layout_restart(&layout, &compiler->builder);
    }
    for (size_t i = 0; i < coroutines.nr; i++)
        compiler->builder.facts.nr_declared_futures += coroutines.rows[i].env->is_declaration;
    compiler->gave_up = !layout.budget_bytes;
    coroutines_free(&coroutines);
    layout_deinit(&layout);
}

static void compile(struct compiler *compiler)
{
    say(compiler, "finding debug info");
    debug_source_load(&compiler->source);
    elf_file_symbols(compiler->source.symbols);
    say(compiler, "reading debug info");
    index_build(&compiler->index, &compiler->source.dwarf);
    say(compiler, "laying out types");
    compile_types(compiler);
    impl_names_add(&compiler->builder, &compiler->index);
    decide_detail(compiler);
    note_damage(compiler);
    compiler->builder.facts.is_partial = compiler->builder.tables[PLAN_NOTES].nr > 0;
    add_facts(compiler);
    add_sources(compiler);
}

static void compiler_deinit(struct compiler *compiler)
{
    plan_builder_deinit(&compiler->builder);
    index_free(&compiler->index);
    debug_source_close(&compiler->source);
    arena_deinit(&compiler->arena);
}

/* The builder's rows as checked bytes. */
static bool finish(struct compiler *compiler, const char *path, struct loaded_plan *loaded,
                   struct error *err)
{
    uint8_t key[16] = {0};
    const char *problem;
    plan_cache_key(compiler->request, key);
    loaded->bytes = plan_builder_finish(&compiler->builder, key, &loaded->size_bytes);
    if (plan_open(&loaded->plan, loaded->bytes, loaded->size_bytes, &problem))
        return true;
    free(loaded->bytes);
    return error_set(err, ERROR_INPUT,
                     "%s: its debug info cannot be made into a plan (%s); "
                     "build the program again",
                     path, problem);
}

/* The rebuild's rows with the program's addresses. */
static bool adopt(struct compiler *compiler, const struct plan *program, struct error *err)
{
    struct elf_file elf;
    struct symbols_files files = {&elf, compiler->source.program};
    if (!elf_file_open(&elf, compiler->request->path, err))
        return false;
    say(compiler, "matching the rebuild's code");
    elf_file_symbols(&elf);
    elf_file_symbols(compiler->source.program);
    symbols_adopt(&compiler->builder, program, &files);
    elf_file_close(&elf);
    return true;
}

/* A rebuild's plan becomes the program's, if the two agree. */
static bool finish_rebuild(struct compiler *compiler, const struct plan *program,
                           struct loaded_plan *loaded, struct error *err)
{
    const char *path = compiler->request->symbols_path;
    if (!finish(compiler, path, loaded, err))
        return false;
    bool ok = symbols_check(program, compiler->request->path, &loaded->plan, path, err);
    free(loaded->bytes);
    return ok && adopt(compiler, program, err) && finish(compiler, path, loaded, err);
}

/*
 * The plan of one file, as a block of bytes.  `debug_path` (may be NULL) is a debug file of the
 * same build; `program` (may be NULL) the plan of the program of which `path` is a rebuild.
 */
static bool compile_file(const struct plan_request *request, const char *path,
                         const char *debug_path, const struct plan *program,
                         struct loaded_plan *loaded, struct error *err)
{
    struct compiler compiler = {.request = request};
    if (!debug_source_open(&compiler.source, path, debug_path, err))
        return false;
    if (compiler.source.program->type == ET_REL) {
        debug_source_close(&compiler.source);
        return error_set(err, ERROR_INPUT,
                         "%s: is an object file that was not linked; give the "
                         "program or shared library that it went into",
                         path);
    }
    plan_builder_init(&compiler.builder);
    arena_init(&compiler.arena);
    compile(&compiler);
    bool ok = program ? finish_rebuild(&compiler, program, loaded, err)
                      : finish(&compiler, path, loaded, err);
    compiler_deinit(&compiler);
    return ok;
}

/* Has the file the build id of the program's plan?  Errors are left to who reads it next. */
static bool is_same_build(const struct plan *program, const char *path)
{
    struct elf_file elf;
    char hex[2 * MAX_BUILD_ID_BYTES + 1];
    if (!elf_file_open(&elf, path, NULL))
        return false;
    format_build_id(&elf, hex);
    elf_file_close(&elf);
    const char *id = plan_string(program, program->facts->build_id);
    return *id && strcmp(id, hex) == 0;
}

/* Layouts from elsewhere: from a debug file of the same build, or from a rebuild. */
static bool compile_with_symbols(const struct plan_request *request, struct loaded_plan *loaded,
                                 struct error *err)
{
    struct loaded_plan program = {0};
    const char *symbols = request->symbols_path;
    if (!compile_file(request, request->path, NULL, NULL, &program, err))
        return false;
    bool same = is_same_build(&program.plan, symbols);
    bool ok = same ? compile_file(request, request->path, symbols, NULL, loaded, err)
                   : compile_file(request, symbols, NULL, &program.plan, loaded, err);
    free(program.bytes);
    if (ok && same && loaded->plan.facts->detail != PLAN_DETAIL_FULL) {
        error_set(err, ERROR_INPUT, "%s: has no type layouts either: %s", symbols,
                  plan_string(&loaded->plan, loaded->plan.facts->detail_reason));
        free(loaded->bytes);
        return false;
    }
    return ok;
}

static bool is_complete(const struct plan *plan)
{
    return plan->facts->detail == PLAN_DETAIL_FULL && !plan->facts->is_partial;
}

bool plan_load(struct loaded_plan *loaded, const struct plan_request *request, struct error *err)
{
    uint8_t key[16] = {0};
    *loaded = (struct loaded_plan){0};
    if (request->use_cache && plan_cache_find(loaded, request, key))
        return true;
    bool cacheable = request->use_cache && plan_cache_key(request, key);
    bool ok = request->symbols_path ? compile_with_symbols(request, loaded, err)
                                    : compile_file(request, request->path, NULL, NULL, loaded, err);
    if (!ok) {
        *loaded = (struct loaded_plan){0};
        return false;
    }
    /* A plan that lacks something is cheap to make and must not outlive the lack. */
    loaded->is_cacheable = cacheable && is_complete(&loaded->plan);
    if (loaded->is_cacheable)
        plan_cache_store(request, loaded->bytes, loaded->size_bytes);
    return true;
}

void plan_unload(struct loaded_plan *loaded)
{
    if (loaded->is_mapped)
        munmap(loaded->bytes, loaded->size_bytes);
    else
        free(loaded->bytes);
    *loaded = (struct loaded_plan){0};
}
