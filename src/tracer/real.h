/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The functions behind ours: those that the program would call without the tracer, be they libc's or another
 * preloaded library's.  Looked up once, at the first call of any.  dlsym allocates where it fails: what it
 * asks for while it runs comes from a small buffer that is never freed.
 */
#pragma once

#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/types.h>

typedef int real_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]);
typedef int real_exec(const char *path, char *const argv[], char *const envp[]);

struct real_functions {
    void *(*malloc)(size_t bytes);
    void *(*calloc)(size_t nr, size_t bytes);
    void *(*realloc)(void *block, size_t bytes);
    void (*free)(void *block);
    int (*posix_memalign)(void **block, size_t align, size_t bytes);
    void *(*aligned_alloc)(size_t align, size_t bytes);
    void *(*memalign)(size_t align, size_t bytes);
    void *(*valloc)(size_t bytes);
    void *(*pvalloc)(size_t bytes);
    /* All that follow are known before anybody may fork: a child must not wait for the loader's lock. */
    real_exec *execve, *execvpe;
    int (*fexecve)(int fd, char *const argv[], char *const envp[]);
    int (*execveat)(int folder, const char *path, char *const argv[], char *const envp[],
                    int flags);
    real_spawn *posix_spawn, *posix_spawnp;
    int (*system)(const char *command);
    FILE *(*popen)(const char *command, const char *mode);
    int (*setrlimit)(int resource, const struct rlimit *limit);
    int (*getrlimit)(int resource, struct rlimit *limit);
    int (*prlimit)(pid_t pid, int resource, const struct rlimit *limit, struct rlimit *old);
    int (*mlockall)(int flags);
    void *vfork, *dlopen, *dlmopen, *dlclose, *dlsym; /* jumped to */
};

extern struct real_functions real __attribute__((visibility("hidden")));

/* Makes `real` whole; false while it is being made further out on this thread's stack (or by another). */
bool real_get(void);
/* True where blocks come from glibc: at most one starts in 32 bytes. */
bool real_is_glibc(void);

/* While `real` is not whole. */
void *real_bump(size_t bytes, size_t align);
bool real_is_bump(const void *block);
/* Bytes from there to the buffer's end: how much may be copied of a block whose size nobody knows. */
size_t real_bump_left(const void *block);
