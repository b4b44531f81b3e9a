/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A library whose calls the dynamic linker binds when they are first made. */
#include <stdint.h>
#include <stdlib.h>

double lazy_scale(double number);
uint64_t lazy_call(uint64_t number);

double lazy_scale(double number)
{
    return number * 4.0;
}

/* Through the linkage table, with arguments in general and in vector registers. */
uint64_t lazy_call(uint64_t number)
{
    return (uint64_t)lazy_scale((double)number + 0.25) + strtoull("4100", NULL, 10);
}
