/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From return addresses to what a reader sees: the functions that are at a place, inlined ones too, each
 * with its names, file, line and what it is good for (enum run_frame_kind).  The stage before:
 * program/symbolize.  The stage after: model/run_build.
 *
 * Made once for a run and asked at each packing: a place is looked up when it is first met, and copied
 * from then on.  Files of images are opened when a place of theirs is first asked for; an image whose file is gone or is another
 * by now gives "libfoo.so+0x1234".  All files are untrusted.  One thread.
 */
#pragma once

#include "model/run.h"
#include "plan/plan.h"

struct run_symbols;

struct run_symbols *run_symbols_new(void);
void run_symbols_free(struct run_symbols *symbols); /* NULL: nothing */

/* One load of an image. */
struct run_code {
    const char *path;
    const uint8_t *build_id;
    uint32_t build_id_bytes;
    const struct plan
        *plan; /* its names of impls and its debug file; NULL: none (yet).  Borrowed for the call */
};

/* A place: an address of the image's file (of no image: of the process). */
struct run_symbol_at {
    const struct run_code *code; /* NULL: none */
    uint64_t offset;             /* what to look up: of a return address the byte before it */
};

/* The frames of one place, innermost first, at least one; strings as long as `symbols`. */
struct run_symbol_frame {
    const char *function, *full, *file; /* "": unknown */
    const char *task_future; /* of a task's poll function: its T, as DWARF has it; else NULL */
    uint32_t line;
    uint16_t kind; /* enum run_frame_kind */
    uint16_t is_inlined;
};

const struct run_symbol_frame *run_symbols_find(struct run_symbols *symbols,
                                                const struct run_symbol_at *at, uint32_t *nr);

/* Places that were looked up so far, for tests: it stays when nothing new is asked. */
size_t run_symbols_nr_places(const struct run_symbols *symbols);

/*
 * What kind of frame a function of this demangled path and source file is.  `function` and `file` may be "". */
enum run_frame_kind run_symbols_kind(const char *function, const char *file);
