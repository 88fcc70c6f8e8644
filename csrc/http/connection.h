/* connection: one connection. libcurl makes it (CURLOPT_CONNECT_ONLY: name look-up, proxy, TLS and
   its verification); crux sends and receives the bytes. */
#ifndef CRUX_CONNECTION_H
#define CRUX_CONNECTION_H

#include "multi.h"
#include "profile.h"

typedef enum {
  CRUX_CONNECTION_CONNECTING, /* not established yet */
  CRUX_CONNECTION_BUSY,       /* established, and carries an attempt */
  CRUX_CONNECTION_IDLE        /* established, and kept for the next attempt */
} crux_connection_state;

/* The result of sending or receiving. */
typedef enum {
  CRUX_IO_OK,    /* at least one byte was sent or received */
  CRUX_IO_AGAIN, /* EAGAIN: wait until the descriptor is ready */
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
  struct crux_socket *sockets;    /* those that libcurl opened for it and has not closed */
  int open_errno;                 /* of the last socket that could not be opened, 0 if none */
  unsigned port;                  /* of the peer, for the last socket that was opened */
  bool tls;                       /* the origin is https */
  bool reused;                    /* it has carried an attempt before the present one */
  bool watched_out;               /* the descriptor is watched for writing */
  bool hides_input;               /* see crux_connection_receive */
  double created;                 /* this and the next two: on crux_now's clock */
  double idle_since;              /* when it became idle */
  double expires;                 /* when it must be closed if it is idle */
  CURLcode code;                  /* of the last CRUX_IO_ERROR */
  char error[CURL_ERROR_SIZE];    /* libcurl's message for `code`, or "" */
  struct { struct crux_connection *next, *previous; } pool; /* among all connections */
  struct { struct crux_connection *next, *previous; } idle; /* in its profile's list */
  struct { struct crux_connection *next; bool is_in; } run_list; /* see run_list.h */
} crux_connection;

/* Checks whether this libcurl supports the settings. If not, returns its code, and the name of the
   setting in *option. */
CURLcode crux_connection_check(const crux_settings *s, const char **option);

/* Starts to make a connection. It fails unless it is established within `seconds`. NULL, with
   libcurl's code in *code: out of memory, or settings that libcurl refuses. */
crux_connection *crux_connection_new(crux_multis *multis, crux_profile *profile, double seconds,
                                     CURLcode *code);

/* Call it when libcurl reports the connection as established. From now on the descriptor is watched
   for reading. False: it cannot be watched. */
bool crux_connection_establish(crux_connection *c);

/* Changes whether the descriptor is watched for writing as well. False: it cannot be. */
bool crux_connection_watch_out(crux_connection *c, bool out);

/* Sets when curl_easy_recv must return at the latest, where it may block. */
void crux_connection_set_deadline(crux_connection *c, double deadline);

crux_io crux_connection_send(crux_connection *c, const char *data, size_t len, size_t *sent);
crux_io crux_connection_receive(crux_connection *c, char *data, size_t size, size_t *received);

/* Reads a connection that is about to be used. CRUX_IO_AGAIN is expected: the peer has sent
   nothing, and TLS has read what is its own, such as session tickets. With any other result the
   connection must not be used. */
crux_io crux_connection_probe(crux_connection *c, char *buffer, size_t size);

/* True if recv(2) would not block: the descriptor has bytes, the end or an error. */
bool crux_connection_is_readable(const crux_connection *c);

/* How many bytes in TCP's send queue the peer has not acknowledged, including those that TLS adds;
   -1 if the system cannot tell. A segment that the peer sends acknowledges the bytes that it has
   received before. */
long long crux_connection_unacknowledged(const crux_connection *c);

/* Closes the connection at once, without TLS's close_notify, and frees it. Must not be called
   inside a callback of libcurl. */
void crux_connection_close(crux_connection *c);

#endif
