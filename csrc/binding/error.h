/* error: errors as users see them. */
#ifndef CRUX_BINDING_ERROR_H
#define CRUX_BINDING_ERROR_H

#include "state.h"
#include "../http/outcome.h"

/* Makes the metatable of errors, in the state table, on top. */
void crux_failure_setup(lua_State *L);
/* Pushes an error for something that was not sent, with the string on top as its message
   (popped). `field`: the path of the wrong argument or option, or NULL. */
void crux_push_failure(lua_State *L, crux_kind kind, const char *field);
/* Pushes nil and such an error, and returns their number. */
int crux_fail(lua_State *L, crux_kind kind, const char *message);

/* Replaces the string on top by one without the token. */
void crux_redact(lua_State *L, const char *token);
/* Replaces the string on top by one that may stand in a log: at most `most` bytes of printable
   text on one line, with [redacted] where the token, of `token_len` bytes, stood. NULL: without
   looking for one. */
void crux_sanitize(lua_State *L, size_t most, const char *token, size_t token_len);
/* How much of a server's words a message has, and how much of ours. */
#define CRUX_SERVER_MESSAGE_MAX 240
#define CRUX_MESSAGE_MAX 384

#endif
