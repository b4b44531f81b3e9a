/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What an ELF file says about whether a preloaded tracer fits in.  Files are untrusted; libelf reads them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum launch_kind {
    LAUNCH_FITS,
    LAUNCH_UNREADABLE, /* the file cannot be opened: nobody knows */
    LAUNCH_NO_ELF,
    LAUNCH_OTHER_MACHINE,
    LAUNCH_STATIC,
    LAUNCH_MUSL,
    LAUNCH_OTHER_LOADER,
    LAUNCH_SANITIZER,
    LAUNCH_OWN_MALLOC,
    LAUNCH_GO,
    NR_LAUNCH_KINDS,
};

enum launch_kind launch_elf_kind(const char *path);

/* True where the file has capabilities of its own. */
bool launch_file_capabilities(const char *path, char *bytes, size_t size);
