/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Prints the frames of the addresses on stdin, as test_symbolize.py compares them:
 * one line an address, frames innermost first, "function|file:line", parted by tabs. */
#include <inttypes.h>
#include <stdio.h>

#include "program/index.h"
#include "program/symbolize.h"

int main(int argc, char **argv)
{
    struct debug_source source;
    struct symbolizer symbolizer;
    struct error err;
    uint64_t addr;
    if (argc != 2 || !debug_source_open(&source, argv[1], NULL, &err)) {
        fprintf(stderr, "symbolize: %s\n", argc == 2 ? err.message : "PROGRAM < ADDRESSES");
        return 2;
    }
    debug_source_load(&source);
    index_load_units(&source.dwarf);
    elf_file_symbols(source.symbols);
    symbolizer_init(&symbolizer, &source);
    while (scanf("%" SCNx64, &addr) == 1) {
        struct frame frames[128];
        uint32_t nr = symbolize(&symbolizer, addr, frames, 128);
        for (uint32_t i = 0; i < nr; i++)
            printf("%s%s|%s:%u", i ? "\t" : "", frames[i].function ? frames[i].function : "?",
                   frames[i].file ? frames[i].file : "?", frames[i].line);
        putchar('\n');
    }
    symbolizer_deinit(&symbolizer);
    debug_source_close(&source);
    return 0;
}
