/* Fails one system call on a journal, and keeps what a disk would hold: preloaded into a child by
   the specs.

   FAILING_FILE   the journal. Calls on it, and on directories, are counted.
   FAILING_AT     which of them fails, from 1.
   FAILING_HOW    how:
     EIO, ENOSPC  it fails with that error
     short        a write takes one byte; another call fails with EINTR
     exit         the process ends instead of the call
     half         a write takes half, and the process ends
     full         this and all later writes take a byte, and then fail with ENOSPC

   A sync copies the journal to FILE.disk, once its directory was synced: that is what a loss of
   power would leave. The name of the call that was made to fail is written to FILE.failed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long count;
static int journal = -1, directory = -1;
static bool is_named;

static const char *path_with(const char *suffix) {
  static char path[4096];
  snprintf(path, sizeof path, "%s%s", getenv("FAILING_FILE"), suffix);
  return path;
}

static void put(const char *suffix, const char *text) {
  int fd = REAL(open)(path_with(suffix), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd >= 0) {
    if (REAL(write)(fd, text, strlen(text)) < 0) abort();
    REAL(close)(fd);
  }
}

/* What is in the journal is on the disk now. */
static void keep(void) {
  char block[65536];
  ssize_t got;
  off_t offset = 0;
  int fd;
  if (!is_named) return;
  fd = REAL(open)(path_with(".disk"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  while ((got = REAL(pread)(journal, block, sizeof block, offset)) > 0) {
    if (REAL(write)(fd, block, (size_t)got) != got) abort();
    offset += got;
  }
  REAL(close)(fd);
}

/* Whether this call is the one that fails, and then how: 'e', 's', 'x' or 'h'. errno is set. */
static int fails(const char *name) {
  const char *at = getenv("FAILING_AT"), *how = getenv("FAILING_HOW");
  if (!at || !how) return 0;
  count++;
  if (strcmp(how, "full") == 0 && strcmp(name, "write") == 0 && count >= atol(at)) {
    static bool is_second;
    put(".failed", name);
    is_second = !is_second;
    errno = ENOSPC;
    return is_second ? 's' : 'e';
  }
  if (count != atol(at)) return 0;
  put(".failed", name);
  if (strcmp(how, "exit") == 0) _exit(9);
  if (strcmp(how, "full") == 0) return 0;
  errno = strcmp(how, "ENOSPC") == 0 ? ENOSPC : strcmp(how, "short") == 0 ? EINTR : EIO;
  return *how == 's' ? 's' : *how == 'h' ? 'h' : 'e';
}

/* A call that does not write fails, or ends the process. */
static bool fails_plainly(const char *name) {
  int how = fails(name);
  if (how == 'h') _exit(9);
  return how != 0;
}

int open(const char *path, int flags, ...) {
  mode_t mode = 0;
  bool is_journal = getenv("FAILING_FILE") && strcmp(path, getenv("FAILING_FILE")) == 0;
  bool is_directory = getenv("FAILING_FILE") && (flags & O_DIRECTORY);
  int fd;
  if (flags & O_CREAT) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  if ((is_journal || is_directory) && fails_plainly("open")) return -1;
  fd = REAL(open)(path, flags, mode);
  if (is_journal && fd >= 0) {
    journal = fd;
    is_named = !(flags & O_CREAT);
  }
  if (is_directory) directory = fd;
  return fd;
}

ssize_t write(int fd, const void *bytes, size_t size) {
  if (fd >= 0 && fd == journal) {
    int how = fails("write");
    if (how == 'e' || (how == 's' && size < 2)) return -1;
    if (how == 's') return REAL(write)(fd, bytes, 1);
    if (how == 'h') {
      if (REAL(write)(fd, bytes, size / 2) < 0) abort();
      _exit(9);
    }
  }
  return REAL(write)(fd, bytes, size);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset) {
  if (fd >= 0 && fd == journal && fails_plainly("pread")) return -1;
  return REAL(pread)(fd, bytes, size, offset);
}

int fdatasync(int fd) {
  int status;
  if (fd >= 0 && fd == journal && fails_plainly("fdatasync")) return -1;
  status = REAL(fdatasync)(fd);
  if (status == 0 && fd == journal) keep();
  return status;
}

int fsync(int fd) {
  int status;
  if (fd >= 0 && fd == directory && fails_plainly("fsync")) return -1;
  status = REAL(fsync)(fd);
  if (status == 0 && fd == directory) {
    is_named = true;
    keep();
  }
  return status;
}

int ftruncate(int fd, off_t size) {
  if (fd >= 0 && fd == journal && fails_plainly("ftruncate")) return -1;
  return REAL(ftruncate)(fd, size);
}

int flock(int fd, int operation);
int flock(int fd, int operation) {
  if (fd >= 0 && fd == journal && fails_plainly("flock")) return -1;
  return REAL(flock)(fd, operation);
}

int fstat(int fd, struct stat *st) {
  if (fd >= 0 && fd == journal && fails_plainly("fstat")) return -1;
  return REAL(fstat)(fd, st);
}

int close(int fd) {
  if (fd >= 0 && fd == journal) {
    bool is_failing = fails_plainly("close");
    journal = -1;
    if (is_failing) {
      int number = errno;
      REAL(close)(fd);
      errno = number;
      return -1;
    }
  }
  if (fd >= 0 && fd == directory) directory = -1;
  return REAL(close)(fd);
}
