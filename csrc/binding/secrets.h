/* secrets: the values of a request's body that are never shown, such as a password. */
#ifndef CRUX_BINDING_SECRETS_H
#define CRUX_BINDING_SECRETS_H

#include "names.h"
#include "state.h"
#include "../http/request.h"

/* Pushes the body of a request with "[redacted]" for each value of a secret field. */
void crux_push_redacted_body(lua_State *L, const crux_endpoint *endpoint, const crux_request *r);
/* With text of at most `most` bytes on top: the same with [redacted] for each secret value of the
   request's body, as it is and as JSON has it. */
void crux_redact_body_secrets(lua_State *L, size_t most, const crux_endpoint *endpoint,
                              const crux_request *r);

#endif
