/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How the tracer gets the live region: it connects to the recorder's socket (AF_UNIX, SOCK_SEQPACKET, in the
 * abstract namespace; its name, without the leading NUL, is the value of the environment variable
 * HANDOVER_VARIABLE), says who it is in one message, and is answered by one message that carries the memfd
 * (SCM_RIGHTS).  Then it closes the socket, after a second message if the region is of no use.
 *
 * The recorder decides by the peer's credentials whether to answer with a region; whoever gets none goes on
 * untraced.  A process that asks again has replaced its program, and gets a new region.
 */
#pragma once

#include <stdint.h>

#define HANDOVER_VARIABLE "ASYNCMEM_RUN"

enum {
    HANDOVER_MAGIC = 0x726d7361, /* "asmr" */
    HANDOVER_NAME_BYTES = 100,   /* of the socket, at most */
    HANDOVER_WAIT_MS = 5000,     /* how long the tracer waits for the answer */
};

enum handover_verb {
    HANDOVER_HELLO, /* the tracer: first message */
    HANDOVER_OFF,   /* the tracer: it steps aside, `text` says why; first message or after the answer */
    HANDOVER_TAKE,  /* the recorder: here is a region */
    HANDOVER_LEAVE, /* the recorder: this process is not to be traced */
};

struct handover {
    uint32_t magic;
    uint32_t version; /* REGION_VERSION of who writes */
    uint32_t verb;    /* enum handover_verb */
    uint32_t reserved;
    char text[256]; /* one sentence, for the user; NUL-terminated */
};

_Static_assert(sizeof(struct handover) == 272, "shared with other versions");
