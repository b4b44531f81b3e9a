/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* A program that is copied again and again, and watches itself: does anything show? */
#pragma once

#include <stdint.h>
#include <sys/types.h>

enum subject_work {
    WORK_PIPE,
    WORK_SLEEP,
    WORK_FUTEX,
    WORK_POLL,
    WORK_EPOLL,
    WORK_VECTORS,
    WORK_SIGNALS,
    WORK_THREADS,
    WORK_WAITPID,
    WORK_WORDS,
    NR_WORKS,
};

enum {
    NR_WORDS = 64 * 512, /* 64 pages of counters */
    SPECIAL_BYTES = 8 * 4096,
};

enum subject_special { /* memory that a child has not, or otherwise */
                       SPECIAL_SHARED,
                       SPECIAL_SHARED_FILE,
                       SPECIAL_DONTFORK,
                       SPECIAL_WIPEONFORK,
                       SPECIAL_WIPED_LATE, /* its first pages were never touched */
                       SPECIAL_PRIVATE_FILE,
                       SPECIAL_NO_ACCESS,
                       NR_SPECIALS,
};

/* Shared with the test. */
struct subject {
    volatile uint64_t ready;
    volatile uint64_t finish;
    volatile uint64_t rounds[NR_WORKS];
    volatile uint64_t errors[NR_WORKS];
    volatile uint64_t child_signals; /* SIGCHLD handlers that ran */
    volatile uint64_t interrupted;   /* EINTR of epoll, which any stop makes */
    volatile uint64_t sent, received;
    volatile uint64_t pid;
    volatile uint64_t tids[NR_WORKS];
    uint64_t works;   /* a bit for each that shall run */
    uint64_t is_busy; /* the first thread computes, instead of sleeping */
};

extern struct subject *subject;
extern volatile uint64_t subject_words[NR_WORDS]; /* counted up one after the other */
extern uint8_t *subject_specials[NR_SPECIALS];    /* each filled by subject_pattern */

uint8_t subject_pattern(unsigned special, size_t at);
/* Before the fork of the subject: so that the test knows the addresses. */
void subject_map_specials(void);
/* The subject's life. */
void subject_run(void);
