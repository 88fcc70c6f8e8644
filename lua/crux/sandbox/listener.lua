--- The listening socket of a sandbox. It can be closed for a while, so that connections are
-- refused, and is then opened again on the same port.
-- @module crux.sandbox.listener

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local errno = require "cqueues.errno"
local socket = require "cqueues.socket"

local Listener = {}
Listener.__index = Listener

-- How often opening the port again is tried, in seconds, if another process has it.
local PERIOD = 0.05

local function open(host, port)
  local con = assert(socket.listen{ host = host, port = port, reuseaddr = true, nodelay = true })
  con:onerror(function(_, _, why) return why end)
  local ok, why = con:listen()
  if ok then return con end
  con:close()
  return nil, why
end

--- Listen on a port.
-- @tparam string host
-- @tparam number port 0: any that is free
-- @treturn table `port`
-- @raise if the port cannot be had
local function new(host, port)
  local con, why = open(host, port)
  if not con then
    error(("expected to listen on %s:%d, found %s"):format(host, port, errno.strerror(why)), 0)
  end
  local _, _, actual = con:localname()
  return setmetatable({
    host = host, port = actual, socket = con, closed = false, wake = condition.new(),
  }, Listener)
end

--- Accept connections until `close`.
-- @tparam function attend called with each
function Listener:serve(attend)
  while not self.closed do
    local con, why
    if self.socket then con, why = self.socket:accept({ nodelay = true }, 0) end
    if con then attend(con)
    else
      cqueues.poll(self.wake, self.socket)
      -- without descriptors left the socket stays readable: a pause, or this would spin
      if self.socket and why ~= errno.ETIMEDOUT and not self.closed then cqueues.sleep(0.01) end
    end
  end
end

--- Refuse connections from now on.
function Listener:pause()
  if self.socket then self.socket:close() end
  self.socket = nil
  self.wake:signal() -- `serve` no longer waits for that socket
end

--- Accept connections again. Returns once they are.
function Listener:resume()
  while not self.closed and not self.socket do
    self.socket = open(self.host, self.port)
    if not self.socket then cqueues.sleep(PERIOD) end
  end
  self.wake:signal()
end

--- Wait for the next `signal`, for so many seconds at most.
function Listener:wait(seconds) cqueues.poll(self.wake, seconds) end

--- Have what waits here look again.
function Listener:signal() self.wake:signal() end

--- Stop listening.
function Listener:close()
  self.closed = true
  self.wake:signal()
  if self.socket then self.socket:close() end
  self.socket = nil
end

return { new = new }
