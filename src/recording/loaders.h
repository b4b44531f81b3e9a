/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Into which programs the tracer's library can be loaded, as recorder/launch_elf.c (elfutils) and
 * tracer/exec_target.c (system calls alone) both ask: what they look for in a program's file.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

/* Names that a runtime of a sanitizer defines, or its users refer to. */
static const char *const loaders_sanitizers[] = {"__asan_init", "__tsan_init", "__msan_init",
                                                 "__hwasan_init", "__dfsan_init"};
enum { LOADERS_NR_SANITIZERS = sizeof(loaders_sanitizers) / sizeof(*loaders_sanitizers) };

/* The file's name in a path. */
static inline const char *loaders_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Is that glibc's?  musl's ends a program whose preloaded library it cannot link. */
static inline bool loaders_is_glibc(const char *path)
{
    const char *name = loaders_name(path);
    return strncmp(name, "ld-linux-x86-64.so.", 19) == 0 || strncmp(name, "ld-2.", 5) == 0;
}
