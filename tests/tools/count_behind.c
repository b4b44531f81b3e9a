/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A library to be preloaded behind the tracer: counts what arrives there, and writes the counts to the file named in
 * COUNT_BEHIND when the program exits (or a signal handler calls count_behind_write).  The tracer must have
 * counted the same.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t nr, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void __libc_free(void *block);
extern void *__libc_memalign(size_t align, size_t bytes);

static atomic_ullong allocations, allocated_bytes, frees;

static void *made(void *block, size_t bytes)
{
    if (block) {
        allocations++;
        allocated_bytes += bytes;
    }
    return block;
}

void *malloc(size_t bytes)
{
    return made(__libc_malloc(bytes), bytes);
}

void *calloc(size_t nr, size_t bytes)
{
    return made(__libc_calloc(nr, bytes), nr * bytes);
}

void free(void *block)
{
    frees += block != NULL;
    __libc_free(block);
}

void *realloc(void *old, size_t bytes)
{
    void *block = __libc_realloc(old, bytes);
    frees += old && (block || !bytes);
    return made(block, bytes);
}

void *memalign(size_t align, size_t bytes)
{
    return made(__libc_memalign(align, bytes), bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    return made(__libc_memalign(align, bytes), bytes);
}

int posix_memalign(void **block, size_t align, size_t bytes)
{
    *block = made(__libc_memalign(align, bytes), bytes);
    return *block ? 0 : 12;
}

__attribute__((destructor)) void count_behind_write(void)
{
    const char *path = getenv("COUNT_BEHIND");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    char text[128];
    int length =
        snprintf(text, sizeof(text), "%llu %llu %llu\n", allocations, allocated_bytes, frees);
    if (fd >= 0 && write(fd, text, (size_t)length) == length)
        close(fd);
}
