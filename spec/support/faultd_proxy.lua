-- The fault server as something in between: a connection of a script's is carried on to another
-- port of this machine. Used by faultd.lua alone; spec/support/proxies.lua has scripts that make
-- proxies of it.

local cqueues = require "cqueues"
local errno = require "cqueues.errno"
local socket = require "cqueues.socket"

local proxy = {}

local function silence(_, _, why) return why end

local function connect(port)
  local far = socket.connect{ host = "127.0.0.1", port = port, nodelay = true }
  far:setmode("b", "bn")
  far:onerror(silence)
  if far:connect(5) then return far end
  far:close()
  return nil
end

-- What the client has sent, and will send. It is noted how much had come for it before each piece.
local function carry_there(conn, far, more, came)
  local before = {}
  conn.record.sent_before = before
  while true do
    local data = conn:rest()
    if data ~= "" then
      before[#before + 1] = came.bytes
      if not far:xwrite(data, "bn") then break end
    elseif not more(conn) and (conn.record.eof or conn.closed) then
      break
    end
  end
  if conn.listener.closing then far:close() else far:shutdown("w") end
end

-- What comes for the client, up to `cut` bytes; true if there was more.
local function carry_back(conn, far, came, cut)
  while true do
    local data, why = far:recv(-65536)
    if data then
      local cutting = cut and came.bytes + #data > cut
      if cutting then data = data:sub(1, cut - came.bytes) end
      came.bytes = came.bytes + #data
      if not conn:write(data) or cutting then return cutting end
    elseif why == errno.EAGAIN then
      cqueues.poll(far)
    else
      return false
    end
  end
end

--- Adds methods to the scripts' `conn`.
-- @tparam table Conn
-- @param loop the server's
-- @tparam function more waits for bytes
function proxy.extend(Conn, loop, more)
  --- Connects to a port of this machine: true, or nil where nobody listens.
  function Conn:connect(port)
    self.far = connect(port)
    if not self.far then return nil end
    self.listener.held = self.listener.held or {}
    table.insert(self.listener.held, self.far)
    return true
  end

  --- Carries bytes both ways until the far end of `connect` has ended, or `cut` bytes have come
  -- from there. Returns whether there were more. The record's `sent_before` tells how many had come
  -- before each piece that the client sent.
  function Conn:carry(cut)
    local far, came = self.far, { bytes = 0 }
    loop:wrap(carry_there, self, far, more, came)
    return carry_back(self, far, came, cut)
  end
end

return proxy
