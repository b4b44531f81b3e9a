/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Any bytes as the file of a program that is about to be exec'd: programs, scripts, parts of them. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tracer/exec_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A script's interpreter would be opened: only files that are always there to be read. */
static int is_kept_to_itself(const uint8_t *data, size_t size)
{
    static const char allowed[] = "#!/proc/self/exe\n";
    return size < 2 || memcmp(data, "#!", 2) != 0 ||
           (size >= sizeof(allowed) - 1 && memcmp(data, allowed, sizeof(allowed) - 1) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = is_kept_to_itself(data, size) ? memfd_create("program", MFD_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    if (write(fd, data, size) == (ssize_t)size) {
        int before = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        bool fits = exec_target_fits(fd, "", AT_EMPTY_PATH);
        int after = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (fits != exec_target_fits(fd, "", AT_EMPTY_PATH) || after != before + 1)
            abort(); /* it depends on more than the bytes, or leaves a file open */
        close(before);
        close(after);
    }
    close(fd);
    return 0;
}
