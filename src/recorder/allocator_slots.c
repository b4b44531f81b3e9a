/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/allocator_slots.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"

static const struct name {
    const char *name;
    enum region_slot_function function;
} mimalloc[] =
    {
        {"malloc_aligned", REGION_SLOT_MI_MALLOC_ALIGNED},
        {"zalloc_aligned", REGION_SLOT_MI_ZALLOC_ALIGNED},
        {"realloc_aligned", REGION_SLOT_MI_REALLOC_ALIGNED},
        {"malloc", REGION_SLOT_MI_MALLOC},
        {"zalloc", REGION_SLOT_MI_ZALLOC},
        {"realloc", REGION_SLOT_MI_REALLOC},
        {"free", REGION_SLOT_MI_FREE},
        {0},
},
  jemalloc[] = {
      {"malloc", REGION_SLOT_JE_MALLOC},
      {"calloc", REGION_SLOT_JE_CALLOC},
      {"realloc", REGION_SLOT_JE_REALLOC},
      {"free", REGION_SLOT_JE_FREE},
      {"mallocx", REGION_SLOT_JE_MALLOCX},
      {"rallocx", REGION_SLOT_JE_RALLOCX},
      {"xallocx", REGION_SLOT_JE_XALLOCX},
      {"sdallocx", REGION_SLOT_JE_SDALLOCX},
      {"dallocx", REGION_SLOT_JE_DALLOCX},
      {"posix_memalign", REGION_SLOT_JE_POSIX_MEMALIGN},
      {"aligned_alloc", REGION_SLOT_JE_ALIGNED_ALLOC},
      {0},
};

static const struct prefix {
    const char *prefix;
    const struct name *names;
} prefixes[] = {{"mi_", mimalloc}, {"_rjem_", jemalloc}, {"je_", jemalloc}};

enum { MAX_TARGETS = 64, MAX_SLOTS = 4096 };

struct target {
    uint64_t addr;
    enum region_slot_function function;
};

struct search {
    Elf *elf;
    struct target targets[MAX_TARGETS];
    size_t nr_targets;
    uint64_t lowest, highest; /* of the targets */
    struct allocator_slots *slots;
    bool has_symbols; /* a symbol table that strip would have removed */
};

/* --- functions ----------------------------------------------------------------------------------- */

static bool find_function(const char *symbol, enum region_slot_function *function)
{
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        size_t length = strlen(prefixes[i].prefix);
        if (strncmp(symbol, prefixes[i].prefix, length) != 0)
            continue;
        for (const struct name *name = prefixes[i].names; name->name; name++)
            if (strcmp(symbol + length, name->name) == 0) {
                *function = name->function;
                return true;
            }
    }
    return false;
}

static const struct target *target_at(const struct search *search, uint64_t addr)
{
    if (addr < search->lowest || addr > search->highest)
        return NULL;
    for (size_t i = 0; i < search->nr_targets; i++)
        if (search->targets[i].addr == addr)
            return &search->targets[i];
    return NULL;
}

static void add_target(struct search *search, uint64_t addr, enum region_slot_function function)
{
    if (search->nr_targets == MAX_TARGETS || !addr || target_at(search, addr))
        return;
    if (!search->nr_targets || addr < search->lowest)
        search->lowest = addr;
    if (!search->nr_targets || addr > search->highest)
        search->highest = addr;
    search->targets[search->nr_targets++] = (struct target){addr, function};
}

static void find_targets(struct search *search, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t nr = data && header->sh_entsize ? data->d_size / header->sh_entsize : 0;
    for (size_t i = 0; i < nr && i < INT_MAX; i++) {
        GElf_Sym symbol;
        enum region_slot_function function;
        if (!gelf_getsym(data, (int)i, &symbol) || symbol.st_shndx == SHN_UNDEF ||
            GELF_ST_TYPE(symbol.st_info) != STT_FUNC)
            continue;
        const char *name = elf_strptr(search->elf, header->sh_link, symbol.st_name);
        if (name && find_function(name, &function))
            add_target(search, symbol.st_value, function);
    }
}

/* --- words --------------------------------------------------------------------------------------- */

static void take_word(struct search *search, uint64_t addr, uint64_t value)
{
    struct allocator_slots *slots = search->slots;
    const struct target *target = target_at(search, value);
    if (!target || slots->nr == MAX_SLOTS)
        return;
    slots->rows = array_reserve(slots->rows, &slots->capacity, slots->nr + 1, sizeof(*slots->rows));
    slots->rows[slots->nr++] = (struct region_slot){
        .function = target->function, .slot_offset = addr, .target_offset = target->addr};
}

static void look_at_relocations(struct search *search, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL), *symbols = NULL;
    Elf_Scn *symbol_section = elf_getscn(search->elf, header->sh_link);
    if (header->sh_link && symbol_section)
        symbols = elf_getdata(symbol_section, NULL);
    size_t nr = data && header->sh_entsize ? data->d_size / header->sh_entsize : 0;
    for (size_t i = 0; i < nr && i < INT_MAX; i++) {
        GElf_Rela rela;
        GElf_Sym symbol;
        if (!gelf_getrela(data, (int)i, &rela))
            continue;
        uint64_t type = GELF_R_TYPE(rela.r_info);
        if (type == R_X86_64_RELATIVE)
            take_word(search, rela.r_offset, (uint64_t)rela.r_addend);
        else if ((type == R_X86_64_GLOB_DAT || type == R_X86_64_JUMP_SLOT || type == R_X86_64_64) &&
                 symbols && GELF_R_SYM(rela.r_info) < INT_MAX &&
                 gelf_getsym(symbols, (int)GELF_R_SYM(rela.r_info), &symbol) &&
                 symbol.st_shndx != SHN_UNDEF)
            take_word(search, rela.r_offset, symbol.st_value + (uint64_t)rela.r_addend);
    }
}

/* Sections where the compiler keeps words through which it calls. */
static bool has_words(const char *name)
{
    return name && (strncmp(name, ".got", 4) == 0 || strncmp(name, ".data.rel.ro", 12) == 0);
}

/*
 * What stands in the file: the whole truth of a program that is not moved, and of words relocated in place (RELR).  Of
 * others a word may stand here by chance; the tracer looks whether it leads to the function.
 */
static void look_at_words(struct search *search, Elf_Scn *section, const GElf_Shdr *header)
{
    Elf_Data *data = elf_rawdata(section, NULL);
    for (uint64_t at = 0; data && data->d_buf && data->d_size >= 8 && at <= data->d_size - 8;
         at += 8) {
        uint64_t value;
        memcpy(&value, (const char *)data->d_buf + at, sizeof(value));
        take_word(search, header->sh_addr + at, value);
    }
}

/* --- the file ------------------------------------------------------------------------------------ */

static void each_section(struct search *search,
                         void (*look)(struct search *, Elf_Scn *, const GElf_Shdr *),
                         bool (*wanted)(const struct search *, const GElf_Shdr *, const char *))
{
    size_t names;
    if (elf_getshdrstrndx(search->elf, &names) != 0)
        return;
    for (Elf_Scn *section = NULL; (section = elf_nextscn(search->elf, section));) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) &&
            wanted(search, &header, elf_strptr(search->elf, names, header.sh_name)))
            look(search, section, &header);
    }
}

static bool is_symbols(const struct search *search, const GElf_Shdr *header, const char *name)
{
    (void)search, (void)name;
    return header->sh_type == SHT_SYMTAB || header->sh_type == SHT_DYNSYM;
}

static bool is_relocations(const struct search *search, const GElf_Shdr *header, const char *name)
{
    (void)search, (void)name;
    return header->sh_type == SHT_RELA && header->sh_flags & SHF_ALLOC;
}

static bool is_words(const struct search *search, const GElf_Shdr *header, const char *name)
{
    (void)search;
    return header->sh_type == SHT_PROGBITS && header->sh_flags & SHF_ALLOC && has_words(name);
}

/* --- without symbols ----------------------------------------------------------------------------- */

/* What allocators write in front of their messages. */
static const struct {
    const char *message, *allocator;
} messages[] = {{"<jemalloc>: ", "jemalloc"}, {"mimalloc: ", "mimalloc"}};

static bool is_constants(const struct search *search, const GElf_Shdr *header, const char *name)
{
    (void)search;
    return header->sh_type == SHT_PROGBITS && name && strncmp(name, ".rodata", 7) == 0;
}

static void look_for_messages(struct search *search, Elf_Scn *section, const GElf_Shdr *header)
{
    (void)header;
    Elf_Data *data = elf_rawdata(section, NULL);
    for (size_t i = 0; data && data->d_buf && i < sizeof(messages) / sizeof(*messages); i++)
        if (memmem(data->d_buf, data->d_size, messages[i].message, strlen(messages[i].message)))
            search->slots->hidden = messages[i].allocator;
}

static bool is_symbol_table(const struct search *search, const GElf_Shdr *header, const char *name)
{
    (void)search, (void)name;
    return header->sh_type == SHT_SYMTAB;
}

static void note_symbols(struct search *search, Elf_Scn *section, const GElf_Shdr *header)
{
    (void)section, (void)header;
    search->has_symbols = true;
}

static int compare_slots(const void *left, const void *right)
{
    const struct region_slot *a = left, *b = right;
    return (a->slot_offset > b->slot_offset) - (a->slot_offset < b->slot_offset);
}

/* A word is told once, though relocations and the file's content both have it. */
static void drop_doubles(struct allocator_slots *slots)
{
    size_t nr = 0;
    if (slots->nr)
        qsort(slots->rows, slots->nr, sizeof(*slots->rows), compare_slots);
    for (size_t i = 0; i < slots->nr; i++)
        if (!nr || slots->rows[nr - 1].slot_offset != slots->rows[i].slot_offset)
            slots->rows[nr++] = slots->rows[i];
    slots->nr = nr;
}

void allocator_slots_find(struct allocator_slots *slots, const char *path)
{
    struct search search = {.slots = slots};
    *slots = (struct allocator_slots){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    elf_version(EV_CURRENT);
    search.elf = elf_begin(fd, ELF_C_READ, NULL);
    if (search.elf && elf_kind(search.elf) == ELF_K_ELF) {
        each_section(&search, find_targets, is_symbols);
        if (search.nr_targets) {
            each_section(&search, look_at_relocations, is_relocations);
            each_section(&search, look_at_words, is_words);
        } else {
            each_section(&search, note_symbols, is_symbol_table);
            if (!search.has_symbols)
                each_section(&search, look_for_messages, is_constants);
        }
        drop_doubles(slots);
    }
    elf_end(search.elf);
    close(fd);
}
