--- Events: what `on_event` is told of a call. An error in it never keeps a call from its end; the
-- first one is kept as text, for `meta.event_error`.
-- @module crux.event
local callback = require "crux.callback"
local core = require "crux.core"
local token = require "crux.token"

local pcall = pcall

local event = {}

--- Prepares a call for its callbacks: it gets what they are told of its request.
-- @tparam table call
function event.prepare(call)
  -- Asked now: by the time of an event a finalizer may have released the request.
  call.method, call.url = call.request:describe()
  call.endpoint, call.order_uuid, call.order_item_uuid = call.request:subject()
end

-- Keeps the text of the first error. A finished call, aborted by its own callback, has its `meta`.
local function keep(call, why)
  local text = token.redact(call, callback.text(why))
  -- the request knows the token that has to be removed, until it is released; a login has none
  if call.on_done then text = core.failure("aborted", text).message
  else text = call.request:clean(text) end
  call.event_error = text or "an error in on_event"
  local answer = call.result or call.err
  if answer then answer.meta.event_error = call.event_error end
end

--- Calls `on_event`.
-- @tparam table call
-- @tparam string name
-- @tparam[opt] table answer the result or error of the attempt
-- @tparam[opt] number pause
-- @raise the interpreter's Ctrl-C
function event.emit(call, name, answer, pause)
  answer = answer or {}
  local meta = answer.meta or {}
  local ok, why = pcall(call.on_event, {
    name = name, endpoint = call.endpoint, order_uuid = call.order_uuid,
    order_item_uuid = call.order_item_uuid, attempt = call.attempts, method = call.method,
    url = call.url, pause = pause, outcome = answer.outcome, kind = answer.kind,
    status = answer.status, reason = answer.message and token.public(call, answer.message),
    elapsed = meta.time and meta.time.total, sends = meta.sends, reused = meta.reused,
  })
  if ok then return end
  callback.pass_interrupt(why)
  if not call.event_error then keep(call, why) end
end

return event
