/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Runs a fuzz target on files and on the files of folders: the corpus as a regression test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

enum { SECONDS_A_FILE = 10 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned nr_files;

static void replay(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        exit(2);
    }
    if (S_ISDIR(st.st_mode)) {
        struct dirent **entries;
        int nr = scandir(path, &entries, NULL, alphasort);
        for (int i = 0; i < nr; i++) {
            char below[4096];
            snprintf(below, sizeof(below), "%s/%s", path, entries[i]->d_name);
            if (entries[i]->d_name[0] != '.')
                replay(below);
            free(entries[i]);
        }
        if (nr >= 0)
            free(entries);
        return;
    }
    struct file file = {0};
    if (st.st_size && !file_open(&file, path, NULL)) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    fprintf(stderr, "%s\n", path);
    alarm(SECONDS_A_FILE);
    LLVMFuzzerTestOneInput(st.st_size ? file.bytes : (const uint8_t *)"", file.size_bytes);
    alarm(0);
    file_close(&file);
    nr_files++;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i]);
    if (!nr_files) {
        fprintf(stderr, "replay: no files\n");
        return 2;
    }
    printf("replay: %u files passed\n", nr_files);
    return 0;
}
