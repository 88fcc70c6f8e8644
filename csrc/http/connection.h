/* connection: one connection, made by libcurl (name look-up, proxy, TLS and its verification), over
   which crux sends and receives bytes by itself. */
#ifndef CRUX_CONNECTION_H
#define CRUX_CONNECTION_H

#include "multi.h"
#include "profile.h"

typedef enum {
  CRUX_CONNECTION_CONNECTING,
  CRUX_CONNECTION_BUSY, /* established, and carrying an attempt */
  CRUX_CONNECTION_IDLE  /* established, and kept for the next attempt */
} crux_connection_state;

/* What became of a try to send or receive. */
typedef enum {
  CRUX_IO_OK,    /* some bytes went through */
  CRUX_IO_AGAIN, /* nothing can be done until the descriptor is ready */
  CRUX_IO_END,   /* the peer has closed its side */
  CRUX_IO_ERROR  /* the connection is broken; `code` and `error` say how */
} crux_io;

typedef struct crux_connection {
  crux_watcher watcher;
  crux_connection_state state;
  CURL *curl;
  crux_multi *multi;
  crux_poller *poller;
  crux_profile *profile;
  struct crux_transfer *transfer; /* that it carries or is made for; NULL: none */
  curl_socket_t fd;               /* once it is established */
  struct crux_socket *sockets;    /* all that libcurl opened for it and has not closed */
  int open_errno;                 /* of a socket that could not be opened, 0 if none */
  unsigned port;                  /* at the other end of the last one that was opened */
  bool tls, reused, watched_out;
  bool hides_input; /* see crux_connection_receive */
  double created;                 /* on crux_now's clock, as are */
  double idle_since, expires;     /* these, while it is idle */
  CURLcode code;                  /* of the last CRUX_IO_ERROR */
  char error[CURL_ERROR_SIZE];
  struct { struct crux_connection *next, *previous; } all, idle; /* the pool's */
  struct { struct crux_connection *next; bool listed; } ready;   /* the engine's */
} crux_connection;

/* Whether this libcurl can do what the settings ask for: CURLE_OK, or its code, and in *option the
   setting that it does not know. */
CURLcode crux_connection_check(const crux_settings *s, const char **option);

/* A connection that is being made. It may take `seconds` to be established. NULL without memory, or
   with *code set to what libcurl has against the settings. */
crux_connection *crux_connection_new(crux_multis *multis, crux_profile *profile, double seconds,
                                     CURLcode *code);

/* libcurl says that it is established: from now on the descriptor is watched for reading.
   False: it cannot be watched. */
bool crux_connection_establish(crux_connection *c);

/* Changes whether the descriptor is watched for writing too. */
bool crux_connection_watch(crux_connection *c, bool out);

/* The exchange that begins has until then; for what libcurl waits for inside a call. */
void crux_connection_set_deadline(crux_connection *c, double deadline);

crux_io crux_connection_send(crux_connection *c, const char *data, size_t len, size_t *sent);
crux_io crux_connection_receive(crux_connection *c, char *data, size_t size, size_t *received);

/* Whether the descriptor has bytes, an end or an error to be read at this moment. */
bool crux_connection_is_readable(const crux_connection *c);

/* How many of the bytes handed to TCP the peer has not acknowledged, TLS's own included; -1 where
   nobody can tell. What the peer sends after it received a byte acknowledges that byte. */
long long crux_connection_unacknowledged(const crux_connection *c);

/* Closes it at once, without TLS's close_notify, and frees it. Not from inside a callback of
   libcurl. */
void crux_connection_close(crux_connection *c);

#endif
