/* line: where a client's calls wait when as many as it allows are on their way. curl's own limits would park them without
   a deadline. First to expire goes first, which among equals is first come, first served. */
#ifndef CRUX_LINE_H
#define CRUX_LINE_H

#include "transfer.h"

typedef struct crux_line {
  unsigned long client;
  unsigned limit, active;
  bool open;            /* a connection has stood, or failed, since the line was last empty: until then one call tries */
  crux_transfer **heap; /* the waiting, by deadline */
  size_t count, room;
  unsigned long turns;
  struct crux_line *next;
} crux_line;

/* The line of the attempt's client, made if need be. NULL without memory. */
crux_line *crux_line_of(crux_line **lines, const crux_transfer *t);

bool crux_line_join(crux_line *line, crux_transfer *t);
void crux_line_leave(crux_line *line, crux_transfer *t);

/* The next one that may start, already counted as active; NULL if none may. */
crux_transfer *crux_line_next(crux_line *line);

/* One whose deadline has passed while it waited, taken out; NULL if none has. */
crux_transfer *crux_line_expired(crux_line *line, double now);

/* Ends the line if nobody is in it or on the way. The only one there is stays: its client will be back. */
void crux_line_trim(crux_line **lines, crux_line *line);
void crux_line_free(crux_line *line);

#endif
