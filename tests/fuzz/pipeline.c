/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/leaf_names.h"
#include "program/index.h"
#include "program/symbolize.h"
#include "report/plan_report.h"
#include "report/types_report.h"

static NO_RETURN void broken(const char *promise)
{
    fprintf(stderr, "pipeline: broken promise: %s\n", promise);
    abort();
}

static FILE *null_stream(void)
{
    static FILE *stream;
    if (!stream)
        stream = fopen("/dev/null", "w");
    if (!stream)
        broken("/dev/null can be opened");
    return stream;
}

static void check_layouts(const struct types_report *report)
{
    for (size_t i = 0; i < report->nr_layouts; i++) {
        const struct future_layout *layout = &report->layouts[i];
        for (uint32_t s = 0; s < layout->nr_states; s++) {
            const struct state_layout *state = &layout->states[s];
            uint64_t sum = state->slot_bytes + state->awaited_bytes + state->dead_upvar_bytes +
                           state->other_states_bytes + state->unexplained_bytes;
            if (sum != layout->future->size_bytes)
                broken("the five shares sum to the size");
            if (state->discriminant_bytes > state->unexplained_bytes)
                broken("the discriminant is part of what is unexplained");
        }
        if (layout->nr_states && layout->fullest >= layout->nr_states)
            broken("the fullest state is a state");
    }
}

static void write_types(const struct future_types *types, const struct types_options *options)
{
    struct types_report report;
    struct display display = {null_stream(), true, 80};
    struct error err = {0};
    types_report_init(&report, "fuzz", types, options);
    check_layouts(&report);
    types_write_text(&report, &display);
    if (!types_write_json(&report, null_stream(), &err))
        broken("JSON of types can be written");
    types_report_deinit(&report);
}

static void name_all(const struct future_types *types)
{
    const struct plan *plan = types->plan;
    struct text name;
    text_init(&name);
    for (uint32_t i = 0; i < plan->nr_types; i++)
        for (int style = NAME_SHORT; style <= NAME_FULL; style++) {
            text_clear(&name);
            names_type(&types->names, plan_string(plan, plan->types[i].name),
                       (enum name_style)style, &name);
            leaf_name(text_str(&name));
        }
    text_deinit(&name);
}

void pipeline_read_plan(const struct loaded_plan *loaded)
{
    static const struct types_options views[] = {
        {0},
        {.all = true, .full_names = true, .sort = TYPES_SORT_NAME},
        {.match = "a", .min_bytes = 2, .sort = TYPES_SORT_WASTE},
    };
    struct future_types types;
    struct display display = {null_stream(), false, 120};
    struct error err = {0};
    future_types_init(&types, &loaded->plan);
    name_all(&types);
    for (size_t i = 0; i < sizeof(views) / sizeof(*views); i++)
        write_types(&types, &views[i]);
    future_types_deinit(&types);
    plan_write_text(loaded, "fuzz", &display);
    if (!plan_write_json(loaded, "fuzz", null_stream(), &err))
        broken("JSON of a plan can be written");
}

/* Frames at the begins of functions and of the units' code, and between. */
static void symbolize_some(const char *path)
{
    struct debug_source source;
    struct symbolizer symbolizer;
    struct frame frames[16];
    if (!debug_source_open(&source, path, NULL, NULL))
        broken("a file that was read can be read again");
    debug_source_load(&source);
    index_load_units(&source.dwarf);
    elf_file_symbols(source.symbols);
    symbolizer_init(&symbolizer, &source);
    for (uint32_t i = 0; i < source.symbols->nr_symbols && i < 64; i++)
        symbolize(&symbolizer, source.symbols->symbols[i].addr + i, frames, 16);
    for (size_t i = 0; i < symbolizer.nr_ranges && i < 64; i++)
        symbolize(&symbolizer, symbolizer.ranges[i].low + 8 * i, frames, 16);
    symbolizer_deinit(&symbolizer);
    debug_source_close(&source);
}

bool pipeline_run(const char *path)
{
    struct plan_request request = {.path = path};
    struct loaded_plan loaded;
    struct error err = {0};
    if (!plan_load(&loaded, &request, &err)) {
        if (err.code != ERROR_INPUT || !err.message[0] || strchr(err.message, '\n'))
            broken("an error is ERROR_INPUT with one line");
        return false;
    }
    pipeline_read_plan(&loaded);
    plan_unload(&loaded);
    symbolize_some(path);
    return true;
}

bool pipeline_run_bytes(const uint8_t *bytes, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0)
        broken("a memory file can be made");
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, bytes + done, size - done);
        if (n <= 0)
            broken("a memory file can be written");
        done += (size_t)n;
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    bool ok = pipeline_run(path);
    close(fd);
    return ok;
}
