/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The account of the whole heap, and how the target's memory is kept while it is made: a copy-on-write
 * child, a longer stop, or a core.  Inside task_reader: task_futures before it, model/ after it.
 */
#pragma once

#include "process/heap_classes.h"
#include "process/traced_heap.h"

/* What the user wants of it. */
struct heap_options {
    bool is_off;            /* --no-heap */
    uint64_t stop_limit_ns; /* --stop-limit: no account that would take longer; ~0: none */
    void (*announce)(uint64_t stop_ns); /* says how long a stop will last, roughly; may be NULL */
    void (*copied)(void *context);      /* the target goes on, a copy of it is read; may be NULL */
    void *context;
};

struct heap_account {
    bool is_there;
    bool is_copied;    /* a child has the memory: the target may go on */
    const char *how;   /* in words */
    char reason[1024]; /* why it is not there though it was asked for; "" */
    char why_no_copy[512];
    uint64_t fork_ns;
    uint64_t rss_bytes; /* ~0: unknown */
    struct heap_blocks blocks;
    const struct traced_blocks *traced; /* NULL: it is not traced */
    struct traced_heap joined;          /* of a traced one: blocks and live table */
    struct task_drops drops;
    struct heap_classes classes;
};

/* How long a stop for the account may last. */
uint64_t heap_stop_limit_ns(const struct heap_options *options);
/* In the stopped target: decides whether and how. */
void heap_account_begin(struct heap_account *account, struct target *target,
                        const struct heap_options *options);
/*
 * Makes it, where it is to be; the target is stopped, copied or a core.  `traced` (may be not there) must stay
 * as long as the account.
 */
void heap_account_read(struct heap_account *account, const struct task_futures *futures,
                       const struct traced_blocks *traced);
void heap_account_deinit(struct heap_account *account);
