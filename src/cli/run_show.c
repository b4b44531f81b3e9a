/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "cli/run_show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

bool run_show(const struct run *run, const struct run_show_options *options, FILE *out,
              struct error *err)
{
    struct run_report report;
    bool ok = true;
    if (!run_report_init(&report, run, &options->report, err))
        return false;
    if (options->json) {
        ok = run_write_json(&report, out, err);
    } else {
        struct display display;
        display_init(&display, out, options->colour);
        run_write_text(&report, &display);
    }
    run_report_deinit(&report);
    return ok;
}

bool run_show_file(const struct run *run, const struct run_show_options *options, const char *path,
                   struct error *err)
{
    struct run_show_options plain = *options;
    char *bytes = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&bytes, &size);
    if (!memory)
        return error_set(err, ERROR_INPUT, "%s: %s", path, strerror(errno));
    plain.colour = plain.colour == COLOUR_MODE_AUTO ? COLOUR_MODE_NEVER : plain.colour;
    bool ok = run_show(run, &plain, memory, err);
    fclose(memory);
    ok = ok && file_replace(path, bytes, size, err);
    free(bytes);
    return ok;
}
