/* options: makes settings of a client's options. */
#ifndef CRUX_BINDING_OPTIONS_H
#define CRUX_BINDING_OPTIONS_H

#include "request_headers.h"
#include "schema.h"

/* The rows of crux_client_options that the functions of `crux`, and those of `crux.core`, know. */
extern const crux_field_list crux_lua_options, crux_core_options;

void crux_default_settings(crux_settings *settings);
/* Returns a config: the settings `base`, overridden by the options in the snapshot, which are valid
   one by one. `url`: the option base_url, parsed. `client`: see crux_config_new. NULL: options that
   do not go together, or no memory; `invalid` says which. */
crux_config *crux_make_config(lua_State *L, const crux_snapshot *s, const crux_base_url *url,
                              const crux_settings *base, unsigned long client,
                              crux_invalid *invalid);
/* The value of an option that is a string; NULL if it is not set, or no such option. */
const char *crux_settings_text(const crux_settings *settings, const char *name);
/* Writes field lines: those of the tables at the indices `above` and `beneath` (0: none), and
   between them `own`, which may be NULL. Of the same name the first counts. False: something is
   wrong with a table or with all lines together; `invalid` says what. */
bool crux_merge_headers(lua_State *L, int above, const char *own, int beneath,
                        crux_header_lines *lines, crux_invalid *invalid);

#endif
