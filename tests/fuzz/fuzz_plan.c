/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A cached plan of these bytes: opened, and, where it opens, read to the end. */
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"

/* Rows may share their parts, so that a small plan can describe a great deal: not what is sought. */
enum { MAX_PLAN_BYTES = 16384 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loaded_plan loaded = {.size_bytes = size, .is_mapped = true};
    const char *problem;
    if (size > MAX_PLAN_BYTES)
        return 0;
    loaded.bytes = malloc(size ? size : 1); /* aligned, and exactly as long */
    if (!loaded.bytes)
        return 0;
    memcpy(loaded.bytes, data, size);
    if (plan_open(&loaded.plan, loaded.bytes, size, &problem))
        pipeline_read_plan(&loaded);
    free(loaded.bytes);
    return 0;
}
