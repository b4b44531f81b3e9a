/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The functions behind ours (tracer/real.h). */
#include "tracer/real.h"

#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "tracer/syscalls.h"

enum { BUMP_BYTES = 16384 };
enum phase { UNKNOWN, LOOKING, KNOWN };

struct real_functions real;
static uint32_t phase; /* enum phase; atomic */
static char bump[BUMP_BYTES] __attribute__((aligned(64)));
static size_t bump_used; /* atomic */

/* glibc's own malloc, under the name that nobody replaces. */
extern void *__libc_malloc(size_t bytes);

bool real_is_glibc(void)
{
    return real.malloc == __libc_malloc;
}

typedef void *dlsym_function(void *handle, const char *name);

/* dlsym itself is replaced too, so it is asked for by its version: of glibc before 2.34, or since. */
static dlsym_function *find_dlsym(void)
{
    void *found = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    return (dlsym_function *)(found ? found : dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5"));
}

/* A name, and where its function goes. */
struct wanted {
    const char *name;
    void *to;
};

static void find_all(void)
{
    const struct wanted wanted[] = {
        {"malloc", &real.malloc},
        {"calloc", &real.calloc},
        {"realloc", &real.realloc},
        {"free", &real.free},
        {"posix_memalign", &real.posix_memalign},
        {"aligned_alloc", &real.aligned_alloc},
        {"memalign", &real.memalign},
        {"valloc", &real.valloc},
        {"pvalloc", &real.pvalloc},
        {"execve", &real.execve},
        {"execvpe", &real.execvpe},
        {"fexecve", &real.fexecve},
        {"execveat", &real.execveat},
        {"posix_spawn", &real.posix_spawn},
        {"posix_spawnp", &real.posix_spawnp},
        {"system", &real.system},
        {"popen", &real.popen},
        {"setrlimit", &real.setrlimit},
        {"getrlimit", &real.getrlimit},
        {"prlimit", &real.prlimit},
        {"mlockall", &real.mlockall},
        {"vfork", &real.vfork},
        {"dlopen", &real.dlopen},
        {"dlmopen", &real.dlmopen},
        {"dlclose", &real.dlclose},
    };
    dlsym_function *find = find_dlsym();
    real.dlsym = (void *)find;
    for (size_t i = 0; find && i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        void *function = find(RTLD_NEXT, wanted[i].name);
        memcpy(wanted[i].to, &function, sizeof(function));
    }
}

bool real_get(void)
{
    uint32_t seen = __atomic_load_n(&phase, __ATOMIC_ACQUIRE); /* pairs with the store below */
    if (seen == KNOWN)
        return true;
    if (seen != UNKNOWN || !__atomic_compare_exchange_n(&phase, &seen, LOOKING, false,
                                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    find_all();
    __atomic_store_n(&phase, KNOWN, __ATOMIC_RELEASE);
    return true;
}

void *real_bump(size_t bytes, size_t align)
{
    if (bytes > BUMP_BYTES || align > 4096)
        return NULL;
    size_t used = __atomic_load_n(&bump_used, __ATOMIC_RELAXED);
    size_t start, end;
    do {
        start = (((uintptr_t)bump + used + align - 1) & ~(align - 1)) - (uintptr_t)bump;
        end = start + ((bytes + 15) & ~(size_t)15);
        if (end > BUMP_BYTES)
            return NULL;
    } while (!__atomic_compare_exchange_n(&bump_used, &used, end, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return bump + start;
}

bool real_is_bump(const void *block)
{
    return (const char *)block >= bump && (const char *)block < bump + BUMP_BYTES;
}

size_t real_bump_left(const void *block)
{
    return (size_t)(bump + BUMP_BYTES - (const char *)block);
}
