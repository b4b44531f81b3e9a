/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A library for plugins.c.  FRAME: bytes of its functions' frames; KIND: what frames they are. */
#include <alloca.h>
#include <stdlib.h>

void give(long bytes);
void work(int depth);

static void *volatile kept;

__attribute__((noinline)) static int descend(int depth)
{
#if KIND == 1
    _Alignas(64) volatile char bytes[FRAME];
#elif KIND == 2
    volatile char *bytes = alloca((size_t)(FRAME + depth));
#else
    volatile char bytes[FRAME];
#endif
    bytes[FRAME - 1] = (char)depth;
    kept = malloc((size_t)depth + 1);
    free(kept);
    give(depth);
    return depth ? descend(depth - 1) + bytes[FRAME - 1] : 0;
}

void work(int depth)
{
    give(descend(depth));
}

__attribute__((constructor)) static void begin(void)
{
    give(descend(3));
}

__attribute__((destructor)) static void end(void)
{
    give(descend(2));
}
