/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the debug information of a program is: inside, in a separate file (by build id or
 * .gnu_debuglink), in a .dwp package or in .dwo files.  The stage before: a path.  The stage after:
 * index, over one struct dwarf that holds all these files.
 */
#pragma once

#include "program/dwarf.h"

struct source_file {
    const char *role; /* "program", "debug file", "package", "split units" */
    struct elf_file elf;
};

struct debug_source {
    struct source_file **files; /* files[0] is the program itself */
    size_t nr_files, capacity;
    struct elf_file *program; /* = &files[0]->elf */
    struct elf_file *symbols; /* the file with the best symbol table */
    struct dwarf dwarf;
    uint32_t nr_split_wanted; /* units whose DIEs are in other files, and of these ... */
    uint32_t nr_split_found;
    char *missing;         /* name of the first split file that was not found, or NULL */
    char *wrong_debuglink; /* a debug file that was found but is of another build, or NULL */
};

/*
 * Errors: those of elf_file_open for the program, and for `debug_path` where it is given: a file
 * of the same build whose debug info counts instead of the program's.  A debug file that is only
 * named by the program and absent is no error.
 */
MUST_CHECK bool debug_source_open(struct debug_source *source, const char *path,
                                  const char *debug_path, struct error *err);
/* Opens the files of split units and loads all units; may take long. */
void debug_source_load(struct debug_source *source);
void debug_source_close(struct debug_source *source);
