/* What a process does to the files of one directory, in the order in which it happened: for LD_PRELOAD.
 *
 * RECORD_UNDER is the directory, RECORD_TO the file that gets the records. Each is a head and the bytes behind
 * it. A sync is recorded when it begins and when it has ended, and carries the number of its beginning: what is
 * written in between is not known to be on the disk. Files that end with -shm are left out: SQLite makes them
 * anew after a power cut.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct head {
    uint32_t kind; /* 'N' a new name, 'C' created, 'W' written, 'T' cut, 'B' and 'E' a sync, 'R' renamed, 'U' unlinked */
    uint32_t file;
    uint64_t at; /* the offset, the new length, or the number of the sync */
    uint64_t length;
};

enum { FILES = 64, DESCRIPTORS = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char under[1024], names[FILES][1024];
static int known, record = -1, file_of[DESCRIPTORS];
static uint64_t syncs;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void put(uint32_t kind, int file, uint64_t at, const void *bytes, uint64_t length) {
    struct head head = {kind, (uint32_t)file, at, length};
    if (REAL(write)(record, &head, sizeof head) != sizeof head) abort();
    if (length && REAL(write)(record, bytes, length) != (ssize_t)length) abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *to = getenv("RECORD_TO"), *where = getenv("RECORD_UNDER");
    if (!to || !where || !realpath(where, under)) return;
    record = REAL(open)(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int i = 0; i < DESCRIPTORS; i++) file_of[i] = -1;
}

/* The number of a path that is recorded, else -1. Called with the lock held. */
static int number_of(const char *path) {
    char whole[2048];
    size_t length = strlen(path);
    if (path[0] == '/') snprintf(whole, sizeof whole, "%s", path);
    else {
        char here[1024];
        if (!getcwd(here, sizeof here)) return -1;
        snprintf(whole, sizeof whole, "%s/%s", here, path);
    }
    size_t root = strlen(under);
    if (strncmp(whole, under, root) || (whole[root] && whole[root] != '/')) return -1;
    if (length > 4 && !strcmp(path + length - 4, "-shm")) return -1;
    const char *name = whole[root] ? whole + root + 1 : ".";
    for (int i = 0; i < known; i++)
        if (!strcmp(names[i], name)) return i;
    if (known == FILES) abort();
    strcpy(names[known], name);
    put('N', known, 0, name, strlen(name));
    return known++;
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
    int (*real)(int, const char *, int, ...) = REAL(openat);
    if (record < 0) return real(folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat seen;
    int was_there = !fstatat(folder, path, &seen, 0);
    int descriptor = real(folder, path, flags, mode);
    if (descriptor >= 0 && descriptor < DESCRIPTORS) {
        int number = number_of(path);
        file_of[descriptor] = number;
        if (number >= 0 && !was_there) put('C', number, 0, "", 0);
        if (number >= 0 && was_there && (flags & O_TRUNC)) put('T', number, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return descriptor;
}

static mode_t mode_in(int flags, va_list more) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                                   \
    int name(const char *path, int flags, ...) {                     \
        va_list more;                                                \
        va_start(more, flags);                                       \
        mode_t mode = mode_in(flags, more);                          \
        va_end(more);                                                \
        return opened(AT_FDCWD, path, flags, mode);                  \
    }
#define OPENAT(name)                                                 \
    int name(int folder, const char *path, int flags, ...) {         \
        va_list more;                                                \
        va_start(more, flags);                                       \
        mode_t mode = mode_in(flags, more);                          \
        va_end(more);                                                \
        return opened(folder, path, flags, mode);                    \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

static int file(int descriptor) {
    return record >= 0 && descriptor >= 0 && descriptor < DESCRIPTORS ? file_of[descriptor] : -1;
}

int close(int descriptor) {
    if (record >= 0 && descriptor >= 0 && descriptor < DESCRIPTORS) file_of[descriptor] = -1;
    return REAL(close)(descriptor);
}

static ssize_t written(int descriptor, const void *bytes, size_t length, off_t at, int moves) {
    if (file(descriptor) < 0)
        return moves ? REAL(write)(descriptor, bytes, length) : REAL(pwrite)(descriptor, bytes, length, at);
    pthread_mutex_lock(&lock);
    if (moves) at = lseek(descriptor, 0, fcntl(descriptor, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t done = moves ? REAL(write)(descriptor, bytes, length) : REAL(pwrite)(descriptor, bytes, length, at);
    if (done > 0) put('W', file(descriptor), (uint64_t)at, bytes, (uint64_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    return written(descriptor, bytes, length, 0, 1);
}
ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t at) {
    return written(descriptor, bytes, length, at, 0);
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off_t at) {
    return written(descriptor, bytes, length, at, 0);
}

static int synced(int descriptor, int (*real)(int)) {
    int number = file(descriptor);
    if (number < 0) return real(descriptor);
    pthread_mutex_lock(&lock);
    uint64_t sync = syncs++;
    put('B', number, sync, "", 0);
    pthread_mutex_unlock(&lock);
    int result = real(descriptor);
    pthread_mutex_lock(&lock);
    if (!result) put('E', number, sync, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int descriptor) { return synced(descriptor, REAL(fsync)); }
int fdatasync(int descriptor) { return synced(descriptor, REAL(fdatasync)); }

static int cut(int descriptor, off_t length) {
    if (file(descriptor) < 0) return REAL(ftruncate)(descriptor, length);
    pthread_mutex_lock(&lock);
    int result = REAL(ftruncate)(descriptor, length);
    if (!result) put('T', file(descriptor), (uint64_t)length, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int descriptor, off_t length) { return cut(descriptor, length); }
int ftruncate64(int descriptor, off_t length) { return cut(descriptor, length); }

int rename(const char *from, const char *to) {
    if (record < 0) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int old = number_of(from), new = number_of(to), result = REAL(rename)(from, to);
    if (!result && old >= 0 && new >= 0) put('R', old, (uint64_t)new, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    if (record < 0) return REAL(unlink)(path);
    pthread_mutex_lock(&lock);
    int number = number_of(path), result = REAL(unlink)(path);
    if (!result && number >= 0) put('U', number, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
