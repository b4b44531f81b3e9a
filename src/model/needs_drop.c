/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Parts come before wholes in a plan (plan_open makes sure): one pass over the types. */
#include "model/needs_drop.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* Paths of types that always own something. */
static const char *const owners[] = {
    "alloc::boxed::Box<",
    "alloc::raw_vec::RawVec",
    "alloc::vec::Vec<",
    "alloc::string::String",
    "alloc::collections::vec_deque::VecDeque<",
    "alloc::collections::binary_heap::BinaryHeap<",
    "std::collections::hash::map::HashMap<",
    "std::collections::hash::set::HashSet<",
    "alloc::collections::btree::set::BTreeSet<",
    "std::ffi::os_str::OsString",
    "std::path::PathBuf",
    "alloc::ffi::c_str::CString",
    "alloc::rc::Rc<",
    "alloc::rc::Weak<",
    "alloc::sync::Arc<",
    "alloc::sync::Weak<",
    "alloc::collections::btree::map::BTreeMap<",
    "alloc::collections::linked_list::LinkedList<",
    "hashbrown::raw::RawTable<",
    "bytes::bytes::Bytes",
    "bytes::bytes_mut::BytesMut",
    "std::os::fd::owned::OwnedFd",
};

static bool is_owner(const char *name)
{
    for (size_t i = 0; i < sizeof(owners) / sizeof(*owners); i++)
        if (str_starts_with(name, owners[i]))
            return true;
    return false;
}

bool is_owner_type(const struct plan *plan, const struct plan_type *type)
{
    return is_owner(plan_string(plan, type->name));
}

static bool is_borrow(const char *name)
{
    return name[0] == '&' || str_starts_with(name, "fn(") || str_starts_with(name, "unsafe fn(") ||
           str_starts_with(name, "extern \"") || str_starts_with(name, "unsafe extern \"") ||
           str_starts_with(name, "for<");
}

/* The strongest of parts: what must be dropped, else what is not known. */
static enum needs_drop join(enum needs_drop a, enum needs_drop b)
{
    if (a == NEEDS_DROP || b == NEEDS_DROP)
        return NEEDS_DROP;
    return a == NEEDS_DROP_UNKNOWN || b == NEEDS_DROP_UNKNOWN ? NEEDS_DROP_UNKNOWN : NEEDS_NO_DROP;
}

static enum needs_drop of_members(const struct needs_drops *drops, const struct plan *plan,
                                  const struct plan_type *type)
{
    enum needs_drop all = NEEDS_NO_DROP;
    const struct plan_member *members = plan_members(plan, type);
    for (uint32_t m = 0; m < type->nr_members; m++)
        all = join(all, needs_drop_of(drops, members[m].type));
    const struct plan_variant *variants = plan_variants(plan, type);
    for (uint32_t v = 0; v < type->nr_variants; v++)
        if (variants[v].payload.v)
            all = join(all, needs_drop_of(drops, variants[v].payload));
    return all;
}

/* ManuallyDrop and what is in a union are never dropped by themselves; references own nothing. */
static enum needs_drop of_type(const struct needs_drops *drops, const struct plan *plan,
                               const struct plan_type *type)
{
    const char *name = plan_string(plan, type->name);
    if (is_owner(name))
        return NEEDS_DROP;
    if (is_borrow(name) || str_starts_with(name, "core::mem::manually_drop::ManuallyDrop<"))
        return NEEDS_NO_DROP;
    switch ((enum plan_type_kind)type->kind) {
    case PLAN_TYPE_BASE:
    case PLAN_TYPE_ENUM:
    case PLAN_TYPE_UNION:
        return NEEDS_NO_DROP;
    case PLAN_TYPE_STRUCT:
    case PLAN_TYPE_VARIANTS:
    case PLAN_TYPE_COROUTINE:
        return of_members(drops, plan, type);
    case PLAN_TYPE_ARRAY:
        return type->count ? needs_drop_of(drops, type->element) : NEEDS_NO_DROP;
    default:
        return NEEDS_DROP_UNKNOWN;
    }
}

void needs_drops_init(struct needs_drops *drops, const struct plan *plan)
{
    drops->types = memory_alloc(plan->nr_types + 1);
    for (uint32_t i = 0; i < plan->nr_types; i++)
        drops->types[i] = (uint8_t)of_type(drops, plan, &plan->types[i]);
}

void needs_drops_deinit(struct needs_drops *drops)
{
    free(drops->types);
    drops->types = NULL;
}
