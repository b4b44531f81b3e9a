/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A program that replaces itself (a shell's `exec`, a start script) stays the one that is traced: it gets the
 * words back that were hidden in the environment.  Not so the children, whose first act is an exec as well.
 *
 * These functions are called between fork and exec, too: nothing is allocated but a mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "tracer/environment.h"
#include "tracer/exec_target.h"
#include "tracer/limits.h"
#include "tracer/real.h"
#include "tracer/syscalls.h"
#include "tracer/tracer.h"

#define HOOK __attribute__((visibility("default")))

/* Is what this process becomes to be traced?  Only then its file is looked at. */
static bool is_followed(void)
{
    const struct tracer *tracer = tracer_page;
    return tracer->ready &&
           (tracer->region->follows_children || (uint32_t)sys_getpid() == tracer->pid);
}

/*
 * `envp` for the new program: with our words if it is to be traced.  The replacement is counted as lost before it
 * happens: a program that is traced gets a region of its own, and only one that cannot be leaves this one.
 */
static char *const *environment_for(struct environment *shown, char *const *envp, bool fits)
{
    *shown = (struct environment){0};
    const struct tracer *tracer = tracer_page;
    bool is_itself = tracer->ready && (uint32_t)sys_getpid() == tracer->pid;
    if (!tracer->ready)
        return envp;
    if (!is_followed()) {
        limits_lower(0); /* a child of vfork shares everything but its limits */
        return envp;
    }
    bool is_shown = fits && environment_show(shown, envp);
    if (is_itself || !is_shown)
        lost_add(tracer->region, LOST_EXEC);
    shown->is_counted = is_itself;
    limits_lower(0);
    bool is_changed = is_shown || environment_hide_in(shown, envp);
    return is_changed ? shown->words : envp;
}

/* The program goes on: it could not be replaced. */
static void take_back(struct environment *shown)
{
    if (tracer_page->ready)
        limits_raise();
    if (shown->is_counted)
        __atomic_fetch_sub(&tracer_page->region->lost[LOST_EXEC], 1, __ATOMIC_RELAXED);
    environment_free(shown);
}

static int behind_execve(const char *path, char *const argv[], char *const envp[])
{
    struct environment shown;
    bool fits = is_followed() && exec_target_fits(AT_FDCWD, path, 0);
    int result = real.execve(path, argv, environment_for(&shown, envp, fits));
    take_back(&shown);
    return result;
}

/* With a search in PATH. */
static int behind_execvpe(const char *name, char *const argv[], char *const envp[])
{
    struct environment shown;
    bool fits = is_followed() && exec_target_fits_name(name);
    int result = real.execvpe(name, argv, environment_for(&shown, envp, fits));
    take_back(&shown);
    return result;
}

HOOK int execve(const char *path, char *const argv[], char *const envp[])
{
    return behind_execve(path, argv, envp);
}

HOOK int execv(const char *path, char *const argv[])
{
    return behind_execve(path, argv, environ);
}

HOOK int execvp(const char *name, char *const argv[])
{
    return behind_execvpe(name, argv, environ);
}

HOOK int execvpe(const char *name, char *const argv[], char *const envp[])
{
    return behind_execvpe(name, argv, envp);
}

HOOK int fexecve(int fd, char *const argv[], char *const envp[])
{
    struct environment shown;
    bool fits = is_followed() && exec_target_fits(fd, "", AT_EMPTY_PATH);
    int result = real.fexecve(fd, argv, environment_for(&shown, envp, fits));
    take_back(&shown);
    return result;
}

HOOK int execveat(int folder, const char *path, char *const argv[], char *const envp[], int flags)
{
    struct environment shown;
    bool fits = is_followed() && exec_target_fits(folder, path, flags);
    int result = real.execveat(folder, path, argv, environment_for(&shown, envp, fits), flags);
    take_back(&shown);
    return result;
}

/* --- arguments one by one ---------------------------------------------------------------------------- */

/* Few are on the stack: in a child of vfork a mapping would stay in its parent, as exec does not return. */
struct arguments {
    char **argv;
    size_t bytes; /* mapped; 0: `few` */
    char *few[128];
};

/* Collects what was given; `list` stands behind `first`.  False: no memory. */
static bool collect(struct arguments *arguments, const char *first, va_list list)
{
    va_list counted;
    va_copy(counted, list);
    size_t nr = 1;
    if (first)
        while (va_arg(counted, char *))
            nr++;
    va_end(counted);
    bool is_mapped = nr >= sizeof(arguments->few) / sizeof(*arguments->few);
    arguments->bytes = is_mapped ? (nr + 1) * sizeof(char *) : 0;
    arguments->argv = is_mapped ? sys_map(arguments->bytes, -1) : arguments->few;
    if (!arguments->argv) {
        errno = ENOMEM;
        return false;
    }
    arguments->argv[0] = (char *)first;
    for (size_t i = 1; first && i <= nr; i++)
        arguments->argv[i] = va_arg(list, char *);
    return true;
}

static void drop(struct arguments *arguments)
{
    if (arguments->bytes)
        sys_unmap(arguments->argv, arguments->bytes);
}

HOOK int execl(const char *path, const char *arg, ...)
{
    struct arguments arguments;
    va_list list;
    va_start(list, arg);
    int result = -1;
    if (collect(&arguments, arg, list)) {
        result = behind_execve(path, arguments.argv, environ);
        drop(&arguments);
    }
    va_end(list);
    return result;
}

HOOK int execlp(const char *name, const char *arg, ...)
{
    struct arguments arguments;
    va_list list;
    va_start(list, arg);
    int result = -1;
    if (collect(&arguments, arg, list)) {
        result = behind_execvpe(name, arguments.argv, environ);
        drop(&arguments);
    }
    va_end(list);
    return result;
}

HOOK int execle(const char *path, const char *arg, ...)
{
    struct arguments arguments;
    va_list list;
    va_start(list, arg);
    int result = -1;
    if (collect(&arguments, arg, list)) {
        result = behind_execve(path, arguments.argv, va_arg(list, char *const *));
        drop(&arguments);
    }
    va_end(list);
    return result;
}
