/* request: arguments made ready to be sent, and the userdata that holds them. */
#ifndef CRUX_BINDING_REQUEST_H
#define CRUX_BINDING_REQUEST_H

#include "names.h"
#include "state.h"
#include "../http/transfer.h"

/* A call as Lua holds it: its request, and the attempt at it that is under way. Lua gets one
   for each call, and none is used again: a finalizer of the user's may release it while its own
   is due. */
typedef struct crux_request_handle {
  const crux_endpoint *endpoint;
  crux_config *config;
  crux_request *request; /* NULL once it is released */
  unsigned generation;   /* of the process that made it */
  struct {               /* by a blocking call */
    crux_transfer *attempt;
    struct crux_engine *engine; /* that carries it */
  } blocking;
  struct {                      /* without blocking */
    crux_transfer *attempt;
    crux_transfer *answering;   /* being made into Lua values */
    struct crux_inbox_handle *inbox; /* where it is registered; NULL once that is collected */
    struct crux_request_handle *previous, *next;
    bool counted;               /* among those in flight */
    bool unsent;                /* what was aborted was not sent */
    size_t aborted_bytes;       /* else so many bytes of it may have been */
  } pending;
  bool safe;      /* the call changes nothing, so that it may be made again */
  bool finalized;
} crux_request_handle;

/* Pushes a new handle. */
crux_request_handle *crux_push_request(lua_State *L);
/* Makes the request of the handle on top out of the arguments at `index`: 0, or nil and err
   pushed, and their number returned. Options among the arguments, which are of that list, win over
   the client's; without a client (NULL) they stand over the defaults. */
int crux_prepare(lua_State *L, crux_request_handle *handle, const crux_endpoint *endpoint,
                 int index, crux_config *client, const crux_field_list *options);
#define CRUX_NO_TOKEN "expected a token, found none"
/* Whether the call can be sent with the token in `*token` or, if that is NULL, its own, which is
   then put there; NULL for an endpoint that takes none. False: it needs a token. */
bool crux_choose_token(const crux_request_handle *handle, const char **token);
/* Nobody will use the request any more. */
void crux_release_request(crux_request_handle *handle);
crux_request_handle *crux_check_handle(lua_State *L, int index);
/* The same; raises if the request has been released. */
crux_request *crux_check_request(lua_State *L, int index);
extern const luaL_Reg crux_request_methods[];

#endif
