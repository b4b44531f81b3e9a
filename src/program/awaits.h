/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Where the user wrote each await.  DWARF has the line of an await's tokens, which for an await in
 * a macro lie in the macro; here its line is looked for.  The stage before: a future's layout and
 * the DIE of its code.  The stage after: plan_await rows.  One thread.
 */
#pragma once

#include "program/layout.h"
#include "program/macro_source.h"

struct macro_place {
    enum macro_answer answer;
    plan_str name;
};

struct awaits {
    struct layout *layout;
    int64_t built_ns;  /* sources that are newer than the program are not believed */
    struct map macros; /* file id << 32 | line -> row + 1 of `places` */
    struct macro_place *places;
    size_t nr_places, places_capacity;
};

void awaits_init(struct awaits *awaits, struct layout *layout, int64_t built_ns);
void awaits_deinit(struct awaits *awaits);

/*
 * Adds a plan_await row for each variant of the future's type and sets the future's file, line and
 * first_await.  `body` is its code, NULL where there is none.
 */
void awaits_compile(struct awaits *awaits, const struct dwarf_die *body,
                    struct plan_future *future);
