/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The environment: what the recorder put there for us is read once, kept, and hidden from the program, so that
 * its children are started as if there were no tracer.  A program that replaces this one gets it back
 * (tracer/exec.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Reads and keeps; false: there is nothing for us. */
bool environment_read(void);
/* Takes it out of `environ`; the user's own LD_PRELOAD stays. */
void environment_hide(void);

/* An environment for a new program: `old` with our words added, so that it is traced, or without them. */
struct environment {
    char **words; /* NULL-terminated */
    void *mapped; /* NULL: it is in `few` */
    size_t mapped_bytes;
    bool is_counted; /* as a program that is lost */
    char *few[512]; /* a mapping of a child of vfork stays in its parent, as exec does not return */
};
/* False: no memory.  The caller gives it back, if it is still there to do so. */
bool environment_show(struct environment *shown, char *const *old);
/* One in which it is not traced.  False: there is nothing of ours in `old`, or no memory. */
bool environment_hide_in(struct environment *hidden, char *const *old);
void environment_free(struct environment *shown);

const char *environment_socket(void);
