/* wakeup: a descriptor that becomes readable when signalled, and stays so until it is cleared. */
#ifndef CRUX_WAKEUP_H
#define CRUX_WAKEUP_H

#include "descriptor.h"

#include <stdbool.h>

typedef struct {
  crux_descriptor in, out; /* `out` is none where one eventfd serves for both */
} crux_wakeup;

/* The initial value of one that is not open. */
#define CRUX_WAKEUP_CLOSED { .in = { .fd = -1 }, .out = { .fd = -1 } }

bool crux_wakeup_open(crux_wakeup *w);
void crux_wakeup_signal(crux_wakeup *w);
void crux_wakeup_clear(crux_wakeup *w);
void crux_wakeup_close(crux_wakeup *w);

#endif
