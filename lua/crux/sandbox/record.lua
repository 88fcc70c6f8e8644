--- What a sandbox has seen and done, for specs that compare it with what a client was told.
-- @module crux.sandbox.record

local json = require "crux.sandbox.json"

local Record = {}
Record.__index = Record

--- An empty record: `connections`, `requests`, and `cancels`, by order UUID `{ received, executed, answers }`.
local function new() return setmetatable({ connections = 0, requests = 0, cancels = {} }, Record) end

function Record:entry(uuid)
  uuid = uuid:lower()
  local entry = self.cancels[uuid]
  if not entry then
    entry = { received = 0, executed = 0, answers = json.list() }
    self.cancels[uuid] = entry
  end
  return entry
end

--- A whole request to cancel this order has arrived.
function Record:received(uuid)
  local entry = self:entry(uuid)
  entry.received = entry.received + 1
end

--- A cancellation was carried out.
function Record:executed(uuid)
  local entry = self:entry(uuid)
  entry.executed = entry.executed + 1
end

--- It was answered with this status; 0 if the connection was dropped instead.
function Record:answered(uuid, status)
  local answers = self:entry(uuid).answers
  answers[#answers + 1] = status
end

--- As JSON values.
-- @tparam[opt] string uuid of one order; all of them if left out
function Record:show(uuid)
  local shown = { connections = self.connections, requests = self.requests }
  if uuid then
    for name, value in pairs(self:entry(uuid)) do shown[name] = value end
  else
    shown.cancels = self.cancels
  end
  return shown
end

return { new = new }
