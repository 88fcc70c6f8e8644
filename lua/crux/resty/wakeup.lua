--- How a light thread waits for its attempt: on an `ngx.semaphore` of its own. Who posts it, best first:
--
-- - `event`: nginx's event loop watches a descriptor that crux's thread rings, and posts from C, with no Lua and no timer;
-- - `socket`: a light thread reads a unix socket that crux's thread writes to, as long as calls are in flight;
-- - `poll`: one of the light threads that wait looks every millisecond, for all of them.
--
-- The first where this nginx does not export what it takes, the second where a timer cannot be had: the next will do.
-- What has ended is heard of in the Lua state that submitted it; with `lua_code_cache off` each request has its own.
-- @module crux.resty.wakeup
local ffi = require "ffi"
local ngx = require "ngx"
local semaphore = require "ngx.semaphore"
local core = require "crux.core"

local error, next, pcall, setmetatable, tonumber = error, next, pcall, setmetatable, tonumber
local huge, max, min = math.huge, math.max, math.min

local now, sleep = core.now, ngx.sleep

local waking = {
  --- The way to begin with; for specs.
  way = "event",
}

-- Should a ring be missed, it is noticed after so many seconds.
local SLICE = 5
-- A light thread that looks for all, and has not for so long, was killed.
local STALE, PATIENCE = 0.1, 0.25
local PERIOD = 0.001
-- What the socket carries for each ring, in bytes.
local RING = 8
-- A timer that has not run by then will not, the application having used up its own; when to ask for another.
local START, RESTART = 0.05, 1

local inbox, way -- made by the first call: never in the master

local number = 0
local waiting = setmetatable({}, { __mode = "v" }) -- semaphores by the number of the attempt, unless C posts them
local looked = -huge                          -- when somebody last looked for all
local reading, started = false, -huge         -- the reader of the socket: it runs; when it was last asked for
local latest = 0                                   -- the last deadline there is

local function open()
  inbox, way = core.inbox(), waking.way
  if way == "event" and not inbox:subscribe(ngx.config.subsystem) then way = "socket" end
end

local function post_ended()
  looked = now()
  inbox:rearm()
  local ended = inbox:take()
  while ended do
    local sema = waiting[ended]
    if sema then sema:post(1) end
    ended = inbox:take()
  end
end

-- Somebody else has to look from now on.
local function hand_over()
  looked = -huge
  local _, sema = next(waiting)
  if sema then sema:post(1) end
end

local function look_for_all(request)
  looked = now()
  while not request:done() and not reading do
    sleep(PERIOD)
    post_ended()
  end
  if not reading then hand_over() end
end

-- --- the reader ---

local function read_rings(sock)
  while next(waiting) and now() < latest + 1 do
    post_ended()
    sock:settimeout((latest + 1 - now()) * 1000)
    if not sock:receive(RING) then return end
  end
end

local function read()
  local path = inbox:open_socket()
  if not path then return end
  local sock = ngx.socket.tcp()
  local connected = sock:connect("unix:" .. path)
  reading = inbox:accept_socket() and connected ~= nil
  if reading then pcall(read_rings, sock) end
  inbox:close_socket()
  sock:close()
  reading, started = false, -huge
  hand_over()
end

local function want_reader()
  if way ~= "socket" or reading or now() < started + RESTART then return end
  started = now()
  if not ngx.timer.at(0, read) then started = -huge end
end

-- --- a waiting light thread ---

local function patience(deadline)
  if way == "event" or reading then return min(max(deadline - now(), 0) + 0.1, SLICE) end
  if way == "socket" and now() < started + START then return START end
  if now() < looked + STALE then return PATIENCE end
  return nil
end

local function wait(request, sema, deadline)
  while not request:done() do
    local seconds = patience(deadline)
    if seconds then
      local _, why = sema:wait(seconds)
      if why and why ~= "timeout" then return why end
    else look_for_all(request) end
  end
  return nil
end

--- The way in use, once a call was made.
function waking.in_use() return way end

--- Makes an attempt; for `crux.call`'s `carry`. A light thread that is killed leaves its request to
-- the collector, which aborts the attempt. The semaphore is new for each attempt: it has a finalizer,
-- and a late post may still reach it.
function waking.send(request, token, deadline)
  if not inbox then open() end
  local sema, why = semaphore.new(0)
  if not sema then error("crux.resty: expected a semaphore, found none: " .. why, 0) end
  local posted = way == "event"
  number = number + 1
  local mine = number
  inbox:register(request)
  local ok, err
  if posted then
    local address = tonumber(ffi.cast("intptr_t", sema.sem))
    ok, err = request:start(token, deadline, mine, sema, address)
  else ok, err = request:start(token, deadline, mine) end
  if not ok then return nil, err end
  if not posted then
    waiting[mine] = sema
    latest = max(latest, deadline)
    want_reader()
  end
  why = wait(request, sema, deadline)
  if not posted then
    waiting[mine] = nil
    if reading and not next(waiting) then inbox:notify() end
  end
  if why then
    request:abort()
    error("crux.resty: the light thread cannot wait: " .. why, 0)
  end
  return request:answer()
end

return waking
