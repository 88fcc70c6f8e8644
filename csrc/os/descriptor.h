/* descriptor: a file descriptor that crux opened, and that a forked child has to close. A number
   that was remembered across a fork may be another file's by then: the host's. So every descriptor
   is registered with its device and inode, and the child closes it only if both still match. */
#ifndef CRUX_DESCRIPTOR_H
#define CRUX_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct crux_descriptor {
  int fd; /* -1: none */
  unsigned generation;
  dev_t device;
  ino_t inode;
  struct crux_descriptor *next, **link;
} crux_descriptor;

/* Takes over a descriptor that was just opened; a negative one is none. */
void crux_descriptor_register(crux_descriptor *d, int fd);

/* Closes the descriptor. False: there was none, or it was registered before a fork and is only
   forgotten, since the child has closed its copy, see crux_descriptors_after_fork. */
bool crux_descriptor_close(crux_descriptor *d);

/* Forgets a descriptor that somebody else closes, or has closed. */
void crux_descriptor_forget(crux_descriptor *d);

/* Around fork(), for the handlers of process.c. */
void crux_descriptors_before_fork(void);
void crux_descriptors_after_fork(bool in_child);

#endif
