--- The life of one call: `new`, then `begin` before and `settle` after each attempt, until the call
-- is done. Between two attempts a call pauses. Who drives it (a blocking call, `poll`, `step`, a
-- light thread) makes the attempts and waits; `carry` does all of it for a caller that can wait.
-- No coroutine is held per call, so a token function may yield in its caller's own.
--
-- A call is a table. Other modules read of it: `request`, `deadline`, `retries`, `attempts`,
-- `has_callbacks`, `may_retry`, `last_known`; `pace`, its batch if it has one; `settled`, how many
-- of the attempts are counted in `sends` and `bytes_sent`; `due`, when the pause before the next
-- attempt ends, or the wait for a token; `awaits`, the login it waits for; `done`, and then
-- `result` or `err`. `on_done`, if it has one, is called then.
-- @module crux.call
local core = require "crux.core"
local event = require "crux.event"
local request_headers = require "crux.request_headers"
local retry = require "crux.retry"
local token = require "crux.token"

local error, huge, select = error, math.huge, select

local emit, release = event.emit, core.release

local Call = {}

--- Makes a call that has not begun.
-- @param request userdata from the client's `prepare`
-- @tparam number deadline seconds on the clock of `options.now`
-- @tparam table options `now`, the driver's clock; `retries`; `has_token`, whether there is a token
--   or a way to get one; `source`, where tokens come from, unless it is a string, or
--   `source_of(request)`, which returns it; `headers`, its functions; `on_event`;
--   `has_callbacks`, whether there is any of these four; `budget`, that of the client's retries;
--   `may_retry`, the driver's
-- @treturn table call
function Call.new(request, deadline, options)
  local call = {
    request = request, deadline = deadline, retries = options.retries, now = options.now,
    attempts = 0, sends = 0, bytes_sent = 0,
    done = false, result = nil, -- named so that the table has room for it
  }
  call.budget, call.may_retry = options.budget, options.may_retry
  if not options.has_token then call.lacks_token = true end
  if options.has_callbacks then
    call.has_callbacks, call.on_event, call.options = true, options.on_event, options
    call.headers = options.headers
    local source_of = options.source_of
    if (options.source or source_of) and request:takes_token() then
      options.source = options.source or source_of(request)
      call.source, call.given = options.source, {} -- the set of tokens that this call was given
    end
    if call.on_event or call.headers then event.prepare(call) end
  end
  return call
end

local pause

-- Asks again for another token, in place of the refused one. Returns whether there is one: else the
-- call is done, or waits again.
local function resume(call)
  local err = call.refusal
  call.refusal = nil
  if pause(call, err, call.last_known) or call.refusal then return false end
  call.due = nil
  return true
end

--- Prepares an attempt: gets its token, has its headers set, and emits the event `request`.
-- @tparam table call not done
-- @treturn[1] boolean true
-- @treturn[1] ?string the attempt's token, unless C has it
-- @treturn[2] nil
-- @treturn[2] ?table err there must be no attempt: pass this to `settle`, unless the call is `done`
--   by now, aborted by its own callback; nil: it waits for a token
-- @raise the interpreter's Ctrl-C, in a callback
function Call.begin(call)
  local given, err
  if call.refusal and not resume(call) then return nil end
  if call.source then
    given, err = call.source:for_attempt(call)
    if not given then return nil, err end
  elseif call.lacks_token and not call.request:has_token() then -- an endpoint may need none
    return nil, core.failure("auth", core.NO_TOKEN)
  end
  if call.headers then
    local is_set
    is_set, err = request_headers.for_attempt(call, given)
    if not is_set then return nil, err end
  end
  call.attempts = call.attempts + 1
  if call.on_event then emit(call, "request") end
  return true, given
end

-- Marks the call as done and releases its request.
local function conclude(call, result, err)
  if call.done then return true end -- a finalizer has aborted it meanwhile: that holds
  call.done, call.result, call.err = true, result, err
  release(call.request)
  return true
end

--- Ends a call with this answer. `meta` then counts all attempts.
-- @tparam table call
-- @tparam ?table result
-- @tparam ?table err
-- @treturn boolean true
function Call.finish(call, result, err)
  local meta = (result or err).meta
  meta.attempts, meta.sends, meta.bytes_sent = call.attempts, call.sends, call.bytes_sent
  if call.event_error then meta.event_error = call.event_error end
  -- C has removed the last attempt's token from the server's words, not those before it
  if err and call.given and call.attempts > 1 then err.message = token.public(call, err.message) end
  return conclude(call, result, err)
end

-- Works out when the next attempt is due, if there is to be one. Returns whether the call is done.
function pause(call, err, last_known)
  local is_of_login = err == call.login_error -- which has had retries of its own
  local seconds, has_new_token
  if call.source and not is_of_login then has_new_token = call.source:refresh(call, err) end
  if call.done then return true end -- a function that was called has aborted it
  if call.refusal then return false end
  if has_new_token then seconds, call.renewals = 0, (call.renewals or 0) + 1
  elseif not is_of_login then
    -- a batch waits as long as the server asks for, and the deadline does not pass meanwhile
    local now = call.pace and err.retry_after and -huge or call.now()
    seconds = retry.pause(call, err, now)
    if seconds and call.budget then retry.spend(call.budget, err) end
  end
  if seconds and call.may_retry and not call.may_retry(call.request, last_known) then
    return Call.finish(call, nil, last_known)
  end
  if call.pace then seconds = call.pace:after(call, err, seconds, last_known) end
  if not seconds then return Call.finish(call, nil, last_known) end
  call.due = call.now() + seconds
  if call.on_event then emit(call, "retry", err, seconds) end
  return call.done
end

--- Takes the result or error of an attempt: the call is done, or `call.due` says when the next
-- attempt is. Emits the events `response` and `retry`.
-- @tparam table call
-- @tparam ?table result
-- @tparam ?table err
-- @treturn boolean whether the call is done
-- @raise the interpreter's Ctrl-C, in a callback; `call.last_known` is then the result or error so
--   far
function Call.settle(call, result, err)
  local on_event, budget = call.on_event, call.budget
  if result then
    if budget then retry.earn(budget) end
    if call.source then call.source:accept(call.last_token) end
  end
  -- most calls end here; `meta` of a first attempt counts right as it is
  if result and call.attempts == 1 and not on_event then return conclude(call, result) end
  local meta, last_known = (result or err).meta, result or err
  call.sends = call.sends + meta.sends
  call.bytes_sent = call.bytes_sent + meta.bytes_sent
  call.settled = call.attempts
  if err then
    -- an attempt that was not sent says nothing about an earlier one that was
    if meta.sends > 0 then call.last_sent = err
    elseif err.outcome == "not_sent" and call.last_sent then last_known = call.last_sent end
  end
  if call.has_callbacks then call.last_known = last_known end
  if on_event and meta.attempts > 0 then emit(call, "response", result or err) end
  if call.done then return true end -- `on_event` has aborted it
  if result then return Call.finish(call, result) end
  return pause(call, err, last_known)
end

--- Ends a call without an answer: it was aborted, or this is a forked child and the call belongs
-- to its parent.
-- @tparam table call
-- @tparam[opt] boolean safe whether the request changes nothing; asked of the request if left out
-- @tparam[opt] boolean inherited whether this is a forked child
-- @treturn nil
-- @treturn table err of kind `aborted`, `not_sent` or `unknown`
function Call.give_up(call, safe, inherited)
  if safe == nil then safe = select(3, call.request:describe()) end
  local err = core.failure("aborted", inherited and core.INHERITED or "aborted by the caller")
  if call.sends > 0 then
    err.outcome, err.retryable, err.hint = "unknown", safe, call.request:unknown_hint()
  end
  Call.finish(call, nil, err)
  return nil, err
end

-- Waits until the next attempt, or until the login that it needs has ended: `login:wait` may return
-- before that.
local function wait(client, call, sleep)
  local login = call.awaits
  if not login then return sleep(call.due - call.now()) end
  repeat
    login:wait(call.due - call.now())
  until login.done or call.now() >= call.due or client:is_closed() or call.request:inherited()
end

--- Carries a call to its end, for a caller that can wait.
-- @tparam crux.client client once it is closed, by a callback or while another light thread runs,
--   the call ends
-- @param request userdata from the client's `prepare`
-- @tparam number deadline seconds on the driver's clock
-- @tparam table options as for `new`
-- @tparam table driver see `Client.make`
-- @tparam[opt] table err what the first attempt came to, if it was made already
-- @treturn[1] table result
-- @treturn[2] nil
-- @treturn[2] table err
-- @raise the interpreter's Ctrl-C; in a forked child, if the answer to what its parent sent is lost
function Call.carry(client, request, deadline, options, driver, err)
  local send, sleep = driver.send, driver.sleep
  if not err and not options.has_callbacks then
    local result
    result, err = send(request, nil, deadline)
    if result then -- most calls end here
      if options.budget then retry.earn(options.budget) end
      release(request)
      return result
    end
    if not err then error(core.INHERITED, 0) end
  end
  local call, done = Call.new(request, deadline, options), false
  call.can_wait = driver.concurrent
  if err then
    call.attempts = err.meta.attempts
    done = Call.settle(call, nil, err)
  end
  while not done do
    local ready, given
    if call.due and not client:is_closed() then wait(client, call, sleep) end
    if not client:is_closed() and not request:inherited() then ready, given = Call.begin(call) end
    if client:is_closed() or request:inherited() then
      return Call.give_up(call, nil, request:inherited())
    end
    if ready then done = Call.settle(call, send(request, given, deadline))
    elseif given then done = Call.settle(call, nil, given)
    else done = call.done end
  end
  return call.result, call.err
end

return Call
