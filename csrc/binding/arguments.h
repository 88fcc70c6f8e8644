/* arguments: makes of a call's arguments what is sent: config, token, path and body. */
#ifndef CRUX_BINDING_ARGUMENTS_H
#define CRUX_BINDING_ARGUMENTS_H

#include "schema.h"

enum { CRUX_TARGET_MAX = 256 };

typedef struct {
  crux_config *config;          /* the caller has to release it */
  const char *token;            /* never to be shown: the call's own or the client's, or NULL */
  char target[CRUX_TARGET_MAX]; /* the path below the API's prefix */
  const char *body;             /* NULL: it has none; else valid until crux_wipe_body */
  size_t body_len;
} crux_arguments;

/* Reads the arguments in the table at `index`. Options among them override those of the client, or
   the defaults without a client (NULL). Returns whether all are valid; if not, `invalid` says what
   is wrong. Leaves values on the stack. Runs no Lua, so that what was checked is what is sent. */
bool crux_read_arguments(lua_State *L, int index, const crux_endpoint *endpoint,
                         const crux_field_list *options, crux_config *client,
                         crux_arguments *arguments, crux_invalid *invalid);
/* Overwrites the body, which may hold a password. */
void crux_wipe_body(lua_State *L);
/* Makes the writer of bodies, in the state table, on top. */
void crux_arguments_setup(lua_State *L);

#endif
