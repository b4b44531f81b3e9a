/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Signals that come to the recorder and are meant for the program: passed on, but for those that it has already
 * (from the terminal, or sent to the whole group).  And job control: we stop when it stops.
 */
#pragma once

#include <stdbool.h>
#include <sys/signalfd.h>

#include "recorder/witness.h"

enum { SIGNALS_MAX = 32, SIGNALS_WAIT_MS = 30 };

struct signals_pending {
    struct signalfd_siginfo info;
    uint64_t until_ns; /* then it is passed on, if the witness has not said that it got it, too */
};

struct signals {
    struct witness witness;
    pid_t program; /* 0: it does not run */
    struct signals_pending pending[SIGNALS_MAX];
    size_t nr_pending;
    struct {
        struct witness_report report;
        uint64_t at_ns;
    } seen[SIGNALS_MAX]; /* a ring */
    size_t nr_seen;
};

/* The program runs: it is the first of our children, the witness comes after it. */
void signals_begin(struct signals *signals, pid_t program);
void signals_end(struct signals *signals);
/* One signal of ours that is none of a child. */
void signals_take(struct signals *signals, const struct signalfd_siginfo *info, uint64_t now_ns);
/* When the witness's file is readable. */
void signals_take_report(struct signals *signals, uint64_t now_ns);
/* Passes on what is due; how many ms to the next, -1: nothing waits. */
int signals_pass(struct signals *signals, uint64_t now_ns);
/* The program was stopped by that signal: we stop too where a shell waits for that. */
void signals_stop_too(struct signals *signals, int signal_number);
