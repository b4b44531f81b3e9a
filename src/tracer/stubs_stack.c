/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Stands in for tracer/stack.c until that is there: every stack is its innermost frame. */
#include "tracer/stack.h"

#pragma weak stack_memory_bytes
#pragma weak stack_memory_init
#pragma weak stack_site

size_t stack_memory_bytes(void)
{
    return 64;
}

void stack_memory_init(struct stack_memory *memory)
{
    (void)memory;
}

uint32_t stack_site(struct trace_thread *thread, const struct stack_start *start)
{
    (void)thread;
    return (uint32_t)(start->pc & 0xff) + 1;
}
