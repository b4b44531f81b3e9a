/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * How a traced program gets its live region.  The recorder listens at an abstract socket
 * (SOCK_SEQPACKET) whose name, without the leading NUL, stands in the environment.  The tracer connects and
 * receives one struct region_hello, with the memfd beside it (SCM_RIGHTS), or without one where the recorder does
 * not know this process.  It may answer with one packet of text, the reason why it steps aside all the same; then
 * it closes the socket.
 *
 * LD_PRELOAD has the tracer's library first, then ':' and what the user had there, if it was set.
 */
#pragma once

#include <stdint.h>

#define REGION_SOCKET_VARIABLE "ASYNCMEM_RUN"

enum {
    REGION_HELLO_VERSION = 1,
    REGION_REASON_BYTES = 256, /* of a packet with the reason; no NUL needed */
};

struct region_hello {
    uint32_t version;   /* REGION_HELLO_VERSION; else the library is not this recorder's */
    uint32_t is_traced; /* 0: no region comes: be silent */
};
