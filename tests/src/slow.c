/* Stands in for parts of the C library in a daemon under test: syncs of files, writes into them, openings of the config
   that is kept and of all files below SLOW_STATE, and lookups of users and groups, wait as long as the file that SLOW_DISK,
   SLOW_CONFIG, SLOW_FILES or SLOW_NAMES names is there. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static void wait_for(const char *variable) {
    const char *file = getenv(variable);
    while (file && access(file, F_OK) == 0)
        usleep(10000);
}

int fsync(int fd) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_for("SLOW_DISK");
    return next(fd);
}

int fdatasync(int fd) {
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_for("SLOW_DISK");
    return next(fd);
}

/* The name that `std` calls it by where offsets have 64 bits anyway. */
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    ssize_t (*next)(int, const void *, size_t, off64_t) =
        (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    wait_for("SLOW_DISK");
    return next(fd, bytes, count, at);
}

int open64(const char *path, int flags, ...) {
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    static const char kept[] = "/policy.last";
    size_t length = strlen(path);
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (length >= sizeof kept && strcmp(path + length - (sizeof kept - 1), kept) == 0)
        wait_for("SLOW_CONFIG");
    const char *state = getenv("SLOW_STATE");
    if (state && strncmp(path, state, strlen(state)) == 0)
        wait_for("SLOW_FILES");
    return next(path, flags, mode);
}

int getpwuid_r(uid_t uid, struct passwd *user, char *buffer, size_t size, struct passwd **found) {
    int (*next)(uid_t, struct passwd *, char *, size_t, struct passwd **) =
        (int (*)(uid_t, struct passwd *, char *, size_t, struct passwd **))dlsym(RTLD_NEXT, "getpwuid_r");
    wait_for("SLOW_NAMES");
    return next(uid, user, buffer, size, found);
}

int getgrnam_r(const char *name, struct group *group, char *buffer, size_t size, struct group **found) {
    int (*next)(const char *, struct group *, char *, size_t, struct group **) =
        (int (*)(const char *, struct group *, char *, size_t, struct group **))dlsym(RTLD_NEXT, "getgrnam_r");
    wait_for("SLOW_NAMES");
    return next(name, group, buffer, size, found);
}
