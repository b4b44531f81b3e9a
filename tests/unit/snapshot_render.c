/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "snapshot_render.h"

#include <stdio.h>

#include "unit.h"

int free_sample(void **state)
{
    snapshot_deinit(*state);
    free(*state);
    return 0;
}

char *render(const struct snapshot *snapshot, const struct snapshot_options *options,
             unsigned columns)
{
    struct snapshot_report report;
    struct error err = {0};
    char *bytes = NULL;
    size_t size;
    struct display display = {.out = open_memstream(&bytes, &size), .columns = columns};
    assert_true(snapshot_report_init(&report, snapshot, options, &err));
    snapshot_write_text(&report, &display);
    snapshot_report_deinit(&report);
    fclose(display.out);
    return bytes;
}

void expect(const struct snapshot *snapshot, const struct snapshot_options *options,
            const char *text)
{
    char *shown = render(snapshot, options, 100);
    assert_string_equal(shown, text);
    free(shown);
}

void expect_line(const struct snapshot *snapshot, const struct snapshot_options *options,
                 const char *line)
{
    char *shown = render(snapshot, options, 100);
    if (!strstr(shown, line))
        fail_msg("no '%s' in:\n%s", line, shown);
    free(shown);
}
