/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Writes the recording of a run that never was: FILE KEY=NUMBER ... (struct run_sample_size). */
#include <stdio.h>

#include "../unit/run_sample.h"
#include "../unit/unit.h"
#include "model/run_file.h"

int main(int argc, char **argv)
{
    struct run_sample_size size = {
        .seed = 1, .nr_types = 6, .nr_tasks = 60, .nr_sites = 80, .nr_steps = 300, .depth = 24};
    const struct {
        const char *key;
        uint32_t *value;
    } keys[] = {{"types", &size.nr_types},       {"tasks", &size.nr_tasks},
                {"sites", &size.nr_sites},       {"steps", &size.nr_steps},
                {"depth", &size.depth},          {"sampled", &size.is_sampled},
                {"hostile", &size.is_hostile},   {"unknown", &size.is_unknown},
                {"snapshot", &size.has_snapshot}};
    for (int i = 2; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals)
            return 2;
        *equals = 0;
        if (strcmp(argv[i], "seed") == 0)
            size.seed = strtoull(equals + 1, NULL, 10);
        for (size_t j = 0; j < sizeof(keys) / sizeof(*keys); j++)
            if (strcmp(argv[i], keys[j].key) == 0)
                *keys[j].value = (uint32_t)strtoul(equals + 1, NULL, 10);
    }
    struct run run;
    struct error err = {0};
    const char *problem = NULL;
    run_sample(&run, &size);
    bool ok = run_check(&run, &problem);
    if (!ok)
        fprintf(stderr, "the sample is not a run: %s\n", problem);
    ok = ok && argc > 1 && run_file_write(&run, argv[1], &err);
    if (err.code)
        fprintf(stderr, "%s\n", err.message);
    run_deinit(&run);
    return ok ? 0 : 1;
}
