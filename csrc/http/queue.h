/* queue: attempts that wait until their client has a free connection: one queue for each client,
   the first to expire in front. libcurl has limits of its own, but would not end a wait at its
   deadline. */
#ifndef CRUX_QUEUE_H
#define CRUX_QUEUE_H

#include "deadlines.h"

typedef struct crux_queue {
  unsigned long client;   /* see crux_config */
  unsigned limit;         /* max_connections of the attempt that was pushed last */
  unsigned active;        /* attempts that were started and have not ended */
  bool full_limit;        /* `limit` applies. Until a connection is established or has failed it is
                             1: else each attempt would look the name up, and make a full TLS
                             handshake */
  double full_limit_at;   /* when `limit` applies anyway, on crux_now's clock; 0: not known */
  crux_deadlines waiting; /* attempts that were not started */
  struct crux_queue *next;
} crux_queue;

typedef struct {
  crux_queue *first;
  unsigned waiting; /* attempts in all queues */
  bool changed;     /* an attempt has ended or was removed: a queue may be empty */
} crux_queues;

/* Adds an attempt to its client's queue, which is made if there is none. False without memory. */
bool crux_queues_push(crux_queues *queues, crux_transfer *t);

/* Removes an attempt that was not started. */
void crux_queues_remove(crux_queues *queues, crux_transfer *t);

/* Removes any attempt that was not started; NULL if there is none. */
crux_transfer *crux_queues_pop_any(crux_queues *queues);

/* Removes the first attempt of one queue if it may be started, and counts it as active; NULL if it
   may not, or there is none. */
crux_transfer *crux_queues_pop(crux_queues *queues, crux_queue *queue);

/* Removes the first attempt of one queue if its deadline has passed; NULL if not, or if there is
   none. */
crux_transfer *crux_queues_pop_expired(crux_queues *queues, crux_queue *queue, double now);

/* Call it when an active attempt has ended. */
void crux_queues_end_active(crux_queues *queues, crux_transfer *t);

/* Seconds until an attempt expires or may be started, whatever else happens; negative: nothing is
   known. */
double crux_queues_timeout(const crux_queues *queues, double now);

/* Frees a queue that is empty and has no active attempt. If it is the only one it is kept for the
   client's next attempt. */
void crux_queues_prune(crux_queues *queues, crux_queue *queue);

/* Frees the queues, which must be empty. */
void crux_queues_free(crux_queues *queues);

#endif
