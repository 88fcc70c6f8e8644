/* wakeup: a descriptor that becomes readable when it is signalled, and stays so until it is
   cleared. */
#ifndef CRUX_WAKEUP_H
#define CRUX_WAKEUP_H

#include "descriptor.h"

#include <stdbool.h>

typedef struct {
  crux_descriptor in;  /* becomes readable */
  crux_descriptor out; /* is written to; none where `in` is an eventfd and serves for both */
} crux_wakeup;

/* The initial value of one that is not open. */
#define CRUX_WAKEUP_CLOSED { .in = CRUX_DESCRIPTOR_NONE, .out = CRUX_DESCRIPTOR_NONE }

/* False without descriptors. */
bool crux_wakeup_open(crux_wakeup *w);

/* A signal to one that is not open does nothing. */
void crux_wakeup_signal(crux_wakeup *w);
void crux_wakeup_clear(crux_wakeup *w);
void crux_wakeup_close(crux_wakeup *w);

#endif
