/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Libraries of equal size and different frames, loaded one after the other: mostly to the same addresses.  They
 * allocate in constructors, in functions and in destructors, and call back.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *volatile kept;

/* A library's own function calls it, so that the library is in the middle of the stack. */
__attribute__((visibility("default"), noinline)) void give(long bytes)
{
    void *block = malloc((size_t)(bytes & 255));
    kept = block;
    free(block);
}

int main(int argc, char **argv)
{
    uint64_t seen[64] = {0};
    long same = 0;
    for (int round = 0; round < atoi(argv[1]); round++) {
        for (int i = 2; i < argc; i++) {
            void *library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
            if (!library) {
                fprintf(stderr, "%s\n", dlerror());
                return 2;
            }
            void (*work)(int) = (void (*)(int))dlsym(library, "work");
            work(round % 20);
            for (int j = 0; j < 64; j++)
                same += seen[j] == (uint64_t)work;
            seen[(round * (argc - 2) + i) & 63] = (uint64_t)work;
            dlclose(library);
        }
    }
    printf("%s\n", same ? "same addresses" : "different addresses");
}
