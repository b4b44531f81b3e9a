/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * No instruction is decoded: every byte is tried as one that has a displacement behind it (call,
 * jump, RIP-relative operand), and counts where the displacement leads into the image and out of
 * the function.  A stray byte that does so is left out of both builds' hashes alike.
 */
#include "program/code_graph.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "program/code_functions.h"

enum { CALL = 0xe8, JUMP = 0xe9, TWO_BYTES = 0x0f };
enum { MAX_FUNCTION_BYTES = 1 << 24, MAX_PATH_BYTES = 4096, MAX_ALIGN = 4096 };

/* What takes the place of a displacement in the hash. */
enum target_kind { TARGET_FUNCTION = 1, TARGET_FACT, TARGET_CODE, TARGET_DATA };

struct scan {
    struct code_graph *graph;
    const uint8_t *code;
    uint64_t addr, size; /* of the function */
    uint64_t hash;
    uint64_t hashed; /* bytes up to here are in the hash */
};

/* --- what lies at an address ----------------------------------------------------------------- */

static const uint8_t *code_in(const struct elf_section *s, uint64_t addr, uint64_t size)
{
    bool holds = s->flags & SHF_EXECINSTR && s->bytes.data && addr >= s->addr &&
                 addr - s->addr < s->bytes.size && size <= s->bytes.size - (addr - s->addr);
    return holds ? s->bytes.data + (addr - s->addr) : NULL;
}

static const uint8_t *code_at(const struct elf_file *elf, uint64_t addr, uint64_t size)
{
    for (uint32_t i = 0; i < elf->nr_sections; i++) {
        const uint8_t *code = code_in(&elf->sections[i], addr, size);
        if (code)
            return code;
    }
    return NULL;
}

/* The data bytes from `addr` on, as the loader leaves them; NULL: it lies in no data. */
static const uint8_t *data_at(const struct code_graph *graph, uint64_t addr, uint64_t *left)
{
    for (uint32_t i = 0; i < graph->nr_data; i++) {
        const struct elf_words *d = &graph->data[i];
        if (addr < d->addr || (addr - d->addr) / 8 >= d->nr_words)
            continue;
        *left = d->nr_words * 8 - (addr - d->addr);
        return (const uint8_t *)d->words + (addr - d->addr);
    }
    return NULL;
}

uint32_t code_graph_start(const struct code_graph *graph, uint64_t addr)
{
    const uint32_t *row = addr ? map_find(&graph->starts, addr) : NULL;
    return row ? *row : 0;
}

/* core::panic::Location: {file name, its length, line and column}.  0: it is none. */
static uint64_t location_fact(const struct code_graph *graph, const uint64_t words[3])
{
    uint64_t left, length = words[1];
    uint32_t line = (uint32_t)words[2], column = (uint32_t)(words[2] >> 32);
    if (length < 4 || length > MAX_PATH_BYTES || !line || line > 1 << 24 || !column ||
        column > 1 << 16)
        return 0;
    const char *path = (const char *)data_at(graph, words[0], &left);
    if (!path || left < length)
        return 0;
    if (!path[length - 1]) /* newer ones count the NUL */
        length--;
    if (memcmp(path + length - 3, ".rs", 3) != 0)
        return 0;
    const char *slash = memrchr(path, '/', length); /* the folder may be another */
    uint64_t skipped = slash ? (uint64_t)(slash + 1 - path) : 0;
    return hash_u64(words[2], hash_bytes(path + skipped, length - skipped, 1));
}

/* A trait object's vtable: {drop or 0, size, align, methods}.  0: it is none. */
static uint64_t trait_object_fact(const struct code_graph *graph, const uint64_t words[4])
{
    uint64_t size = words[1], align = words[2];
    if (size > UINT32_MAX || !align || align > MAX_ALIGN || align & (align - 1) || size % align)
        return 0;
    bool is_vtable =
        words[0] ? code_graph_start(graph, words[0]) : code_graph_start(graph, words[3]);
    return is_vtable ? hash_u64(size, align) | 1 : 0;
}

/* --- displacements --------------------------------------------------------------------------- */

static void add_call(struct code_graph *graph, uint64_t site, uint32_t callee)
{
    graph->calls = array_reserve(graph->calls, &graph->calls_capacity, graph->nr_calls + 1,
                                 sizeof(*graph->calls));
    graph->calls[graph->nr_calls++] = (struct code_call){(uint32_t)site, callee};
}

static enum target_kind add_fact(struct scan *scan, uint64_t fact)
{
    struct code_graph *graph = scan->graph;
    graph->facts = array_reserve(graph->facts, &graph->facts_capacity, graph->nr_facts + 1,
                                 sizeof(*graph->facts));
    graph->facts[graph->nr_facts++] = fact;
    scan->hash = hash_u64(fact, scan->hash);
    return TARGET_FACT;
}

static enum target_kind see_data(struct scan *scan, uint64_t site, uint64_t target)
{
    struct code_graph *graph = scan->graph;
    const uint32_t *import = map_find(&graph->imports, target);
    if (import)
        return add_fact(scan, *import);
    uint64_t left, words[4] = {0};
    const uint8_t *bytes = target % 8 ? NULL : data_at(graph, target, &left);
    if (!bytes)
        return TARGET_DATA;
    memcpy(words, bytes, left < sizeof(words) ? left : sizeof(words));
    uint64_t fact = location_fact(graph, words);
    if (fact)
        return add_fact(scan, fact);
    uint32_t function = code_graph_start(graph, words[0]);
    fact = trait_object_fact(graph, words);
    if (function)
        add_call(graph, site, function - 1); /* through the slot, or the drop function */
    if (fact)
        return add_fact(scan, fact);
    return function ? TARGET_FUNCTION : TARGET_DATA;
}

static enum target_kind see_target(struct scan *scan, uint64_t site, uint64_t target)
{
    uint32_t function = code_graph_start(scan->graph, target);
    if (function) {
        add_call(scan->graph, site, function - 1);
        return TARGET_FUNCTION;
    }
    return elf_addr_is_code(scan->graph->elf, target) ? TARGET_CODE : see_data(scan, site, target);
}

/* Where a displacement of four bytes at `at` leads. */
static uint64_t target_of(const struct scan *scan, uint64_t at)
{
    int32_t distance;
    memcpy(&distance, scan->code + at, 4);
    return scan->addr + at + 4 + (uint64_t)(int64_t)distance;
}

static bool is_branch(const struct scan *scan, uint64_t i)
{
    return scan->code[i] == CALL || scan->code[i] == JUMP;
}

/* Does a call of a function begin inside the four bytes at `at`?  Then they are none themselves. */
static bool hides_call(const struct scan *scan, uint64_t at)
{
    for (uint64_t i = at; i < at + 4 && i + 5 <= scan->size; i++)
        if (is_branch(scan, i) && code_graph_start(scan->graph, target_of(scan, i + 1)))
            return true;
    return false;
}

/* Has the instruction byte at `i` a displacement behind it that leads out of the function? */
static bool leads_out(const struct scan *scan, uint64_t i)
{
    bool is_conditional = i > 0 && scan->code[i - 1] == TWO_BYTES && (scan->code[i] & 0xf0) == 0x80;
    bool is_operand = (scan->code[i] & 0xc7) == 0x05; /* ModRM: RIP-relative */
    if (!is_branch(scan, i) && !is_conditional && !(i > 0 && is_operand))
        return false;
    uint64_t target = target_of(scan, i + 1);
    if (target < scan->graph->low || target >= scan->graph->high ||
        target - scan->addr < scan->size)
        return false;
    return is_branch(scan, i) || is_conditional || !hides_call(scan, i + 1);
}

static void hash_up_to(struct scan *scan, uint64_t end)
{
    scan->hash = hash_bytes(scan->code + scan->hashed, end - scan->hashed, scan->hash);
    scan->hashed = end;
}

static uint64_t scan_function(struct scan *scan)
{
    scan->hash = hash_u64(scan->size, 0);
    for (uint64_t i = 0; i + 5 <= scan->size; i++) {
        if (!leads_out(scan, i))
            continue;
        hash_up_to(scan, i + 1);
        enum target_kind kind = see_target(scan, i, target_of(scan, i + 1));
        scan->hash = hash_u64(kind, scan->hash);
        scan->hashed += 4;
        i += 4;
    }
    hash_up_to(scan, scan->size);
    return scan->hash;
}

/* --- names ----------------------------------------------------------------------------------- */

static bool is_base62(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The end of a v0 crate's disambiguator "s<base 62>_" at `p`, or `p`. */
static const char *skip_disambiguator(const char *p)
{
    const char *end = p + 1;
    if (*p != 's')
        return p;
    while (is_base62(*end))
        end++;
    return *end == '_' ? end + 1 : p;
}

/* Of a v0 symbol: each crate ("C") without its disambiguator. */
static uint64_t v0_name_hash(const char *symbol, size_t length)
{
    uint64_t hash = 0;
    const char *end = symbol + length, *begin = symbol;
    for (const char *p = symbol; p < end; p++) {
        const char *next = *p == 'C' ? skip_disambiguator(p + 1) : p;
        if (next <= p + 1 || next > end)
            continue;
        hash = hash_bytes(begin, (size_t)(p + 1 - begin), hash);
        begin = next;
        p = next - 1;
    }
    return hash_bytes(begin, (size_t)(end - begin), hash);
}

uint64_t code_name_hash(const char *symbol)
{
    enum { LEGACY_HASH = 20 }; /* "17h<16 digits>E" */
    const char *dot = strstr(symbol, ".llvm.");
    size_t length = dot ? (size_t)(dot - symbol) : strlen(symbol);
    if (str_starts_with(symbol, "_R"))
        return v0_name_hash(symbol, length);
    if (str_starts_with(symbol, "_ZN") && length > LEGACY_HASH &&
        memcmp(symbol + length - LEGACY_HASH, "17h", 3) == 0)
        length -= LEGACY_HASH;
    return hash_bytes(symbol, length, 0);
}

/* A function may have several names: their order does not count. */
static void name_functions(struct code_graph *graph)
{
    const struct elf_file *elf = graph->elf;
    for (uint32_t i = 0; elf->has_symtab && i < elf->nr_symbols; i++) {
        uint32_t row =
            elf->symbols[i].type == STT_FUNC ? code_graph_start(graph, elf->symbols[i].addr) : 0;
        if (row)
            graph->functions[row - 1].name_hash += code_name_hash(elf->symbols[i].name) | 1;
    }
}

/* --- imports --------------------------------------------------------------------------------- */

static void read_imports(struct code_graph *graph, const struct elf_section *relocations)
{
    const struct elf_file *elf = graph->elf;
    if (relocations->link >= elf->nr_sections)
        return;
    const struct elf_section *table = &elf->sections[relocations->link];
    if (table->type != SHT_DYNSYM || table->link >= elf->nr_sections || !table->bytes.data)
        return;
    struct elf_bytes names = elf->sections[table->link].bytes;
    if (!names.data || !names.size || names.data[names.size - 1] != 0)
        return;
    for (uint64_t at = 0; at + sizeof(Elf64_Rela) <= relocations->bytes.size;
         at += sizeof(Elf64_Rela)) {
        Elf64_Rela rela;
        Elf64_Sym sym;
        memcpy(&rela, relocations->bytes.data + at, sizeof(rela));
        uint64_t row = ELF64_R_SYM(rela.r_info);
        if (!row || row >= table->bytes.size / sizeof(sym))
            continue;
        memcpy(&sym, table->bytes.data + row * sizeof(sym), sizeof(sym));
        if (sym.st_name < names.size)
            *map_put(&graph->imports, rela.r_offset, NULL) =
                (uint32_t)hash_str((const char *)names.data + sym.st_name, 0);
    }
}

/* --- the graph ------------------------------------------------------------------------------- */

static void find_image(struct code_graph *graph)
{
    graph->low = UINT64_MAX;
    for (uint32_t i = 0; i < graph->elf->nr_segments; i++) {
        const struct elf_segment *segment = &graph->elf->segments[i];
        uint64_t end = segment->addr + segment->size_bytes;
        graph->low = segment->addr < graph->low ? segment->addr : graph->low;
        graph->high = end > graph->high ? end : graph->high;
    }
}

/* Functions do not overlap in what a linker makes; bounded work where they do all the same. */
static void scan_functions(struct code_graph *graph)
{
    uint64_t budget = 2 * graph->elf->file.size_bytes;
    for (size_t i = 0; i < graph->nr_functions; i++) {
        struct code_function *function = &graph->functions[i];
        struct scan scan = {.graph = graph, .addr = function->addr, .size = function->size_bytes};
        function->first_call = (uint32_t)graph->nr_calls;
        function->first_fact = (uint32_t)graph->nr_facts;
        scan.code = scan.size <= MAX_FUNCTION_BYTES && scan.size <= budget
                        ? code_at(graph->elf, scan.addr, scan.size)
                        : NULL;
        if (!scan.code) {
            function->own_hash = hash_u64(i, function->addr);
            continue;
        }
        budget -= scan.size;
        function->own_hash = scan_function(&scan);
        function->nr_calls = (uint32_t)graph->nr_calls - function->first_call;
        function->nr_facts = (uint32_t)graph->nr_facts - function->first_fact;
    }
}

static void add_functions(struct code_graph *graph)
{
    struct code_ranges ranges = code_functions(graph->elf);
    graph->functions = memory_alloc((ranges.nr + 1) * sizeof(*graph->functions));
    for (size_t i = 0; i < ranges.nr; i++) {
        if (graph->nr_functions == UINT32_MAX - 1)
            break;
        graph->functions[graph->nr_functions++] = (struct code_function){
            .addr = ranges.rows[i].addr, .size_bytes = ranges.rows[i].size_bytes};
        *map_put(&graph->starts, ranges.rows[i].addr, NULL) = (uint32_t)graph->nr_functions;
    }
    free(ranges.rows);
}

bool code_graph_init(struct code_graph *graph, const struct elf_file *elf)
{
    *graph = (struct code_graph){.elf = elf};
    if (elf->machine != EM_X86_64)
        return false;
    arena_init(&graph->arena);
    map_init(&graph->starts);
    map_init(&graph->imports);
    graph->data = elf_data_words(elf, &graph->arena, &graph->nr_data);
    for (uint32_t i = 0; i < elf->nr_sections; i++)
        if (elf->sections[i].type == SHT_RELA && elf->sections[i].bytes.data)
            read_imports(graph, &elf->sections[i]);
    find_image(graph);
    add_functions(graph);
    name_functions(graph);
    scan_functions(graph);
    if (graph->nr_functions)
        return true;
    code_graph_deinit(graph);
    return false;
}

void code_graph_deinit(struct code_graph *graph)
{
    free(graph->functions);
    free(graph->calls);
    free(graph->facts);
    map_deinit(&graph->starts);
    map_deinit(&graph->imports);
    arena_deinit(&graph->arena);
    *graph = (struct code_graph){0};
}

uint64_t *code_graph_labels(const struct code_graph *graph)
{
    uint64_t *labels = memory_alloc((graph->nr_functions + 1) * sizeof(*labels));
    for (size_t i = 0; i < graph->nr_functions; i++)
        labels[i] = graph->functions[i].own_hash;
    return labels;
}

void code_graph_deepen(const struct code_graph *graph, uint64_t **labels)
{
    uint64_t *deeper = memory_alloc((graph->nr_functions + 1) * sizeof(*deeper));
    for (size_t i = 0; i < graph->nr_functions; i++) {
        const struct code_function *function = &graph->functions[i];
        deeper[i] = function->own_hash;
        for (uint32_t c = 0; c < function->nr_calls; c++) {
            const struct code_call *call = &graph->calls[function->first_call + c];
            deeper[i] =
                code_hash_add(code_hash_add(deeper[i], call->site), (*labels)[call->callee]);
        }
    }
    free(*labels);
    *labels = deeper;
}
