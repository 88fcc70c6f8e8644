/* descriptor: see descriptor.h. */
#include "descriptor.h"

#include "process.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static crux_descriptor *first;

void crux_descriptor_register(crux_descriptor *d, int fd) {
  struct stat st;
  d->fd = fd;
  d->link = NULL;
  d->generation = crux_process_generation();
  if (fd < 0 || fstat(fd, &st) != 0) return;
  d->device = st.st_dev;
  d->inode = st.st_ino;
  pthread_mutex_lock(&mutex);
  d->next = first;
  d->link = &first;
  if (first) first->link = &d->next;
  first = d;
  pthread_mutex_unlock(&mutex);
}

/* The number, if it is this process's to close; -1 otherwise. */
static int take(crux_descriptor *d) {
  int fd = d->generation == crux_process_generation() ? d->fd : -1;
  d->fd = -1;
  if (fd < 0) return -1;
  pthread_mutex_lock(&mutex);
  if (d->link) {
    *d->link = d->next;
    if (d->next) d->next->link = d->link;
    d->link = NULL;
  }
  pthread_mutex_unlock(&mutex);
  return fd;
}

bool crux_descriptor_close(crux_descriptor *d) {
  int fd = take(d);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

void crux_descriptor_forget(crux_descriptor *d) { take(d); }

void crux_descriptors_before_fork(void) { pthread_mutex_lock(&mutex); }

void crux_descriptors_after_fork(bool in_child) {
  crux_descriptor *d;
  struct stat st;
  pthread_mutex_unlock(&mutex);
  if (!in_child) return;
  /* fstat and close are async-signal-safe, which is all that a fork handler of a process with
     several threads may call */
  for (d = first; d; d = d->next) {
    if (fstat(d->fd, &st) == 0 && st.st_dev == d->device && st.st_ino == d->inode) close(d->fd);
  }
  first = NULL;
}
