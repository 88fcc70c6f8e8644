/* deadlines: a heap of attempts, the first to expire on top; among equals, the first that came. */
#ifndef CRUX_DEADLINES_H
#define CRUX_DEADLINES_H

#include "transfer.h"

typedef struct {
  crux_transfer **heap;
  size_t count, capacity;
  unsigned long sequence;
} crux_deadlines;

/* An attempt is in one heap at a time. False without memory. */
bool crux_deadlines_push(crux_deadlines *d, crux_transfer *t);
void crux_deadlines_remove(crux_deadlines *d, crux_transfer *t);
void crux_deadlines_free(crux_deadlines *d);

/* The first to expire, or NULL. */
static inline crux_transfer *crux_deadlines_first(const crux_deadlines *d) {
  return d->count > 0 ? d->heap[0] : NULL;
}

#endif
