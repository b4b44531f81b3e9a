/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A traced run, from outside: starts the program with the tracer preloaded, gives it its live region, keeps the
 * clock, samples, answers, packs the recording, and ends when the program ends.  The stage before: cli/cmd_run.
 * The stages after: the recording, of which the report is made.
 *
 * Whatever goes wrong here, the program runs as it would without asyncmem.  What asyncmem itself does with files
 * of unknown content (symbols, plans, snapshots, packing) is done by processes of its own (recorder/helper.h), so
 * that nothing found there can end the one that waits for the program.
 */
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "recording/region.h"

struct recorder_options {
    char **program;     /* the program's name and its arguments, then NULL */
    const char *output; /* NULL: asyncmem.PID.rec in the current folder */
    struct region_options region;
    uint64_t checkpoint_s;
    bool keeps_stdout;                     /* the report goes there */
    void (*tell)(const struct error *err); /* one line for the user */
};

/* How the run ended. */
struct recorder_result {
    int exit_status; /* of the program, or what says why it could not be started */
    int signal;      /* that ended the program; 0: none */
    bool is_init;    /* we are process 1: a signal to ourselves would do nothing */
    char recording
        [32]; /* where its bytes are, also if they could not be written; "": there are none */
    struct text path;   /* of the file; "": none was written (the reason was told) */
    size_t nr_children; /* that were recorded, too: files `path`.PID */
};

/*
 * Runs the program to its end.  False: it was not started (exit_status says why, as env(1) does: 127 not found,
 * 126 it cannot be executed, 125 a failure of ours), and err tells.
 */
MUST_CHECK bool recorder_run(struct recorder_result *result, const struct recorder_options *options,
                             struct error *err);
