/* client: the userdata that holds a client. */
#ifndef CRUX_BINDING_CLIENT_H
#define CRUX_BINDING_CLIENT_H

#include "state.h"
#include "../http/config.h"

typedef struct {
  crux_config *config; /* until it is collected: a finalizer may close one that is in use further up the stack */
  bool closed;
} crux_client;

int crux_client_new(lua_State *L);
void crux_client_open(lua_State *L);

#endif
