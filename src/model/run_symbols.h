/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From return addresses to what a reader sees: the functions that are at a place, inlined ones too, each
 * with its names, file, line and what it is good for (enum run_frame_kind).  The stage before:
 * program/symbolize.  The stage after: model/run_build.
 *
 * Made once for a run and asked at each packing: a place is looked up once, however often it is asked for.
 * Files of images are opened when a place of theirs is first asked for; an image whose file is gone, or
 * is of another build by now, gives "libfoo.so+0x1234".  All files are untrusted.  One thread.
 */
#pragma once

#include "model/run.h"

struct run_symbols;

struct run_symbols *run_symbols_new(void);
void run_symbols_free(struct run_symbols *symbols); /* NULL: nothing */

/* A file of code. */
struct run_code {
    const char *path;
    const uint8_t *build_id;
    uint32_t build_id_bytes; /* 0: unknown */
};

/* A place: an address of the image's file (of no image: of the process). */
struct run_symbol_at {
    const struct run_code *code; /* NULL: none */
    uint64_t offset;
    bool is_exact; /* false: a return address; the call is before it */
};

/* A frame of a place; strings live as long as `symbols`, equal ones are the same pointer. */
struct run_symbol_frame {
    const char *function; /* short: "serve_conn" */
    const char *full;     /* demangled, whole */
    const char *name;     /* as in struct frame of program/symbolize.h; NULL: unknown */
    const char *file;     /* "": unknown */
    uint32_t line;
    uint16_t kind; /* enum run_frame_kind */
    uint16_t is_inlined;
};

/* The frames of one place, innermost first, at least one; until the next call. */
const struct run_symbol_frame *run_symbols_find(struct run_symbols *symbols,
                                                const struct run_symbol_at *at, uint32_t *nr);

/* Places that were looked up so far, for tests: it stays when nothing new is asked. */
size_t run_symbols_nr_places(const struct run_symbols *symbols);
