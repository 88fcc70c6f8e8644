/* replay: see replay.h. */
#include "replay.h"

void crux_replay_start(crux_transfer *t, const crux_replay *replay, double seconds) {
  crux_reply *r = &t->reply;
  r->code = replay->code;
  r->cause = replay->cause;
  r->os_error = replay->os_error;
  r->proxy_status = replay->proxy_status;
  r->connected = replay->connected;
  r->direct = replay->direct;
  if (replay->sent) crux_transfer_sent_all(t);
  if (replay->received) crux_transfer_received_all(t, replay->received, replay->received_len);
  r->time.first_byte = 0;
  r->time.total = seconds;
}

void crux_replay_end(crux_transfer *t) {
  double seconds = t->reply.time.total;
  crux_transfer_conclude(t);
  t->reply.time.total = seconds; /* and not what it took to get here */
}
