/* Stops a program in the midst of writing a checkpoint, whatever it is written in: preloaded (LD_PRELOAD), it stands
 * before the calls by which a file takes its name, rename() and the open() that creates it.
 *
 * STOP_AT        pattern for the name of the file that is about to be there, checkpoint.pt
 * STOP_ATTEMPT   in this attempt only (SPOTRELAY_ATTEMPT)
 * STOP_COUNT     the n-th time
 *
 * There half of what was written is cut off, a background save gets the time to take it so, "stopped in a write" is
 * said, and nothing more is done until the machine dies.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAVED_MEANWHILE_S 2

static int is_the_one(const char *path) {
    static int seen;
    const char *pattern = getenv("STOP_AT"), *mine = getenv("STOP_ATTEMPT"), *attempt = getenv("SPOTRELAY_ATTEMPT");
    const char *count = getenv("STOP_COUNT"), *slash = strrchr(path, '/');
    if (!pattern || !mine || !attempt || strcmp(mine, attempt) || fnmatch(pattern, slash ? slash + 1 : path, 0))
        return 0;
    return ++seen == (count ? atoi(count) : 1);
}

static void stop(int folder, const char *written) {
    struct stat before;
    int file = openat(folder, written, O_WRONLY | O_CLOEXEC);
    if (file >= 0 && !fstat(file, &before))
        (void)!ftruncate(file, before.st_size / 2);
    sleep(SAVED_MEANWHILE_S);
    (void)!write(STDOUT_FILENO, "stopped in a write\n", 19);
    for (;;)
        pause();
}

int rename(const char *old, const char *new) {
    if (is_the_one(new))
        stop(AT_FDCWD, old);
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(old, new);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    if (is_the_one(new))
        stop(from, old);
    return ((int (*)(int, const char *, int, const char *, unsigned))dlsym(RTLD_NEXT, "renameat2"))(from, old, to, new, flags);
}

int open64(const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    int file = ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64"))(path, flags, mode);
    if (file >= 0 && flags & O_CREAT && is_the_one(path))
        stop(AT_FDCWD, path);
    return file;
}
