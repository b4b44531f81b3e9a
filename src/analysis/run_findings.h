/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What a reader of a run should see first: a few facts that are out of the ordinary, biggest bytes first.
 * Thresholds decide only whether a fact is worth a sentence; its figures are those of the tables.
 */
#pragma once

#include "analysis/run_ends.h"
#include "analysis/run_left.h"
#include "analysis/run_types.h"

enum run_finding_kind {
    RUN_FINDING_GROWTH, /* the heap had `of_bytes` at `from`, and `bytes` at `to`; `type` grew most */
    RUN_FINDING_LEFT,   /* `bytes` of `of_bytes` still allocated are of `type` at `group` */
    RUN_FINDING_UNFINISHED, /* `count` tasks of `type` wait at `await`, and hold `bytes` */
    RUN_FINDING_DROPPED,   /* `count` tasks of `type` waited at `await` until their runtime ended */
    RUN_FINDING_KEPT,      /* `count` finished tasks of `type` keep cells of `bytes` */
    RUN_FINDING_FAT,       /* a task of `type` takes `bytes`; `count` were there at once */
    RUN_FINDING_TEMPORARY, /* `count` of `of_count` allocations were temporary at `group` */
    RUN_FINDING_SLOW,      /* `count` polls of `type` took 1 ms or longer, one of them `ns` */
    NR_RUN_FINDINGS,
};

struct run_finding {
    enum run_finding_kind kind;
    uint32_t type, await; /* ids; 0: none */
    uint32_t group;       /* position of the group of sites + 1; 0: none */
    uint32_t from, to;    /* ids of steps */
    uint32_t at;          /* position of the unfinished group, or of what is left */
    uint64_t bytes, of_bytes, count, of_count, ns;
    uint64_t type_from_bytes, type_to_bytes; /* of growth: live bytes of `type` at both steps */
};

enum { RUN_FINDINGS_OF_A_KIND = 3, RUN_MAX_FINDINGS = RUN_FINDINGS_OF_A_KIND * NR_RUN_FINDINGS };

struct run_findings {
    struct run_finding rows[RUN_MAX_FINDINGS];
    size_t nr;
};

/* The parts that findings are made of. */
struct run_parts {
    const struct run *run;
    const struct run_site_groups *sites;
    const struct run_lefts *left;
    const struct run_ends *ends;
};

void run_findings_init(struct run_findings *findings, const struct run_parts *parts);

extern const char *const run_finding_names[NR_RUN_FINDINGS]; /* as JSON says them */
