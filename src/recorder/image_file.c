/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "recorder/image_file.h"

#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "process/proc.h"

/* --- what a file is ------------------------------------------------------------------------------ */

static bool notes_have(const uint8_t *notes, size_t size, const struct region_image *image)
{
    for (size_t at = 0; size - at >= sizeof(Elf64_Nhdr);) {
        Elf64_Nhdr note;
        memcpy(&note, notes + at, sizeof(note));
        at += sizeof(note);
        size_t name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
        size_t descriptor = ((size_t)note.n_descsz + 3) & ~(size_t)3;
        if (name > size - at || descriptor > size - at - name)
            return false;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(notes + at, "GNU", 4) == 0)
            return note.n_descsz >= image->build_id_bytes &&
                   memcmp(notes + at + name, image->build_id, image->build_id_bytes) == 0;
        at += name + descriptor;
    }
    return false;
}

static bool has_build_id(const char *path, const struct region_image *image)
{
    enum { MAX_NOTES = 4096 };
    uint8_t notes[MAX_NOTES];
    bool found = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    size_t nr = 0;
    if (!elf || elf_getphdrnum(elf, &nr) != 0)
        nr = 0;
    for (size_t i = 0; i < nr && i < INT_MAX && !found; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(elf, (int)i, &segment) || segment.p_type != PT_NOTE ||
            segment.p_filesz > sizeof(notes))
            continue;
        ssize_t got = pread(fd, notes, segment.p_filesz, (off_t)segment.p_offset);
        found = got > 0 && notes_have(notes, (size_t)got, image);
    }
    elf_end(elf);
    close(fd);
    return found;
}

static bool is_the_file(const char *path, const struct region_image *image,
                        const struct mapping *mapping)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    if (mapping->inode && st.st_ino == mapping->inode && st.st_dev == mapping->device)
        return true;
    return image->build_id_bytes && image->build_id_bytes <= REGION_BUILD_ID_BYTES &&
           has_build_id(path, image);
}

/* --- finding it ---------------------------------------------------------------------------------- */

/* The mapping in which the image begins. */
static bool find_mapping(struct mapping *mapping, pid_t pid, uint64_t start)
{
    struct text maps;
    bool found = false;
    text_init(&maps);
    if (proc_read(&maps, "/proc/%d/maps", (int)pid))
        for (const char *line = text_str(&maps); *line && !found;) {
            size_t length = strcspn(line, "\n"), path_bytes;
            const char *path;
            found = proc_maps_line(line, length, mapping, &path, &path_bytes) &&
                    mapping->start <= start && start < mapping->end;
            line += length + (line[length] == '\n');
        }
    text_deinit(&maps);
    return found;
}

bool image_file_path(char path[PATH_MAX], pid_t pid, const struct region_image *image)
{
    struct mapping mapping = {0};
    size_t length = strnlen(image->path, sizeof(image->path));
    if (!find_mapping(&mapping, pid, image->start))
        mapping = (struct mapping){0};
    if (length && length < sizeof(image->path) && image->path[0] == '/') {
        memcpy(path, image->path, length + 1);
        if (is_the_file(path, image, &mapping))
            return true;
        snprintf(path, PATH_MAX, "/proc/%d/root%s", (int)pid, image->path);
        if (is_the_file(path, image, &mapping))
            return true;
    }
    snprintf(path, PATH_MAX, "/proc/%d/map_files/%llx-%llx", (int)pid,
             (unsigned long long)mapping.start, (unsigned long long)mapping.end);
    if (mapping.inode && access(path, R_OK) == 0)
        return true;
    snprintf(path, PATH_MAX, "/proc/%d/exe", (int)pid);
    return image->is_program && is_the_file(path, image, &mapping);
}
