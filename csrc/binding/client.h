/* client: the userdata that holds a client. */
#ifndef CRUX_BINDING_CLIENT_H
#define CRUX_BINDING_CLIENT_H

#include "state.h"
#include "../http/config.h"

typedef struct {
  crux_config *config; /* kept while it is closed, which a finalizer may do during a call */
  bool closed;
} crux_client;

int crux_client_new(lua_State *L);
/* Makes the class, in the state table, on top. */
void crux_client_setup(lua_State *L);

#endif
