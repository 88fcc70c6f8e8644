/* client: a client and its options. */
#ifndef CRUX_BINDING_CLIENT_H
#define CRUX_BINDING_CLIENT_H

#include "state.h"
#include "../http/config.h"

typedef struct {
  crux_config *config; /* until it is collected: a finalizer may close one that is in use further up the stack */
  bool closed;
} crux_client;

void crux_default_settings(crux_settings *settings);
/* Raw reading of a table of options over a base into a config of that client. Keys that are no
   option are passed over. 0; or nil and err pushed, and their number returned. `policy`: for
   the Lua layer, which knows more options. */
int crux_read_options(lua_State *L, int index, const crux_settings *base, bool policy, unsigned long client,
                      crux_config **into);
bool crux_is_token(const char *s);
/* Whether it has the newline that reading a file leaves; NULL has none. */
bool crux_ends_line(const char *s);
/* The token among arguments or options, if it is a string, else the other. Valid while the
   table is. */
const char *crux_token_of(lua_State *L, int index, const char *otherwise);
bool crux_is_text(lua_State *L, int index, const char *text);
bool crux_is_option(const char *name, bool policy);
/* The names of the options one after the other, NULL after the last; "" for one that is not
   known here. */
const char *crux_option_name(int i, bool policy);
/* The nearest option's name within `*distance`, which is lowered; or `so_far`. */
const char *crux_nearest_option(const char *name, bool policy, int *distance, const char *so_far);

int crux_client_new(lua_State *L);
void crux_client_open(lua_State *L);

#endif
