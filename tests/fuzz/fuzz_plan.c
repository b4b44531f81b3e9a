/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A cached plan of these bytes: opened, and, where it opens, read to the end. */
#include <stdlib.h>
#include <string.h>

#include "pipeline.h"
#include "plan_sample.h"

/* Rows may share their parts, so that a small plan can describe a great deal: not what is sought. */
enum { MAX_PLAN_BYTES = 16384 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes over the bytes, exactly as long as they are. */
static void read_plan(void *bytes, uint64_t size)
{
    struct loaded_plan loaded = {.bytes = bytes, .size_bytes = size, .is_mapped = true};
    const char *problem;
    if (plan_open(&loaded.plan, loaded.bytes, size, &problem))
        pipeline_read_plan(&loaded);
    free(bytes);
}

/* Bytes that are no plan are edits of one of today's format: two of an offset, one to put there. */
static void edit_plan(const uint8_t *data, size_t size)
{
    uint64_t plan_bytes;
    uint8_t *bytes = sample_plan(&plan_bytes);
    for (size_t i = 0; i + 3 <= size; i += 3)
        bytes[(data[i] | data[i + 1] << 8) % plan_bytes] = data[i + 2];
    read_plan(bytes, plan_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_PLAN_BYTES)
        return 0;
    edit_plan(data, size);
    if (size < sizeof(PLAN_MAGIC) || memcmp(data, PLAN_MAGIC, strlen(PLAN_MAGIC)) != 0)
        return 0;
    uint8_t *bytes = malloc(size);
    if (bytes)
        read_plan(memcpy(bytes, data, size), size);
    return 0;
}
