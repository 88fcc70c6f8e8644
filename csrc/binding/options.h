/* options: a client's options, as settings. */
#ifndef CRUX_BINDING_OPTIONS_H
#define CRUX_BINDING_OPTIONS_H

#include "schema.h"

/* What each layer knows of crux_client_options. */
extern const crux_field_list crux_lua_options, crux_core_options;

void crux_default_settings(crux_settings *settings);
/* The config of a client (0: of a new one) with the options that a snapshot holds over a base; its
   base URL is in `url`. The options were checked. NULL: what is wrong with them together. */
crux_config *crux_make_config(lua_State *L, const crux_snapshot *s, const crux_base_url *url,
                              const crux_settings *base, unsigned long client,
                              crux_invalid *invalid);

#endif
