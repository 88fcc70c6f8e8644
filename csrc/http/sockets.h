/* sockets: the descriptors of an engine's connections, and whether one is fit to carry a request. curl before 8.0 takes
   bytes that stood unread on a connection for the answer to the next request; no curl looks again just before it sends. */
#ifndef CRUX_SOCKETS_H
#define CRUX_SOCKETS_H

#include "../os/poller.h"

#include <curl/curl.h>

/* What tells one connection of this machine from another. */
typedef struct {
  int local_port; /* 0: not known */
  int port;       /* the peer's */
  char address[46];
} crux_ends;

typedef struct {
  curl_socket_t fd;
  crux_ends ends;    /* known once the connection is first used */
  const void *owner; /* who opened it */
} crux_socket;

typedef struct {
  crux_socket *list;
  size_t count, room;
  crux_poller *poller; /* that watches them */
} crux_sockets;

typedef enum {
  CRUX_SOCKET_CLEAN,
  CRUX_SOCKET_ENDED,   /* the peer has closed it */
  CRUX_SOCKET_UNREAD,  /* bytes are there that nothing has asked for */
  CRUX_SOCKET_UNTOLD   /* not one of ours */
} crux_socket_state;

/* CURL_SOCKET_BAD with errno, ENOMEM included. */
curl_socket_t crux_sockets_open(crux_sockets *s, const struct curl_sockaddr *address, const void *owner);
void crux_sockets_close(crux_sockets *s, curl_socket_t fd);

/* The connection that curl is about to send on. With `owner`, one that the owner has just opened, else an older one.
   CURL_SOCKET_BAD if there is none such. */
curl_socket_t crux_sockets_find(crux_sockets *s, const crux_ends *ends, const void *owner);

crux_socket_state crux_socket_look(curl_socket_t fd);

/* Makes a connection that is not to be used look dead to curl, which will then close it. */
void crux_socket_spoil(curl_socket_t fd);

/* How many of the bytes handed to a TCP connection the peer has not acknowledged; -1 where nobody can tell. What the peer
   sends after it received a byte acknowledges that byte. */
long long crux_socket_unacknowledged(curl_socket_t fd);

/* Closes the descriptors alone, saying nothing on the connections: they are another process's too. */
void crux_sockets_abandon(crux_sockets *s);
void crux_sockets_free(crux_sockets *s);

#endif
