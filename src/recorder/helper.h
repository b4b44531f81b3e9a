/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Processes of the recorder's own for work with content that nobody knows: packing, plans, snapshots.  A helper that
 * crashes, is killed when memory ends, or meets a file that was cut short costs its answer, not the run; the
 * next question starts a new one.  (ptrace wants that, too: a tracer in the process that is the
 * program's parent would take its exit status.)
 *
 * One question at a time: a fixed struct, with file descriptors beside it; one answer: a struct helper_answer and at
 * most one file descriptor.  Helpers end with the recorder.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

enum { HELPER_MAX_FILES = 8, HELPER_QUESTION_BYTES = 192, HELPER_RESERVED = 4 };

struct helper_question {
    uint32_t what; /* the helper's own */
    uint32_t nr_files;
    int files[HELPER_MAX_FILES];
    _Alignas(8) uint8_t bytes[HELPER_QUESTION_BYTES];
};

struct helper_answer {
    uint32_t is_ok;
    int file; /* -1: none; the receiver's to close */
    uint64_t numbers[HELPER_RESERVED];
    char message[512]; /* of a failure */
};

struct helper {
    const char *name;
    /* Answers one question; `state` is NULL at first and the helper's own to set. */
    void (*answer)(const struct helper_question *question, struct helper_answer *answer,
                   void **state);
    pid_t pid; /* 0: does not run */
    int pid_fd, fd;
    bool is_busy;
    uint64_t asked_ns; /* CLOCK_MONOTONIC */
};

/* Starts the helper where it does not run.  False: it is busy or could not be started. */
bool helper_ask(struct helper *helper, const struct helper_question *question);
/* When helper->fd is readable: its answer, or, when it ended, one that says so. */
void helper_take(struct helper *helper, struct helper_answer *answer);
void helper_end(struct helper *helper);
