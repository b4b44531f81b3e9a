/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The peer of `asyncmem types`: what a careful author would write on libdw (elfutils) to find
 * every future type.  Each unit is walked through its namespaces and structures, names are read,
 * coroutine environments are counted, and of each of these the states and slots are visited.
 *
 *     libdw_walk BINARY [THREADS]
 *
 * Each thread opens a handle of its own, because a Dwarf handle may not be shared, and takes every
 * unit whose number is its own modulo the number of threads.  Prints three counts.
 */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_THREADS = 16 };

struct walk {
    const char *path;
    unsigned thread, nr_threads;
    unsigned long nr_units, nr_coroutines, nr_slots;
    int failed;
};

static void visit_slots(struct walk *walk, Dwarf_Die *die)
{
    Dwarf_Die child;
    if (dwarf_child(die, &child) != 0)
        return;
    do {
        int tag = dwarf_tag(&child);
        Dwarf_Attribute attribute;
        Dwarf_Word offset;
        if (tag == DW_TAG_member &&
            dwarf_formudata(dwarf_attr(&child, DW_AT_data_member_location, &attribute), &offset) ==
                0)
            walk->nr_slots += dwarf_diename(&child) != NULL;
        if (tag == DW_TAG_variant_part || tag == DW_TAG_variant || tag == DW_TAG_structure_type)
            visit_slots(walk, &child);
    } while (dwarf_siblingof(&child, &child) == 0);
}

static void visit(struct walk *walk, Dwarf_Die *die)
{
    Dwarf_Die child;
    if (dwarf_child(die, &child) != 0)
        return;
    do {
        int tag = dwarf_tag(&child);
        if (tag != DW_TAG_namespace && tag != DW_TAG_structure_type)
            continue;
        const char *name = dwarf_diename(&child);
        if (tag == DW_TAG_structure_type && name && strncmp(name, "{async_", 7) == 0) {
            walk->nr_coroutines++;
            visit_slots(walk, &child);
        } else {
            visit(walk, &child);
        }
    } while (dwarf_siblingof(&child, &child) == 0);
}

static void *walk_units(void *argument)
{
    struct walk *walk = argument;
    int fd = open(walk->path, O_RDONLY);
    Dwarf *dwarf = fd < 0 ? NULL : dwarf_begin(fd, DWARF_C_READ);
    walk->failed = !dwarf;
    if (!dwarf)
        return NULL;
    Dwarf_Off offset = 0, next;
    size_t header_bytes;
    for (unsigned long number = 0;
         dwarf_nextcu(dwarf, offset, &next, &header_bytes, NULL, NULL, NULL) == 0;
         offset = next, number++) {
        Dwarf_Die unit;
        if (number % walk->nr_threads != walk->thread ||
            !dwarf_offdie(dwarf, offset + header_bytes, &unit))
            continue;
        walk->nr_units++;
        visit(walk, &unit);
    }
    dwarf_end(dwarf);
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    struct walk walks[MAX_THREADS] = {0}, all = {0};
    pthread_t threads[MAX_THREADS];
    int nr = argc > 2 ? atoi(argv[2]) : 1;
    if (argc < 2 || nr < 1 || nr > MAX_THREADS) {
        fprintf(stderr, "usage: libdw_walk BINARY [THREADS], at most %d threads\n", MAX_THREADS);
        return 2;
    }
    for (int i = 0; i < nr; i++) {
        walks[i] = (struct walk){argv[1], (unsigned)i, (unsigned)nr, 0, 0, 0, 0};
        if (pthread_create(&threads[i], NULL, walk_units, &walks[i]) != 0) {
            fprintf(stderr, "libdw_walk: no thread could be made\n");
            return 1;
        }
    }
    for (int i = 0; i < nr; i++) {
        pthread_join(threads[i], NULL);
        all.nr_units += walks[i].nr_units;
        all.nr_coroutines += walks[i].nr_coroutines;
        all.nr_slots += walks[i].nr_slots;
        all.failed |= walks[i].failed;
    }
    if (all.failed) {
        fprintf(stderr, "libdw_walk: %s cannot be read: %s\n", argv[1], dwarf_errmsg(-1));
        return 1;
    }
    printf("%lu units, %lu coroutine types, %lu slots\n", all.nr_units, all.nr_coroutines,
           all.nr_slots);
    return 0;
}
