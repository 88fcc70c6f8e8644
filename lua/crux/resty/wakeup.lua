--- Waits for attempts inside nginx. Each light thread waits for its attempt on an `ngx.semaphore`
-- of its own. There are three modes, which differ in who posts the semaphore, best first:
--
-- - `event`: nginx's event loop watches a descriptor that crux's thread signals, and C posts,
--   without Lua and without a timer;
-- - `socket`: while calls are in flight, a light thread reads a unix socket that crux's thread
--   writes to, and posts;
-- - `poll`: one of the waiting light threads looks every millisecond, for all of them.
--
-- `socket` is used if this nginx does not export what `event` needs, and `poll` as long as no timer
-- can be had for the reader of the socket. Only the Lua state that submitted an attempt learns of
-- its end; with `lua_code_cache off` each request has a state of its own.
-- @module crux.resty.wakeup
local core = require "crux.core"
local ffi = require "ffi"
local ngx = require "ngx"
local semaphore = require "ngx.semaphore"

local error, next, pcall, setmetatable, tonumber = error, next, pcall, setmetatable, tonumber
local huge, max, min = math.huge, math.max, math.min
local now, sleep, tcp, timer_at = core.now, ngx.sleep, ngx.socket.tcp, ngx.timer.at

local wakeup = {
  --- The mode to begin with: `"event"`, `"socket"` or `"poll"`. For specs.
  mode = "event",
}

-- The longest single wait, in seconds, in case a wakeup is missed.
local SLICE = 5
-- In `poll`: if nobody has polled for STALE seconds, the light thread that did was killed. The
-- others check for that every WAIT seconds.
local STALE, WAIT = 0.1, 0.25
local PERIOD = 0.001
-- What the socket carries for each wakeup, in bytes.
local MESSAGE = 8
-- In `socket`: a timer that has not run after START seconds will not, as the application has used
-- up its own. Another is asked for after RESTART seconds.
local START, RESTART = 0.05, 1

-- Made by the first call, and so never in the master process.
local inbox, mode

local serial = 0
-- The semaphores of waiting light threads, by the attempt's number, unless C posts them.
local waiters = setmetatable({}, { __mode = "v" })
local last_polled = -huge
-- The reader of the socket: whether it runs, and when its timer was last asked for.
local is_reading, reader_asked = false, -huge
local latest_deadline = 0

local function open()
  inbox, mode = core.inbox(), wakeup.mode
  if mode == "event" and not inbox:subscribe(ngx.config.subsystem) then mode = "socket" end
end

-- Posts the semaphores of all attempts that have ended.
local function post_ended()
  last_polled = now()
  inbox:rearm()
  local ended = inbox:take()
  while ended do
    local waiter = waiters[ended]
    if waiter then waiter:post(1) end
    ended = inbox:take()
  end
end

-- --- mode `poll` ---

-- Wakes one of the waiting light threads, which polls from now on.
local function pass_on()
  last_polled = -huge
  local _, waiter = next(waiters)
  if waiter then waiter:post(1) end
end

-- Polls for all light threads until this request's attempt has ended.
local function poll_all(request)
  last_polled = now()
  while not request:done() and not is_reading do
    sleep(PERIOD)
    post_ended()
  end
  if not is_reading then pass_on() end
end

-- --- mode `socket` ---

local function read_until_idle(sock)
  while next(waiters) and now() < latest_deadline + 1 do
    post_ended()
    sock:settimeout((latest_deadline + 1 - now()) * 1000)
    if not sock:receive(MESSAGE) then return end
  end
end

-- The light thread that reads the socket.
local function read()
  local path = inbox:open_socket()
  if not path then return end
  local sock = tcp()
  local is_connected = sock:connect("unix:" .. path)
  is_reading = inbox:accept_socket() and is_connected ~= nil
  if is_reading then pcall(read_until_idle, sock) end
  inbox:close_socket()
  sock:close()
  is_reading, reader_asked = false, -huge
  pass_on()
end

local function ask_for_reader()
  if mode ~= "socket" or is_reading or now() < reader_asked + RESTART then return end
  reader_asked = now()
  if not timer_at(0, read) then reader_asked = -huge end
end

-- --- a waiting light thread ---

-- How long it may wait for its semaphore; nil: it has to poll.
local function wait_seconds(deadline)
  if mode == "event" or is_reading then return min(max(deadline - now(), 0) + 0.1, SLICE) end
  if mode == "socket" and now() < reader_asked + START then return START end
  if now() < last_polled + STALE then return WAIT end
  return nil
end

-- Waits until the attempt has ended. Returns nil, or why this light thread cannot wait.
local function wait(request, waiter, deadline)
  while not request:done() do
    local seconds = wait_seconds(deadline)
    if seconds then
      local _, why = waiter:wait(seconds)
      if why and why ~= "timeout" then return why end
    else poll_all(request) end
  end
  return nil
end

--- Returns the mode in use, nil before the first call.
-- @treturn ?string
function wakeup.in_use() return mode end

--- Makes an attempt: the `send` of `crux.call.carry`. If the light thread is killed, the garbage
-- collector finds the request and aborts the attempt.
-- @param request userdata
-- @tparam ?string token
-- @tparam number deadline seconds on the clock of `core.now`
-- @treturn[1] table result
-- @treturn[2] nil
-- @treturn[2] table err
-- @raise if the light thread cannot wait
function wakeup.send(request, token, deadline)
  if not inbox then open() end
  -- A new one for each attempt: it has a finalizer, and a late post may still reach it.
  local waiter, why = semaphore.new(0)
  if not waiter then error("crux.resty: expected a semaphore, found none: " .. why, 0) end
  local is_posted_by_c = mode == "event"
  serial = serial + 1
  local number = serial
  inbox:register(request)
  local ok, err
  if is_posted_by_c then
    local address = tonumber(ffi.cast("intptr_t", waiter.sem))
    ok, err = request:start(token, deadline, number, waiter, address)
  else ok, err = request:start(token, deadline, number) end
  if not ok then return nil, err end
  if not is_posted_by_c then
    waiters[number] = waiter
    latest_deadline = max(latest_deadline, deadline)
    ask_for_reader()
  end
  why = wait(request, waiter, deadline)
  if not is_posted_by_c then
    waiters[number] = nil
    if is_reading and not next(waiters) then inbox:notify() end
  end
  if why then
    request:abort()
    error("crux.resty: the light thread cannot wait: " .. why, 0)
  end
  return request:answer()
end

return wakeup
