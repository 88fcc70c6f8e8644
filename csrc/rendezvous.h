/* rendezvous: a wake for somebody who can only connect to a path. The path is in reach of this user alone, and gone once
   they have met. */
#ifndef CRUX_RENDEZVOUS_H
#define CRUX_RENDEZVOUS_H

#include "wake.h"

typedef struct {
  int listener; /* -1 unless somebody is waited for */
  char directory[80], path[84];
  crux_wake wake;
} crux_rendezvous;

void crux_rendezvous_init(crux_rendezvous *r);
/* Opens `path`. */
bool crux_rendezvous_listen(crux_rendezvous *r);
/* To be called once they have connected, or failed to: `wake` writes to them. */
bool crux_rendezvous_accept(crux_rendezvous *r);
void crux_rendezvous_close(crux_rendezvous *r);

#endif
