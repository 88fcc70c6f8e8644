--- When to try again. A call is *waiting* for an attempt or *pausing* before the next; whoever drives it (a blocking
-- call, a poll, an event loop, a light thread) calls `begin` before an attempt and `settle` after it.
-- No coroutine is held for a call, so a token function may yield in its caller's own.
-- @module crux.call
local core = require "crux.core"

local error, next, pcall, select, type = error, next, pcall, select, type
local min, match = math.min, string.match

local release = core.release

local policy = {}

-- Exponential back-off with full jitter, in seconds.
local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5

--- A call about to begin.
-- @param request userdata from `prepare`
-- @tparam number deadline on the clock of `core.now`
-- @tparam table options `token` (only if it is a function), `retries` and `on_event`
local function new(request, deadline, options)
  local method, url
  -- asked for now: later a finalizer could end the request while it answers
  if options.on_event then method, url = request:describe() end
  return {
    request = request, method = method, url = url,
    deadline = deadline,
    token = options.token,
    given = options.token and {}, -- the set of tokens that the function gave
    on_event = options.on_event,
    retries = options.retries,
    attempts = 0, sends = 0, bytes_sent = 0,
    done = false, -- with `heard` and `result`, the table would have to grow without a place for it
  }
end

--- Seconds to pause before another attempt, or nil for enough.
-- @tparam table call
-- @tparam table err what became of the last attempt
-- @tparam number now
-- @treturn ?number
function policy.pause(call, err, now)
  if not err.retryable or call.attempts > call.retries then return nil end
  local seconds = err.retry_after
  if not seconds then
    seconds = core.random() * min(FIRST_PAUSE * 2 ^ (call.attempts - 1), LONGEST_PAUSE)
  end
  if now + seconds < call.deadline then return seconds end
  return nil
end

local function emit(call, name, answer, pause)
  answer = answer or {}
  call.on_event{
    name = name, attempt = call.attempts, method = call.method, url = call.url, pause = pause,
    outcome = answer.outcome, kind = answer.kind, status = answer.status,
  }
end

-- A text of others, without any token of this call.
local function redact(call, text)
  for token in next, call.given do text = core.redact(text, token) end
  return text
end

-- A token, or nil and an error; what the function raised or returned may hold a token, so it is not repeated.
local function ask(call, again)
  local ok, token, reason = pcall(call.token, again)
  if ok and core.is_token(token) then
    call.given[token] = true
    return token
  end
  local why = "the token function returned none"
  if not ok then why = "the token function raised an error"
  elseif token ~= nil then
    why = "the token function returned an unusable token, a " .. type(token)
    if select(2, core.is_token(token)) then why = why .. " that ends in a newline" end
  elseif type(reason) == "string" then why = why .. ": " .. redact(call, reason) end
  return nil, core.failure("auth", why)
end

--- Before an attempt.
-- @treturn[1] boolean true
-- @treturn[1] ?string the attempt's token, if it is not the client's own
-- @treturn[2] nil
-- @treturn[2] table err: the call is over without this attempt; give it to `settle`, unless what was called here has ended
--   the call
local function begin(call)
  local token
  if call.token then
    local err
    token, call.next_token = call.next_token, nil
    if not token then
      token, err = ask(call)
      if call.done or not token then return nil, err end
      if core.now() >= call.deadline then
        return nil, core.failure("timeout", "the deadline passed before the request was sent")
      end
    end
    call.last_token = token
  elseif not call.request:has_token() then
    return nil, core.failure("auth", core.NO_TOKEN)
  end
  call.attempts = call.attempts + 1
  if call.on_event then emit(call, "request") end
  return true, token
end

-- After a 401 a token function is asked once more; a token that differs gets one attempt.
local function refresh(call, err)
  if err.status ~= 401 or not call.token or call.retries <= 0 or call.refreshed then return false end
  call.refreshed = true
  local token = ask(call, true)
  if not token or token == call.last_token then return false end
  call.next_token = token
  return core.now() < call.deadline
end

--- Ends a call with this answer, and its request.
local function finish(call, result, err)
  local meta = (result or err).meta
  meta.attempts, meta.sends, meta.bytes_sent = call.attempts, call.sends, call.bytes_sent
  if err and call.given and call.attempts > 1 then -- the last attempt's token is no longer there, those before may be
    local own, theirs = match(err.message, "^(HTTP [^:]*: )(.*)")
    if own then err.message = own .. redact(call, theirs) end
  end
  if call.done then return true end -- by a finalizer, for which there was time until here
  call.done, call.result, call.err = true, result, err
  release(call.request)
  return true
end

--- After an attempt: either the call is done, with `call.result` or `call.err`, or `call.due` says when the next one is.
-- @tparam table call
-- @tparam ?table result
-- @tparam ?table err
-- @treturn boolean done
local function settle(call, result, err)
  local meta = (result or err).meta
  local pause
  call.sends = call.sends + meta.sends
  call.bytes_sent = call.bytes_sent + meta.bytes_sent
  if err and meta.sends > 0 then call.last_sent = err end
  -- a later attempt that was not sent says nothing of an earlier one that was
  local heard = result or (err.outcome == "not_sent" and call.last_sent or err)
  if call.on_event then
    call.heard = heard -- the truth so far, should it raise
    if meta.attempts > 0 then emit(call, "response", result or err) end
  end
  if call.done then return true end -- by `on_event`
  if result then return finish(call, result) end
  if refresh(call, err) then pause = 0
  else pause = policy.pause(call, err, core.now()) end
  if call.done then return true end -- by the token function
  if not pause then return finish(call, nil, heard) end
  call.due = core.now() + pause
  if call.on_event then emit(call, "retry", err, pause) end
  return call.done
end

--- Ends a call without an answer: its caller aborted it, or this is a forked child and the call its parent's.
-- @tparam[opt] boolean safe whether it changes nothing, where the request may be gone
-- @tparam[opt] boolean inherited
-- @treturn nil
-- @treturn table err
local function give_up(call, safe, inherited)
  if safe == nil then safe = select(3, call.request:describe()) end
  local err = core.failure("aborted", inherited and core.INHERITED or "aborted by the caller")
  if call.sends > 0 then
    err.outcome, err.retryable = "unknown", safe
    if not safe then err.hint = "it may have been carried out: look with get_order before sending it again" end
  end
  finish(call, nil, err)
  return nil, err
end

policy.new, policy.begin, policy.settle, policy.finish, policy.give_up = new, begin, settle, finish, give_up

--- Carries a call to its end, for whoever can wait.
-- @param request userdata from `prepare`
-- @tparam number deadline on the clock of `core.now`
-- @tparam table options as for `policy.new`
-- @tparam function send (request, token, deadline) → result | nil, err
-- @tparam function sleep (seconds)
-- @tparam crux.client client once it is `closed`, by what is called here or while another light thread runs, the call is over
-- @tparam[opt] table err what became of a first attempt, if one was made
-- @treturn[1] table result
-- @treturn[2] nil
-- @treturn[2] table err
function policy.carry(request, deadline, options, send, sleep, client, err)
  if not err and not (options.token or options.on_event) then
    local result
    result, err = send(request, nil, deadline)
    -- most calls end here: what was accepted at once, with nobody watching, leaves nothing to decide
    if result then
      release(request)
      return result
    end
    if not err then error(core.INHERITED, 0) end -- in a forked child: it may have been sent
  end
  local call, done = new(request, deadline, options), false
  if err then
    call.attempts = err.meta.attempts
    done = settle(call, nil, err)
  end
  while not done do
    local ready, token
    if call.due and not client.closed then sleep(call.due - core.now()) end
    if not client.closed and not request:inherited() then ready, token = begin(call) end
    if client.closed or request:inherited() then return give_up(call, nil, request:inherited()) end
    if ready then done = settle(call, send(request, token, deadline))
    else done = settle(call, nil, token) end
  end
  return call.result, call.err
end

return policy
