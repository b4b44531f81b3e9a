/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* ELF, symbols, DWARF: a file of these bytes, all the way to both reports. */
#include "pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pipeline_run_bytes(data, size);
    return 0;
}
