/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "program/plan_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/map.h"
#include "base/text.h"
#include "program/plan_builder.h"

static bool hash_identity(const char *path, uint64_t hash[2])
{
    struct file_identity identity;
    if (!file_identity_get(path, &identity))
        return false;
    hash[0] = hash_bytes(&identity, sizeof(identity), hash[0]);
    hash[1] = hash_bytes(&identity, sizeof(identity), hash[1]);
    return true;
}

bool plan_cache_key(const struct plan_request *request, uint8_t key[16])
{
    uint64_t hash[2] = {PLAN_VERSION, ~(uint64_t)PLAN_VERSION};
    hash_identity("/proc/self/exe", hash); /* another asyncmem may know more */
    if (!hash_identity(request->path, hash) ||
        (request->symbols_path && !hash_identity(request->symbols_path, hash)))
        return false;
    memcpy(key, hash, 16);
    return true;
}

static bool make_folders(const char *path)
{
    struct text part;
    text_init(&part);
    for (const char *p = path; *p; p++) {
        text_append_char(&part, *p);
        if (p[1] == '/' || !p[1])
            mkdir(text_str(&part), 0700);
    }
    text_deinit(&part);
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           !(st.st_mode & (S_IWGRP | S_IWOTH));
}

static bool cache_folder(struct text *folder)
{
    const char *own = getenv("ASYNCMEM_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    if (own && *own)
        text_append_str(folder, own);
    else if (xdg && *xdg == '/')
        text_printf(folder, "%s/asyncmem", xdg);
    else if (home && *home == '/')
        text_printf(folder, "%s/.cache/asyncmem", home);
    else
        return false;
    return make_folders(text_str(folder));
}

static const char *const plan_ending[NR_PLAN_LEVELS] = {
    [PLAN_LEVEL_TYPES] = "plan", [PLAN_LEVEL_MEMORY] = "memory"};

static bool cache_path(const struct plan_request *request, const char *ending, struct text *path)
{
    char *real = realpath(request->path, NULL);
    char *symbols = request->symbols_path ? realpath(request->symbols_path, NULL) : NULL;
    bool ok = real && (symbols || !request->symbols_path) && cache_folder(path);
    if (ok)
        text_printf(path, "/%016llx.%s",
                    (unsigned long long)hash_str(real, symbols ? hash_str(symbols, 1) : 0), ending);
    free(real);
    free(symbols);
    return ok;
}

/* Every file that the plan was read from is as it was. */
static bool sources_unchanged(const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->nr_sources; i++) {
        const struct plan_source *source = &plan->sources[i];
        struct file_identity now;
        if (!file_identity_get(plan_string(plan, source->path), &now) ||
            now.size_bytes != source->size_bytes || now.modified_ns != source->modified_ns ||
            now.inode != source->inode)
            return false;
    }
    return true;
}

static bool checksum_ok(const struct file *file)
{
    const struct plan_header *header = (const struct plan_header *)file->bytes;
    return file->size_bytes >= sizeof(*header) &&
           header->checksum == plan_checksum(file->bytes, file->size_bytes);
}

bool plan_cache_find(struct loaded_plan *loaded, const struct plan_request *request,
                     uint8_t key[16])
{
    struct text path;
    struct file file = {0};
    const char *problem;
    text_init(&path);
    bool ok = plan_cache_key(request, key) &&
              cache_path(request, plan_ending[request->level], &path) &&
              file_open(&file, text_str(&path), NULL);
    text_deinit(&path);
    if (!ok)
        return false;
    if (!checksum_ok(&file) || !plan_open(&loaded->plan, file.bytes, file.size_bytes, &problem) ||
        memcmp(((const struct plan_header *)file.bytes)->key, key, 16) != 0 ||
        !sources_unchanged(&loaded->plan)) {
        file_close(&file);
        return false;
    }
    loaded->bytes = (void *)file.bytes;
    loaded->size_bytes = file.size_bytes;
    loaded->is_mapped = true;
    loaded->is_cacheable = true;
    return true;
}

void plan_cache_store(const struct plan_request *request, const void *bytes, uint64_t size)
{
    struct text path;
    text_init(&path);
    if (cache_path(request, plan_ending[request->level], &path) &&
        !file_replace(text_str(&path), bytes, size, NULL))
        unlink(text_str(&path));
    text_deinit(&path);
}

/* --- answers --------------------------------------------------------------------------------- */

struct answer_header {
    uint64_t plan;     /* checksum of the plan */
    uint64_t question; /* hash of what was asked */
    uint64_t size;     /* of the answer */
    uint64_t checksum; /* XXH3-64 of the answer */
};

_Static_assert(sizeof(struct answer_header) == PLAN_ANSWER_HEADER_BYTES, "a file format");

static struct answer_header header_for(const struct plan *plan, uint64_t question,
                                       const void *bytes, uint64_t size)
{
    return (struct answer_header){((const struct plan_header *)plan->bytes)->checksum, question,
                                  size, hash_bytes(bytes, size, 0)};
}

bool plan_answer_find(const struct plan_request *request, const struct plan *plan,
                      uint64_t question, struct file *answer)
{
    struct text path;
    text_init(&path);
    bool ok = cache_path(request, "answer", &path) && file_open(answer, text_str(&path), NULL);
    text_deinit(&path);
    if (!ok)
        return false;
    struct answer_header header = {0}, wanted = {0};
    if (answer->size_bytes >= sizeof(header)) {
        const uint8_t *bytes = answer->bytes + sizeof(header);
        memcpy(&header, answer->bytes, sizeof(header));
        wanted = header_for(plan, question, bytes, answer->size_bytes - sizeof(header));
    }
    if (header.size && memcmp(&header, &wanted, sizeof(header)) == 0)
        return true;
    file_close(answer);
    return false;
}

void plan_answer_store(const struct plan_request *request, const struct plan *plan,
                       uint64_t question, const void *bytes, uint64_t size)
{
    struct answer_header header = header_for(plan, question, bytes, size);
    struct text path, whole;
    text_init(&path);
    text_init(&whole);
    text_append(&whole, (const char *)&header, sizeof(header));
    text_append(&whole, bytes, size);
    if (cache_path(request, "answer", &path) &&
        !file_replace(text_str(&path), text_str(&whole), whole.length, NULL))
        unlink(text_str(&path));
    text_deinit(&path);
    text_deinit(&whole);
}
