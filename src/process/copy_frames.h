/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What lies under the stack pointer of a thread while system calls are made through it
 * (process/copy_inject.c): signal-return frames that lead it back by itself, whatever happens to us.
 */
#pragma once

#include <sys/user.h>

#include "process/target.h"

enum {
    MAX_XSTATE_BYTES = 16 * 1024,
    MAX_FRAMES_BYTES = MAX_XSTATE_BYTES + 2048,
    FRAMES_MARGIN_BYTES = 512, /* left free between the stack and the frames; the red zone is 128 */
};

/* Places in the target's code. */
struct code_places {
    uint64_t call;    /* `syscall; ret` */
    uint64_t restore; /* where rt_sigreturn is called: a signal handler's return */
};

/* All that a thread has besides its memory. */
struct thread_state {
    pid_t tid;
    struct user_regs_struct regs;
    uint64_t signal_mask;
    size_t xstate_bytes; /* of those that are in use */
    uint8_t xstate[MAX_XSTATE_BYTES];
};

/*
 * A thread that is at `call` with its stack pointer at a frame returns into that: its registers, signal
 * mask and all become those of the frame.
 */
struct frames {
    uint64_t addr; /* in the target */
    size_t nr_bytes;
    /* addresses of frames: */
    uint64_t wait_addr; /* waits for the child whose id is at pid_addr, then goes to back_addr */
    uint64_t back_addr; /* the thread as it was; an interrupted system call is made again */
    uint64_t exit_addr; /* ends the process: for a child */
    /* addresses of words: */
    uint64_t pid_addr, word_addr;
    uint8_t bytes[MAX_FRAMES_BYTES];  /* to be written there */
    uint8_t before[MAX_FRAMES_BYTES]; /* what was there */
};

/* By its tracer, while it stands still.  False: errno says why. */
MUST_CHECK bool thread_state_read(struct thread_state *state, pid_t tid);
/* True: it stands in a system call that the kernel would begin again. */
bool thread_state_is_restarting(const struct thread_state *state);
/* Fills all but `before`.  False: its extended state is not known. */
MUST_CHECK bool frames_build(struct frames *frames, const struct thread_state *state,
                             const struct code_places *code);

/* In the executable mappings.  False: not both are there. */
MUST_CHECK bool code_places_find(struct code_places *code, const struct target *target);
