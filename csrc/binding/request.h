/* request: the userdata of a call. It holds the request that was made of the arguments, and the
   attempt under way. */
#ifndef CRUX_BINDING_REQUEST_H
#define CRUX_BINDING_REQUEST_H

#include "names.h"
#include "state.h"
#include "../http/transfer.h"

/* What Lua holds of a call: its request, and the attempt under way. Each call that Lua code can see
   has its own, which is never used again: a finalizer of the user's may release it when its own
   finalizer is due. */
typedef struct crux_request_handle {
  const crux_endpoint *endpoint;
  crux_config *config;
  crux_request *request; /* NULL once it is released */
  char *headers;         /* further field lines of the next attempt, in place of the config's; NULL:
                            those */
  unsigned generation;   /* see crux_process_generation */
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
  bool safe;      /* see crux_endpoint */
  bool finalized;
} crux_request_handle;

/* Pushes a new handle. */
crux_request_handle *crux_push_request(lua_State *L);
/* Checks the arguments at `index` and makes of them the request of `handle`, which is on the stack.
   Returns 0; or pushes nil and err, and returns 2. Options among the arguments are of the list
   `options`; they override the client's, or the defaults without a client (NULL). */
int crux_prepare(lua_State *L, crux_request_handle *handle, const crux_endpoint *endpoint,
                 int index, crux_config *client, const crux_field_list *options);
#define CRUX_NO_TOKEN "expected a token, found none"
/* Sets `*token` to the token of an attempt: NULL if the endpoint takes none, else as given or, if
   that is NULL, the one among the settings. Returns false if it needs a token and has none. */
bool crux_choose_token(const crux_request_handle *handle, const char **token);
/* Releases the request and the config: nobody will use them any more. */
void crux_release_request(crux_request_handle *handle);
crux_request_handle *crux_check_handle(lua_State *L, int index);
/* The same; raises if the request has been released. */
crux_request *crux_check_request(lua_State *L, int index);
/* Those that read a request. Those that start and end attempts are in pending.c. */
extern const luaL_Reg crux_request_methods[];

#endif
