/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A recursion of argv[1] frames that allocates on the way down and up, argv[2] times. */
#include <stdio.h>
#include <stdlib.h>

static void *volatile kept;

static void give(size_t bytes)
{
    free(kept);
    kept = malloc(bytes);
}

__attribute__((noinline)) static int descend(int depth)
{
    give((size_t)depth % 100);
    int below = depth ? descend(depth - 1) : 0;
    give(8);
    return below + 1;
}

int main(int argc, char **argv)
{
    int frames = 0;
    for (int i = 0; argc > 2 && i < atoi(argv[2]); i++)
        frames += descend(atoi(argv[1]));
    printf("%d\n", frames);
}
