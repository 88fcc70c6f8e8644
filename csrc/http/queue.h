/* queue: the calls of one client that wait because as many as it allows are under way.
   libcurl's own limits would hold them without a deadline. The first to expire goes first. */
#ifndef CRUX_QUEUE_H
#define CRUX_QUEUE_H

#include "deadlines.h"

typedef struct crux_queue {
  unsigned long client;
  unsigned limit, active; /* how many may be under way, and how many are */
  bool open;              /* until a connection is established, or has failed, only one call tries:
                             else each would look the name up and make a full TLS handshake */
  double opens_at;        /* on crux_now's clock; 0: nothing is foreseen */
  crux_deadlines waiting;
  struct crux_queue *next;
} crux_queue;

/* The queue of the attempt's client, made if need be. NULL without memory. */
crux_queue *crux_queue_of(crux_queue **queues, const crux_transfer *t);

bool crux_queue_push(crux_queue *queue, crux_transfer *t);
void crux_queue_remove(crux_queue *queue, crux_transfer *t);

/* The next one that may start, then counted as active; NULL if none may. */
crux_transfer *crux_queue_pop(crux_queue *queue);

/* One whose deadline has passed, taken out; NULL if there is none. */
crux_transfer *crux_queue_pop_expired(crux_queue *queue, double now);

/* Frees a queue with nobody in it and nobody under way. The only one is kept for the client's next
   call. */
void crux_queue_prune(crux_queue **queues, crux_queue *queue);
void crux_queue_free(crux_queue *queue);

#endif
