/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * From a pc to its entry in .eh_frame, by the sorted table of .eh_frame_hdr.  Both are read where the
 * loader mapped them and trusted in nothing: every read stays inside the segment that it began in.
 * No state; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"

enum { UNWIND_MAX_SEGMENTS = 8, UNWIND_REGISTERS = 17, UNWIND_RETURN = 16 };

/* DWARF numbers of the registers that matter here. */
enum { UNWIND_RBX = 3, UNWIND_RBP = 6, UNWIND_RSP = 7 };

/* The tables of one image. */
struct unwind_tables {
    uint64_t start, end; /* of the image */
    const uint8_t *hdr;  /* .eh_frame_hdr; NULL: the image has none */
    uint64_t nr_segments;
    struct unwind_segment {
        const uint8_t *start, *end;
    } segments[UNWIND_MAX_SEGMENTS]; /* readable */
};

/* One function: its entry and the one that it shares with others (CIE). */
struct unwind_entry {
    uint64_t start, end;          /* pcs; end is behind the last */
    const uint8_t *hdr;           /* base of data-relative pointers */
    struct cursor first, program; /* call frame instructions of the CIE, of the FDE */
    uint64_t code_align;
    int64_t data_align;
    uint8_t return_register;
    uint8_t pointer_encoding;
    bool is_signal; /* the caller was interrupted, not called from */
};

/* false: no entry covers pc, or it cannot be read. */
bool unwind_entry_find(const struct unwind_tables *tables, uint64_t pc, struct unwind_entry *entry);

/* A pointer as DW_EH_PE_* encodes it; `base` is for data-relative ones.  Fails the cursor for others. */
uint64_t unwind_pointer(struct cursor *c, uint8_t encoding, const uint8_t *base);
