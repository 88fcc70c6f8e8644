/* run_list: the connections whose attempts can go on without waiting for a descriptor, in order of
   arrival. */
#ifndef CRUX_RUN_LIST_H
#define CRUX_RUN_LIST_H

#include "connection.h"

typedef struct {
  crux_connection *first; /* linked by `run_list.next` */
  crux_connection **end;  /* where the next one is linked */
  unsigned count;         /* connections in it */
} crux_run_list;

void crux_run_list_init(crux_run_list *list);

/* Adds a connection, unless it is in the list. */
void crux_run_list_push(crux_run_list *list, crux_connection *c);

/* Removes a connection that is in the list. */
void crux_run_list_remove(crux_run_list *list, crux_connection *c);

#endif
