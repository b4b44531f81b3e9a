/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Processes that the program makes (tracer/children.h).  fork, daemon and forkpty run the handlers below;
 * vfork, posix_spawn, system and popen run none and are counted on their way in.  A raw clone is not seen; its
 * child is not traced either, since what it would need is wiped.
 */
#include "tracer/children.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "tracer/environment.h"
#include "tracer/exec_target.h"
#include "tracer/limits.h"
#include "tracer/real.h"
#include "tracer/setup.h"
#include "tracer/syscalls.h"

#define HOOK __attribute__((visibility("default")))

static uint32_t follows; /* children are traced too; not wiped */
static uint32_t has_handlers;

static void count_child(void)
{
    const struct tracer *tracer = tracer_page;
    if (tracer->ready && !follows && (uint32_t)sys_getpid() == tracer->pid)
        lost_add(tracer->region, LOST_CHILDREN);
}

/* --- the loader's lock --------------------------------------------------------------------------------- */

/*
 * A thread that was inside dl_iterate_phdr or dlopen while another forked holds the lock of the list of images in
 * the child for ever: glibc does not reset it.  Who sets up the tracer there would wait for it.  Nothing names the
 * lock, but it is found in the loader's data: what this thread holds during a call, and not before.
 */
static const pthread_mutex_t *loader_lock; /* NULL: not found */

static bool is_held_here(const pthread_mutex_t *mutex)
{
    return mutex->__data.__lock && mutex->__data.__count == 1 &&
           mutex->__data.__owner == (int)sys_gettid();
}

struct loader_data {
    const char *start;
    size_t bytes;
};

static int search_lock(struct dl_phdr_info *info, size_t size, void *data)
{
    const struct loader_data *loader = data;
    (void)info, (void)size;
    for (size_t at = 0; at + sizeof(*loader_lock) <= loader->bytes; at += sizeof(void *)) {
        const pthread_mutex_t *mutex = (const void *)(loader->start + at);
        if (is_held_here(mutex))
            loader_lock = mutex;
    }
    return 1;
}

/* The data is asked for first, as that takes the loader's other lock. */
static void find_lock(void)
{
    Dl_info place;
    const ElfW(Sym) *symbol = NULL;
    struct loader_data loader = {.start = dlvsym(RTLD_DEFAULT, "_rtld_global", "GLIBC_PRIVATE")};
    if (!loader.start || !dladdr1(loader.start, &place, (void **)&symbol, RTLD_DL_SYMENT) ||
        !symbol)
        return;
    loader.bytes = symbol->st_size;
    dl_iterate_phdr(search_lock, &loader);
    if (loader_lock && is_held_here(loader_lock))
        loader_lock = NULL; /* something else, that it holds all the time */
}

static void in_child(void)
{
    limits_lower(0);
    bool is_locked = loader_lock && __atomic_load_n(&loader_lock->__data.__lock, __ATOMIC_RELAXED);
    if (follows && !is_locked)
        trace_setup_again();
}

void children_begin(void)
{
    follows = tracer_page->region->follows_children;
    if (follows && !has_handlers)
        find_lock();
    if (!has_handlers)
        has_handlers = pthread_atfork(NULL, count_child, in_child) == 0;
}

/* --- those without handlers -------------------------------------------------------------------------- */

/* It may have begun with our limit; what it does until here is little. */
static void count_spawned(pid_t pid)
{
    count_child();
    if (tracer_page->ready)
        limits_lower(pid);
}

/* The environment for a program that is spawned: one that the tracer does not fit into gets nothing of ours. */
static char *const *without_ours(struct environment *hidden, char *const envp[], bool fits)
{
    *hidden = (struct environment){0};
    if (fits || !environment_hide_in(hidden, envp))
        return envp;
    lost_add(tracer_page->region, LOST_CHILDREN);
    return hidden->words;
}

static int behind_spawn(real_spawn *spawn, bool fits, pid_t *pid, const char *path,
                        const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    pid_t child;
    struct environment hidden;
    int result = spawn(pid ? pid : &child, path, actions, attributes, argv,
                       without_ours(&hidden, envp, fits));
    environment_free(&hidden);
    if (result == 0)
        count_spawned(pid ? *pid : child);
    return result;
}

HOOK int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                     const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    bool fits = !tracer_page->ready || !follows || exec_target_fits(AT_FDCWD, path, 0);
    return behind_spawn(real.posix_spawn, fits, pid, path, actions, attributes, argv, envp);
}

HOOK int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                      const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
    bool fits = !tracer_page->ready || !follows || exec_target_fits_name(path);
    return behind_spawn(real.posix_spawnp, fits, pid, path, actions, attributes, argv, envp);
}

HOOK int system(const char *command)
{
    if (command)
        count_child();
    return real.system(command);
}

HOOK FILE *popen(const char *command, const char *mode)
{
    FILE *stream = real.popen(command, mode);
    if (stream)
        count_child();
    return stream;
}

/* Returns twice, the first time to a stack that its child has used: it must be jumped to. */
static __attribute__((used)) void *vfork_behind(void)
{
    count_child();
    return real.vfork;
}

__asm__(".text\n"
        ".globl vfork\n"
        ".type vfork, @function\n"
        "vfork:\n"
        "    .cfi_startproc\n"
        "    sub $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    call vfork_behind\n"
        "    add $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    jmp *%rax\n"
        "    .cfi_endproc\n"
        ".size vfork, . - vfork\n");
