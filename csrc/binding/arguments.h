/* arguments: a call's arguments, as what is sent. */
#ifndef CRUX_BINDING_ARGUMENTS_H
#define CRUX_BINDING_ARGUMENTS_H

#include "schema.h"

enum { CRUX_TARGET_MAX = 256 };

typedef struct {
  crux_config *config;          /* the caller's to release */
  const char *token;            /* never to be shown: the call's own or the client's, or NULL */
  char target[CRUX_TARGET_MAX]; /* the path below the API's prefix */
  const char *body;             /* NULL: it has none; else valid until crux_wipe_body */
  size_t body_len;
} crux_arguments;

/* Reads the arguments in the table at `index`, with options among them over those of a client
   (NULL: over the defaults): whether all is as it should be. Leaves values on the stack. Runs no
   Lua, so that what was checked is what is sent. */
bool crux_read_arguments(lua_State *L, int index, const crux_endpoint *endpoint,
                         const crux_field_list *options, crux_config *client,
                         crux_arguments *arguments, crux_invalid *invalid);
/* Overwrites the body, which may hold a password. */
void crux_wipe_body(lua_State *L);
/* Makes the writer of bodies, in the state table, on top. */
void crux_arguments_setup(lua_State *L);

#endif
