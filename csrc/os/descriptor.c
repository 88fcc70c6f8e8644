/* descriptor: see descriptor.h. */
#include "descriptor.h"

#include "process.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static crux_descriptor *first;

static void before_fork(void) { pthread_mutex_lock(&mutex); }

static void after_fork_in_parent(void) { pthread_mutex_unlock(&mutex); }

/* fstat(2) and close(2) are async-signal-safe. A fork handler in the child of a process with
   several threads may call nothing else. */
static void after_fork_in_child(void) {
  crux_descriptor *d;
  struct stat st;
  pthread_mutex_unlock(&mutex);
  for (d = first; d; d = d->next) {
    if (fstat(d->fd, &st) == 0 && st.st_dev == d->device && st.st_ino == d->inode) close(d->fd);
  }
  first = NULL;
}

/* pthread_atfork(3) runs the handlers before a fork in reverse order of registration. These are
   registered before those of process.c, so the mutex here is locked after the lock there. That is
   the order of crux's own threads, too. */
bool crux_descriptors_init(void) {
  return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

static void close_unregistered(int fd) {
  int error = errno;
  close(fd);
  errno = error;
}

bool crux_descriptor_register(crux_descriptor *d, int fd) {
  struct stat st;
  d->fd = -1;
  if (fd < 0) return false;
  if (fstat(fd, &st) != 0) {
    close_unregistered(fd);
    return false;
  }
  d->fd = fd;
  d->generation = crux_process_generation();
  d->device = st.st_dev;
  d->inode = st.st_ino;
  pthread_mutex_lock(&mutex);
  d->next = first;
  d->link = &first;
  if (first) first->link = &d->next;
  first = d;
  pthread_mutex_unlock(&mutex);
  return true;
}

/* Returns the number if this process may close it, -1 otherwise. */
static int unregister(crux_descriptor *d) {
  int fd = d->generation == crux_process_generation() ? d->fd : -1;
  d->fd = -1;
  if (fd < 0) return -1;
  pthread_mutex_lock(&mutex);
  *d->link = d->next;
  if (d->next) d->next->link = d->link;
  pthread_mutex_unlock(&mutex);
  return fd;
}

bool crux_descriptor_close(crux_descriptor *d) {
  int fd = unregister(d);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

void crux_descriptor_forget(crux_descriptor *d) { unregister(d); }
