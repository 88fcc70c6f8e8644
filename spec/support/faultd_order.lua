-- The fault server's control of order: several writes in one segment, and connections that wait for
-- each other. Used by faultd.lua alone.

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local errno = require "cqueues.errno"

local order = {}

local library

--- Adds methods to the scripts' `conn`.
-- @tparam table Conn
function order.extend(Conn)
  --- Buffers what is written until `uncork` or the end of the connection, and then sends it in one
  -- segment. Of a following handshake, only the last flight is buffered.
  function Conn:cork()
    self.corked = true
    assert(library.cork(self.socket:pollfd(), true), "expected to set TCP_CORK")
  end

  --- Sends what `cork` has buffered.
  function Conn:uncork()
    self.corked = false
    assert(library.cork(self.socket:pollfd(), false), "expected to take TCP_CORK away")
  end

  --- Waits until so many of the listener's connections wait here, this one included.
  function Conn:meet(count)
    local listener = self.listener
    local meeting = listener.meeting or { count = 0, condition = condition.new() }
    meeting.count = meeting.count + 1
    listener.meeting = meeting.count < count and meeting or nil
    if meeting.count >= count then meeting.condition:signal() else meeting.condition:wait() end
  end
end

--- Performs a connection's handshake. While the connection is corked, only the last flight is
-- buffered: the client waits for those before it.
function order.handshake(conn)
  if not conn.corked then return conn.socket:starttls(conn.context) end
  while true do
    local ok, why = conn.socket:starttls(conn.context, 0)
    if ok or why ~= errno.ETIMEDOUT then return ok, why end
    conn:uncork()
    conn:cork()
    cqueues.poll(conn.socket)
  end
end

--- Says where faultd.c is.
function order.use(functions) library = functions end

return order
