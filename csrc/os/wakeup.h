/* wake: a descriptor that becomes readable when rung, and stays so until cleared. */
#ifndef CRUX_WAKEUP_H
#define CRUX_WAKEUP_H

#include <stdbool.h>

typedef struct {
  int in, out; /* the same one where there is an eventfd; -1 when closed */
} crux_wakeup;

bool crux_wakeup_open(crux_wakeup *w);
void crux_wakeup_signal(crux_wakeup *w);
void crux_wakeup_clear(crux_wakeup *w);
void crux_wakeup_close(crux_wakeup *w);

#endif
