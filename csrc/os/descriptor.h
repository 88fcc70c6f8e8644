/* descriptor: a registry of the file descriptors that crux opens, so that a forked child can close
   its copies. A number that was remembered across a fork may refer to another file by then, one
   that the host opened. So each descriptor is registered with its device and inode, and the child
   closes a number only if both still match. */
#ifndef CRUX_DESCRIPTOR_H
#define CRUX_DESCRIPTOR_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct crux_descriptor {
  int fd;              /* -1: none */
  unsigned generation; /* see crux_process_generation */
  dev_t device;
  ino_t inode;
  struct crux_descriptor *next, **link; /* the registry's list; `link` points to what points here */
} crux_descriptor;

/* The initial value of a descriptor that is not open. */
#define CRUX_DESCRIPTOR_NONE { .fd = -1 }

/* Registers the fork handlers. Call it once per process, before crux_process_init. */
bool crux_descriptors_init(void);

/* Takes over a descriptor that was just opened. False, with errno: `fd` is negative, or fstat(2)
   failed and the descriptor was closed. */
bool crux_descriptor_register(crux_descriptor *d, int fd);

/* Closes the descriptor. False: there was none, or it was registered before a fork. In that case
   the fork handler has closed the child's copy, and the number is only forgotten. */
bool crux_descriptor_close(crux_descriptor *d);

/* Removes a descriptor from the registry without closing it: another owner closes it, or has. */
void crux_descriptor_forget(crux_descriptor *d);

#endif
