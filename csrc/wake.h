/* wake: a descriptor that becomes readable when rung, and stays so until cleared. */
#ifndef CRUX_WAKE_H
#define CRUX_WAKE_H

#include <stdbool.h>

typedef struct {
  int in, out; /* the same one where there is an eventfd; -1 when closed */
} crux_wake;

bool crux_wake_open(crux_wake *w);
void crux_wake_ring(crux_wake *w);
void crux_wake_clear(crux_wake *w);
void crux_wake_close(crux_wake *w);

#endif
