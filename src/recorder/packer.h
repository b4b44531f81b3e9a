/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The helper that makes the recording: from the live region and what the recorder knows to a file, by rename.  It
 * keeps its symbols and plans from one checkpoint to the next.  The stage before: recorder/checkpoint; the stage
 * after: model/run_build.
 */
#pragma once

#include "recorder/helper.h"

enum { PACK_MAX_SNAPSHOTS = 3, PACK_REGION_FILE = 0, PACK_INPUT_FILE = 1, PACK_FIRST_SNAPSHOT };

struct pack_snapshot {
    uint64_t t_ns, live_bytes;
    uint32_t why; /* enum run_snapshot_why */
    uint32_t reserved;
};

/* At the beginning of the file PACK_INPUT_FILE; then steps, bytes of types, of sites, strings each with its NUL: the path of the
 * recording, the program, the command, the notes. */
struct pack_input {
    uint32_t pid;
    uint32_t ended_by; /* enum run_ended_by */
    int32_t exit_status;
    uint32_t is_final; /* wait for plans; where the file cannot be written, give its bytes */
    int64_t ended_at_ns;
    uint64_t peak_rss_bytes;
    uint32_t nr_steps, nr_step_types, nr_notes, nr_snapshots;
    uint64_t nr_site_peaks;
    uint64_t string_bytes;
    struct pack_snapshot snapshots[PACK_MAX_SNAPSHOTS];
};

/* Of struct helper.  The answer's number 0: bytes of the recording.  Its file: see is_final. */
void packer_answer(const struct helper_question *question, struct helper_answer *answer,
                   void **state);
