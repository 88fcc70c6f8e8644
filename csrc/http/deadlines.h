/* deadlines: a heap of attempts. The first to expire is on top; of equals, the first that was
   pushed. */
#ifndef CRUX_DEADLINES_H
#define CRUX_DEADLINES_H

#include "transfer.h"

typedef struct {
  crux_transfer **heap;
  size_t count;           /* attempts in it */
  size_t capacity;        /* of `heap` */
  unsigned long sequence; /* counts pushes */
} crux_deadlines;

/* An attempt is in at most one heap at a time. False without memory. */
bool crux_deadlines_push(crux_deadlines *d, crux_transfer *t);
void crux_deadlines_remove(crux_deadlines *d, crux_transfer *t);
void crux_deadlines_free(crux_deadlines *d);

/* The first to expire; NULL if there is none. */
static inline crux_transfer *crux_deadlines_first(const crux_deadlines *d) {
  return d->count > 0 ? d->heap[0] : NULL;
}

#endif
