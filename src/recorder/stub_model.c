/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "model/run_build.h"
bool __attribute__((weak))
run_build(struct run *run, const struct run_build_input *input, struct error *err)
{
    (void)run;
    (void)input;
    (void)err;
    return true;
}
struct run_symbols *__attribute__((weak)) run_symbols_new(void)
{
    return NULL;
}
