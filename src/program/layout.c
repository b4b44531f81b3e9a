/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/layout.h"

#include <dwarf.h>
#include <stdlib.h>

#include "program/dwarf_line.h"

#define LAYOUT_IN_PROGRESS UINT32_MAX

/* Futures nest deeply, but a chain this long is corrupt and must not overflow our stack. */
enum { MAX_DEPTH = 1000, MAX_TYPEDEFS = 16, MAX_NAME_BYTES = 16 * 1024 };

/* Compiling every type passes over .debug_info a few times; hostile nesting would do it for ever. */
enum { PASSES = 64, MIN_BUDGET_BYTES = 1 << 20 };

void layout_init(struct layout *layout, struct dwarf *dwarf, const struct program_index *index,
                 struct plan_builder *builder, struct arena *arena)
{
    *layout = (struct layout){.dwarf = dwarf, .index = index, .builder = builder, .arena = arena};
    for (size_t f = 0; f < dwarf->nr_files; f++)
        layout->budget_bytes += dwarf->files[f]->elf->debug[DEBUG_INFO].size;
    layout->budget_bytes = layout->budget_bytes * PASSES + MIN_BUDGET_BYTES;
}

void layout_deinit(struct layout *layout)
{
    map_deinit(&layout->types);
    map_deinit(&layout->by_content);
    map_deinit(&layout->replace);
    map_deinit(&layout->declared);
    free(layout->env_dies);
    free(layout->complete);
    *layout = (struct layout){0};
}

void layout_replace(struct layout *layout, die_ref copy, die_ref chosen)
{
    layout->env_dies = array_reserve(layout->env_dies, &layout->env_dies_capacity,
                                     layout->nr_env_dies + 1, sizeof(*layout->env_dies));
    layout->env_dies[layout->nr_env_dies++] = chosen;
    *map_put(&layout->replace, copy, NULL) = (uint32_t)layout->nr_env_dies;
}

bool layout_resolve_declared(struct layout *layout)
{
    if (!layout->nr_declared_met)
        return false;
    layout->nr_declared_met = 0;
    for (size_t i = 0; i < layout->declared.capacity; i++)
        layout->declared.slots[i].value = 0;
    free(layout->complete);
    return index_find_types(layout->dwarf, &layout->declared, &layout->complete) > 0;
}

void layout_restart(struct layout *layout, struct plan_builder *builder)
{
    map_deinit(&layout->types);
    map_deinit(&layout->by_content);
    layout->builder = builder;
}

plan_file_id layout_file(struct layout *layout, const struct dwarf_die *die, uint16_t attribute)
{
    uint64_t index = dwarf_attr_number(die, attribute, ~(uint64_t)0);
    const char *path = index == ~(uint64_t)0
                           ? NULL
                           : dwarf_file_path((struct dwarf_unit *)die->unit, index, layout->arena);
    return plan_builder_file(layout->builder, path);
}

/* The next child, as long as the budget lasts. */
static bool next_child(struct layout *layout, struct dwarf_die *child)
{
    uint64_t from = child->offset;
    bool more = dwarf_sibling(child, child); /* the end of the list moves `child` too */
    uint64_t passed = child->offset - from;
    layout->budget_bytes -= passed < layout->budget_bytes ? passed : layout->budget_bytes;
    return more && layout->budget_bytes > 0;
}

/* --- a type in the making -------------------------------------------------------------------- */

/* Rows are gathered here, because those of inner types go into the plan first. */
struct draft {
    struct plan_type type;
    struct plan_member *members;
    size_t nr_members, members_capacity;
    struct plan_variant *variants;
    size_t nr_variants, variants_capacity;
};

static void draft_free(struct draft *draft)
{
    free(draft->members);
    free(draft->variants);
}

static uint64_t draft_hash(const struct draft *draft)
{
    const struct plan_type *type = &draft->type;
    uint64_t shape[] = {type->name.v,      type->kind,         type->align_bytes,  type->size_bytes,
                        type->element.v,   type->discr_type.v, type->discr_offset, type->count,
                        draft->nr_members, draft->nr_variants};
    uint64_t hash = hash_bytes(shape, sizeof(shape), 0);
    if (draft->nr_members)
        hash = hash_bytes(draft->members, draft->nr_members * sizeof(*draft->members), hash);
    if (draft->nr_variants)
        hash = hash_bytes(draft->variants, draft->nr_variants * sizeof(*draft->variants), hash);
    return hash;
}

static plan_type_id draft_finish(struct layout *layout, struct draft *draft)
{
    struct plan_builder *builder = layout->builder;
    bool is_new;
    uint32_t *known = map_put(&layout->by_content, draft_hash(draft), &is_new);
    if (is_new) {
        draft->type.nr_members = (uint32_t)draft->nr_members;
        draft->type.nr_variants = (uint32_t)draft->nr_variants;
        for (size_t i = 0; i < draft->nr_members; i++) {
            uint32_t id = plan_builder_add(builder, PLAN_MEMBERS, &draft->members[i]);
            draft->type.first_member = i ? draft->type.first_member : id;
        }
        for (size_t i = 0; i < draft->nr_variants; i++) {
            uint32_t id = plan_builder_add(builder, PLAN_VARIANTS, &draft->variants[i]);
            draft->type.first_variant = i ? draft->type.first_variant : id;
        }
        *known = plan_builder_add(builder, PLAN_TYPES, &draft->type);
    }
    plan_type_id id = {*known};
    draft_free(draft);
    return id;
}

static plan_type_id type_of(struct layout *layout, const struct dwarf_die *die)
{
    return layout_compile(layout, dwarf_attr_ref(die, DW_AT_type));
}

static const struct plan_type *row_of(const struct layout *layout, plan_type_id id)
{
    return id.v ? plan_builder_row(layout->builder, PLAN_TYPES, id.v) : NULL;
}

/* Is it a pointer to code by its DIE, or an array of such? */
static bool is_code_pointer(const struct layout *layout, plan_type_id id)
{
    static const char *const heads[] = {"fn(", "unsafe fn(", "extern \"", "unsafe extern \"",
                                        "for<"};
    const struct plan_type *type = row_of(layout, id);
    while (type && type->kind == PLAN_TYPE_ARRAY)
        type = row_of(layout, type->element);
    const char *name = type && type->kind == PLAN_TYPE_POINTER
                           ? plan_builder_text(layout->builder, type->name)
                           : "";
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
        if (str_starts_with(name, heads[i]))
            return true;
    return false;
}

/*
 * The type of a member.  rustc describes a function item, which has no bytes, as it describes a
 * function pointer; only the member's alignment tells them apart.
 */
static plan_type_id member_type(struct layout *layout, const struct dwarf_die *die)
{
    plan_type_id id = type_of(layout, die);
    uint64_t align = dwarf_attr_number(die, DW_AT_alignment, 0);
    if (!align || align >= die->unit->address_bytes || !is_code_pointer(layout, id))
        return id;
    const struct plan_type *pointer = row_of(layout, id);
    struct draft item = {.type = {.kind = PLAN_TYPE_STRUCT,
                                  .name = pointer->name,
                                  .align_bytes = 1,
                                  .die = pointer->die}};
    return draft_finish(layout, &item);
}

static void add_member(struct layout *layout, struct draft *draft, const struct dwarf_die *die)
{
    struct plan_member member = {
        .name = plan_builder_string(layout->builder, dwarf_attr_string(die, DW_AT_name)),
        .type = member_type(layout, die),
        .offset_bytes = dwarf_attr_number(die, DW_AT_data_member_location, 0),
    };
    draft->members = array_reserve(draft->members, &draft->members_capacity, draft->nr_members + 1,
                                   sizeof(*draft->members));
    draft->members[draft->nr_members++] = member;
}

/* The value as 64 bits: data forms of Rust are unsigned, sdata is sign-extended, and of a
 * 128-bit one the low half is kept. */
static bool discr_value(const struct dwarf_die *variant, uint64_t *value)
{
    struct dwarf_value attr = dwarf_attr(variant, DW_AT_discr_value);
    if (attr.class == DWARF_CONSTANT) {
        *value = attr.number;
        return true;
    }
    if (attr.class != DWARF_BLOCK)
        return false;
    struct cursor c = cursor_make(attr.block, attr.number);
    *value = cursor_uint(&c, attr.number < 8 ? (unsigned)attr.number : 8);
    return !c.failed;
}

static void add_variant(struct layout *layout, struct draft *draft, const struct dwarf_die *die)
{
    struct dwarf_die member;
    struct plan_variant variant = {0};
    variant.has_discr = discr_value(die, &variant.discr);
    for (bool more = dwarf_child(die, &member); more; more = next_child(layout, &member)) {
        if (dwarf_tag(&member) != DW_TAG_member)
            continue;
        variant.payload = type_of(layout, &member);
        variant.file = layout_file(layout, &member, DW_AT_decl_file);
        variant.line = (uint32_t)dwarf_attr_number(&member, DW_AT_decl_line, 0);
        struct dwarf_die payload;
        if (dwarf_die_at(layout->dwarf, dwarf_attr_ref(&member, DW_AT_type), &payload))
            variant.name =
                plan_builder_string(layout->builder, dwarf_attr_string(&payload, DW_AT_name));
        break;
    }
    draft->variants = array_reserve(draft->variants, &draft->variants_capacity,
                                    draft->nr_variants + 1, sizeof(*draft->variants));
    draft->variants[draft->nr_variants++] = variant;
}

static void add_variant_part(struct layout *layout, struct draft *draft,
                             const struct dwarf_die *part)
{
    struct dwarf_die discr, child;
    if (dwarf_die_at(layout->dwarf, dwarf_attr_ref(part, DW_AT_discr), &discr)) {
        draft->type.discr_type = type_of(layout, &discr);
        draft->type.discr_offset = dwarf_attr_number(&discr, DW_AT_data_member_location, 0);
    }
    for (bool more = dwarf_child(part, &child); more; more = next_child(layout, &child))
        if (dwarf_tag(&child) == DW_TAG_variant)
            add_variant(layout, draft, &child);
}

static bool is_coroutine(const char *name)
{
    return name && str_starts_with(name, "{async_");
}

static void draft_structure(struct layout *layout, struct draft *draft, const struct dwarf_die *die)
{
    struct dwarf_die child;
    draft->type.kind = dwarf_tag(die) == DW_TAG_union_type ? PLAN_TYPE_UNION : PLAN_TYPE_STRUCT;
    for (bool more = dwarf_child(die, &child); more; more = next_child(layout, &child)) {
        if (dwarf_tag(&child) == DW_TAG_member) {
            add_member(layout, draft, &child);
        } else if (dwarf_tag(&child) == DW_TAG_variant_part && !draft->nr_variants) {
            draft->type.kind = is_coroutine(dwarf_attr_string(die, DW_AT_name))
                                   ? PLAN_TYPE_COROUTINE
                                   : PLAN_TYPE_VARIANTS;
            add_variant_part(layout, draft, &child);
        }
    }
}

static void draft_array(struct layout *layout, struct draft *draft, const struct dwarf_die *die)
{
    struct dwarf_die child;
    draft->type.kind = PLAN_TYPE_ARRAY;
    draft->type.element = type_of(layout, die);
    draft->type.count = 0;
    for (bool more = dwarf_child(die, &child); more; more = next_child(layout, &child)) {
        if (dwarf_tag(&child) != DW_TAG_subrange_type)
            continue;
        uint64_t last = dwarf_attr_number(&child, DW_AT_upper_bound, ~(uint64_t)0);
        draft->type.count = dwarf_attr_number(&child, DW_AT_count, last + 1);
    }
    if (!draft->type.element.v)
        return;
    const struct plan_type *element =
        plan_builder_row(layout->builder, PLAN_TYPES, draft->type.element.v);
    uint64_t size;
    if (__builtin_mul_overflow(element->size_bytes, draft->type.count, &size))
        size = 0;
    draft->type.size_bytes = size;
    draft->type.align_bytes = element->align_bytes;
    struct text name;
    text_init(&name);
    text_printf(&name, "[%s; %llu]", plan_builder_text(layout->builder, element->name),
                (unsigned long long)draft->type.count);
    draft->type.name = plan_builder_string(layout->builder, text_str(&name));
    text_deinit(&name);
}

static plan_str qualified_name(struct layout *layout, const struct dwarf_die *die)
{
    struct text name;
    text_init(&name);
    index_qualified_name(layout->index, die, &name);
    if (name.length > MAX_NAME_BYTES) {
        name.length = MAX_NAME_BYTES;
        name.data[name.length] = 0;
    }
    plan_str str = plan_builder_string(layout->builder, text_str(&name));
    text_deinit(&name);
    return str;
}

/* The pointers of slices have no name of their own: "*T". */
static plan_str pointer_name(struct layout *layout, const struct dwarf_die *die)
{
    struct dwarf_die pointee;
    if (dwarf_attr_string(die, DW_AT_name) ||
        !dwarf_die_at(layout->dwarf, dwarf_attr_ref(die, DW_AT_type), &pointee))
        return qualified_name(layout, die);
    struct text name;
    text_init(&name);
    text_printf(&name, "*%s", plan_builder_text(layout->builder, qualified_name(layout, &pointee)));
    plan_str str = plan_builder_string(layout->builder, text_str(&name));
    text_deinit(&name);
    return str;
}

static plan_type_id compile_die(struct layout *layout, const struct dwarf_die *die)
{
    struct draft draft = {.type = {
                              .kind = PLAN_TYPE_OPAQUE,
                              .name = dwarf_tag(die) == DW_TAG_array_type
                                          ? (plan_str){0}
                                          : qualified_name(layout, die),
                              .size_bytes = dwarf_attr_number(die, DW_AT_byte_size, 0),
                              .align_bytes = (uint32_t)dwarf_attr_number(die, DW_AT_alignment, 0),
                              .die = die_ref_of(die),
                          }};
    switch (dwarf_tag(die)) {
    case DW_TAG_base_type:
        draft.type.kind = PLAN_TYPE_BASE;
        break;
    case DW_TAG_pointer_type:
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type:
    case DW_TAG_ptr_to_member_type:
        draft.type.kind = PLAN_TYPE_POINTER;
        draft.type.name = pointer_name(layout, die);
        draft.type.size_bytes = die->unit->address_bytes;
        break;
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type:
        if (!dwarf_attr_flag(die, DW_AT_declaration))
            draft_structure(layout, &draft, die);
        break;
    case DW_TAG_enumeration_type:
        draft.type.kind = PLAN_TYPE_ENUM;
        break;
    case DW_TAG_array_type:
        draft_array(layout, &draft, die);
        break;
    default:
        break;
    }
    return draft_finish(layout, &draft);
}

/* A declared type: its complete copy in another unit, or the DIE itself until one is found. */
static die_ref complete_copy(struct layout *layout, const struct dwarf_die *die)
{
    bool is_new;
    uint64_t hash = index_die_hash(layout->index, die);
    uint32_t *found = map_put(&layout->declared, hash, &is_new);
    layout->nr_declared_met += is_new;
    return *found ? layout->complete[*found - 1] : die_ref_of(die);
}

/* Follows replacements, declarations and typedefs to the DIE that is compiled. */
static bool settle(struct layout *layout, die_ref ref, struct dwarf_die *die)
{
    for (int i = 0; i < MAX_TYPEDEFS; i++) {
        const uint32_t *chosen = map_find(&layout->replace, ref);
        if (chosen)
            ref = layout->env_dies[*chosen - 1];
        if (ref == DIE_NONE || !dwarf_die_at(layout->dwarf, ref, die))
            return false;
        switch (dwarf_tag(die)) {
        case DW_TAG_typedef:
        case DW_TAG_const_type:
        case DW_TAG_volatile_type:
        case DW_TAG_restrict_type:
        case DW_TAG_atomic_type:
            ref = dwarf_attr_ref(die, DW_AT_type);
            continue;
        case DW_TAG_structure_type:
            if (!chosen && dwarf_attr_flag(die, DW_AT_declaration)) {
                die_ref complete = complete_copy(layout, die);
                if (complete != ref) {
                    ref = complete;
                    continue;
                }
            }
            return true;
        default:
            return true;
        }
    }
    return false;
}

plan_type_id layout_compile(struct layout *layout, die_ref ref)
{
    struct dwarf_die die;
    if (!settle(layout, ref, &die))
        return (plan_type_id){0};
    die_ref settled = die_ref_of(&die);
    const uint32_t *known = map_find(&layout->types, settled);
    if (known)
        return (plan_type_id){*known == LAYOUT_IN_PROGRESS ? 0 : *known};
    if (layout->depth >= MAX_DEPTH)
        return (plan_type_id){0};
    *map_put(&layout->types, settled, NULL) = LAYOUT_IN_PROGRESS;
    layout->depth++;
    plan_type_id id = compile_die(layout, &die);
    layout->depth--;
    *map_put(&layout->types, settled, NULL) = id.v;
    return id;
}
