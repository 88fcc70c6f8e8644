/* line: where a client's calls wait when as many as it allows are on their way. curl's own limits would park them without
   a deadline. First to expire goes first, which among equals is first come, first served. */
#ifndef CRUX_QUEUE_H
#define CRUX_QUEUE_H

#include "transfer.h"

typedef struct crux_queue {
  unsigned long client;
  unsigned limit, active;
  bool open;            /* a connection has stood, or failed, since the line was last empty: until then one call tries */
  crux_transfer **heap; /* the waiting, by deadline */
  size_t count, room;
  unsigned long turns;
  struct crux_queue *next;
} crux_queue;

/* The line of the attempt's client, made if need be. NULL without memory. */
crux_queue *crux_queue_of(crux_queue **lines, const crux_transfer *t);

bool crux_queue_push(crux_queue *line, crux_transfer *t);
void crux_queue_remove(crux_queue *line, crux_transfer *t);

/* The next one that may start, already counted as active; NULL if none may. */
crux_transfer *crux_queue_pop(crux_queue *line);

/* One whose deadline has passed while it waited, taken out; NULL if none has. */
crux_transfer *crux_queue_pop_expired(crux_queue *line, double now);

/* Ends the line if nobody is in it or on the way. The only one there is stays: its client will be back. */
void crux_queue_prune(crux_queue **lines, crux_queue *line);
void crux_queue_free(crux_queue *line);

#endif
