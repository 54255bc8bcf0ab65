// Preloaded into a program: ends it with SIGKILL before one of its calls that change files.
//
//   LAST_CALL  the number of that call, from 1
//   CALLS      a file that gets the name of every call that was made, a line each
//
// Between two such calls nothing happens that lasts, but for writes through io_uring.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;
static long last = -1;
static int names = -1;

__attribute__((constructor)) static void begin(void) {
  const char *number = getenv("LAST_CALL"), *path = getenv("CALLS");
  if (number) last = atol(number);
  if (path) names = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void count(const char *name) {
  if (atomic_fetch_add(&calls, 1) + 1 == last) kill(getpid(), SIGKILL);
  if (names < 0) return;
  char line[32] = {0};
  strncat(line, name, sizeof line - 2);
  strcat(line, "\n");
  syscall(SYS_write, names, line, strlen(line));
}

#define CALL(type, name, condition, parameters, ...)                 \
  type name parameters {                                             \
    static type(*system_call) parameters;                            \
    if (!system_call) system_call = dlsym(RTLD_NEXT, #name);         \
    if (condition) count(#name);                                     \
    return system_call(__VA_ARGS__);                                 \
  }

CALL(int, rename, 1, (const char *old, const char *new), old, new)
CALL(int, unlink, 1, (const char *path), path)
CALL(int, mkdir, 1, (const char *path, mode_t mode), path, mode)
CALL(int, rmdir, 1, (const char *path), path)
CALL(int, truncate, 1, (const char *path, off_t size), path, size)
CALL(int, truncate64, 1, (const char *path, off64_t size), path, size)
CALL(int, ftruncate, 1, (int file, off_t size), file, size)
CALL(int, ftruncate64, 1, (int file, off64_t size), file, size)
CALL(int, fallocate, 1, (int file, int mode, off_t at, off_t size), file, mode, at, size)
CALL(int, fallocate64, 1, (int file, int mode, off64_t at, off64_t size), file, mode, at, size)
CALL(int, posix_fallocate, 1, (int file, off_t at, off_t size), file, at, size)
CALL(int, posix_fallocate64, 1, (int file, off64_t at, off64_t size), file, at, size)
CALL(int, fsync, 1, (int file), file)
CALL(int, fdatasync, 1, (int file), file)
// Not what is said on the terminal.
CALL(ssize_t, write, file > 2, (int file, const void *data, size_t size), file, data, size)
CALL(ssize_t, pwrite, 1, (int file, const void *data, size_t size, off_t at), file, data, size, at)
CALL(ssize_t, pwrite64, 1, (int file, const void *data, size_t size, off64_t at), file, data, size, at)
