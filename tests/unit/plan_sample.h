/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Plans made by hand: short forms over plan_builder, and one plan that has rows in every section. */
#pragma once

#include "program/plan_builder.h"

plan_type_id sample_base(struct plan_builder *builder, const char *name, uint64_t size);

struct sample_member {
    const char *name;
    plan_type_id type;
    uint64_t offset;
};

/* A struct of `nr` members; `kind` may be PLAN_TYPE_UNION or another. */
plan_type_id sample_struct(struct plan_builder *builder, enum plan_type_kind kind, const char *name,
                           uint64_t size, const struct sample_member *members, uint32_t nr);

struct sample_state {
    const char *name; /* Unresumed, Returned, Suspend0, ...; also the payload's name */
    const struct sample_member *members;
    uint32_t nr_members;
    uint32_t line;
};

/* A coroutine of these states with a u8 discriminant at `discr_offset`, and its await rows. */
plan_future_id sample_future(struct plan_builder *builder, enum plan_future_kind kind,
                             const char *path, uint64_t size, uint64_t discr_offset,
                             const struct sample_state *states, uint32_t nr);

/* A plan with at least one row in each section; free() it. */
uint8_t *sample_plan(uint64_t *size);
/* Finishes and opens; the bytes are the caller's. */
uint8_t *sample_open(struct plan_builder *builder, struct plan *plan);
