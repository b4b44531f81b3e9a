/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "recorder/launch_elf.h"

#define LIBRARY_NAME "libasyncmem-trace.so"
#define LIBRARY_VARIABLE "ASYNCMEM_TRACER"

enum { MAX_INTERPRETERS = 5, SCRIPT_BYTES = 256 }; /* as the kernel has them */

/* --- which file ---------------------------------------------------------------------------------- */

static bool is_runnable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* As execvp(3) searches. */
static void find_program(struct text *path, const char *program)
{
    const char *folders = getenv("PATH");
    if (strchr(program, '/') || !*program) {
        text_append_str(path, program);
        return;
    }
    for (const char *at = folders ? folders : "/bin:/usr/bin";; at++) {
        size_t length = strcspn(at, ":");
        text_clear(path);
        text_append(path, at, length);
        text_printf(path, "%s%s", length ? "/" : "", program);
        if (is_runnable(text_str(path)))
            return;
        at += length;
        if (!*at)
            break;
    }
    text_clear(path);
}

/* The interpreter in a script's first line; false: it is none. */
static bool script_interpreter(const char *path, char interpreter[SCRIPT_BYTES])
{
    char line[SCRIPT_BYTES] = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd >= 0 ? read(fd, line, sizeof(line) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (got < 3 || line[0] != '#' || line[1] != '!')
        return false;
    const char *name = line + 2 + strspn(line + 2, " \t");
    size_t length = strcspn(name, " \t\n");
    memcpy(interpreter, name, length);
    interpreter[length] = 0;
    return length > 0;
}

static void find_binary(struct launch *launch)
{
    char interpreter[SCRIPT_BYTES];
    text_append_str(&launch->binary, text_str(&launch->path));
    for (int i = 0; i < MAX_INTERPRETERS; i++) {
        if (!script_interpreter(text_str(&launch->binary), interpreter))
            return;
        text_clear(&launch->binary);
        text_append_str(&launch->binary, interpreter);
    }
}

/* --- whether the tracer can get in --------------------------------------------------------------- */

static bool refuse(struct launch *launch, const char *what, const char *remedy)
{
    snprintf(launch->reason, sizeof(launch->reason), "%s %s", what, remedy);
    return false;
}

/* The kernel drops LD_PRELOAD of others where exec gives more rights than the caller has. */
static bool check_rights(struct launch *launch, const char *path)
{
    struct stat st;
    struct statvfs system;
    char capabilities[64];
    if (geteuid() == 0 || stat(path, &st) != 0 ||
        (statvfs(path, &system) == 0 && system.f_flag & ST_NOSUID))
        return true;
    if ((st.st_mode & S_ISUID && st.st_uid != geteuid()) ||
        ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getegid()))
        return refuse(launch, "is setuid or setgid, and such a program loads no tracer;",
                      "run asyncmem as the program's owner, or trace a copy without that bit");
    if (launch_file_capabilities(path, capabilities, sizeof(capabilities)))
        return refuse(launch, "has file capabilities, and such a program loads no tracer;",
                      "trace a copy of it (cp leaves them out), or run asyncmem as root");
    return true;
}

static const char *const reasons[NR_LAUNCH_KINDS][2] = {
    [LAUNCH_NO_ELF] = {"is no ELF program;", "give the program itself"},
    [LAUNCH_OTHER_MACHINE] = {"is not for x86-64, 64 bits;",
                              "build it for x86_64-unknown-linux-gnu"},
    [LAUNCH_STATIC] = {"is linked statically, which leaves no way in;",
                       "build it without -C target-feature=+crt-static, or use asyncmem snapshot"},
    [LAUNCH_MUSL] = {"is linked with musl, whose loader takes no tracer made for glibc;",
                     "build it for x86_64-unknown-linux-gnu, or use asyncmem snapshot"},
    [LAUNCH_OTHER_LOADER] = {"has a loader that is not glibc's;",
                             "build it for x86_64-unknown-linux-gnu"},
    [LAUNCH_SANITIZER] = {"has a sanitizer's runtime (ASan, TSan, MSan), which wants the allocator "
                          "for itself;",
                          "build it without -Z sanitizer or -fsanitize"},
    [LAUNCH_OWN_MALLOC] =
        {"defines malloc itself, so that its calls never reach a tracer;",
         "for jemalloc leave out the feature unprefixed_malloc_on_supported_platforms"},
    [LAUNCH_GO] = {"is a Go program, which has its own memory and no Rust tasks;",
                   "use Go's own pprof"},
};

static bool check_file(struct launch *launch, const char *path)
{
    enum launch_kind kind = launch_elf_kind(path);
    if (kind == LAUNCH_FITS || kind == LAUNCH_UNREADABLE)
        return true; /* a program that may be run but not read can still be traced */
    return refuse(launch, reasons[kind][0], reasons[kind][1]);
}

/* --- the library --------------------------------------------------------------------------------- */

static bool is_library(const char *path)
{
    return access(path, R_OK) == 0 && launch_elf_kind(path) != LAUNCH_NO_ELF;
}

/* Beside asyncmem, as it is built; or where it is installed. */
static bool find_library(struct text *library)
{
    static const char *const places[] = {"/" LIBRARY_NAME, "/../lib/asyncmem/" LIBRARY_NAME,
                                         "/../lib/x86_64-linux-gnu/asyncmem/" LIBRARY_NAME,
                                         "/../lib64/asyncmem/" LIBRARY_NAME};
    char own[PATH_MAX];
    const char *given = getenv(LIBRARY_VARIABLE);
    if (given && *given) {
        char *real = realpath(given, NULL);
        text_append_str(library, real ? real : given);
        free(real);
        return is_library(text_str(library));
    }
    ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
    if (length <= 0)
        return false;
    own[length] = 0;
    *strrchr(own, '/') = 0;
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        text_clear(library);
        text_printf(library, "%s%s", own, places[i]);
        if (is_library(text_str(library)))
            return true;
    }
    return false;
}

static bool check_library(struct launch *launch)
{
    struct statvfs system;
    const char *path = text_str(&launch->library);
    if (!find_library(&launch->library)) {
        snprintf(launch->reason, sizeof(launch->reason),
                 "cannot be traced: " LIBRARY_NAME
                 " is not beside asyncmem nor in ../lib/asyncmem; install asyncmem whole, or "
                 "name the file in " LIBRARY_VARIABLE);
        return false;
    }
    path = text_str(&launch->library);
    if (strpbrk(path, " :\n\t"))
        return refuse(
            launch, "cannot be traced: the path of " LIBRARY_NAME " has a blank or a colon in it;",
            "install asyncmem elsewhere, or name a copy in " LIBRARY_VARIABLE);
    if (statvfs(path, &system) == 0 && system.f_flag & ST_NOEXEC)
        return refuse(launch,
                      "cannot be traced: " LIBRARY_NAME " lies on a file system without execution;",
                      "install asyncmem elsewhere, or name a copy in " LIBRARY_VARIABLE);
    return true;
}

void launch_look(struct launch *launch, const char *program)
{
    *launch = (struct launch){0};
    find_program(&launch->path, program);
    find_binary(launch);
    const char *binary = text_str(&launch->binary);
    launch->is_traceable = *binary && check_rights(launch, binary) && check_file(launch, binary) &&
                           check_library(launch);
}

void launch_deinit(struct launch *launch)
{
    text_deinit(&launch->path);
    text_deinit(&launch->binary);
    text_deinit(&launch->library);
}
