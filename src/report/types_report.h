/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The answer of `asyncmem types`: which futures to show and the two writers that show them.  The
 * stage before: model/future_types and analysis/.  The stage after: a stream.
 */
#pragma once

#include "analysis/future_chain.h"
#include "model/state_layout.h"
#include "base/error.h"
#include "report/display.h"

enum types_sort { TYPES_SORT_SIZE, TYPES_SORT_WASTE, TYPES_SORT_NAME };

struct types_options {
    uint64_t min_bytes;
    const char *match; /* part of a name or file, any case; NULL: all */
    enum types_sort sort;
    unsigned top;    /* 0: the default of the writer */
    bool all;        /* everything, whole */
    bool full_names; /* generics whole */
};

struct types_report {
    const char *binary;
    const struct future_types *types;
    const struct types_options *options;
    struct arena arena;
    struct future_chains chains;
    struct future_layout *layouts; /* of the selected ones, in the order asked for; made when ...
                                    * types_report_layout asks */
    size_t nr_layouts;             /* of these, the first nr_sized have a type */
    uint64_t total_bytes, largest_bytes; /* of the selected ones */
    size_t nr_sized;
    uint32_t *named; /* without layouts: rows of plan->tasks, one for each future named */
    size_t nr_named;
};

void types_report_init(struct types_report *report, const char *binary,
                       const struct future_types *types, const struct types_options *options);
void types_report_deinit(struct types_report *report);

/* The layout of a selected future; without states where it has no type. */
const struct future_layout *types_report_layout(const struct types_report *report, size_t row);

/* Name of a future or a slot's type in the style asked for, not yet escaped. */
void types_report_future_name(const struct types_report *report, const struct future_type *future,
                              struct text *out);
void types_report_type_name(const struct types_report *report, plan_type_id type,
                            enum name_style style, struct text *out);

/* Without layouts: the name of the future of a row of the plan's tasks. */
void types_report_task_name(const struct types_report *report, uint32_t row, struct text *out);

void types_write_text(const struct types_report *report, const struct display *display);
/* False when the stream fails. */
MUST_CHECK bool types_write_json(const struct types_report *report, FILE *out, struct error *err);
