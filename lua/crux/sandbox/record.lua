--- What a sandbox has seen and done, for specs that compare it with what a client was told.
-- @module crux.sandbox.record

local json = require "crux.sandbox.json"

local Record = {}
Record.__index = Record

--- An empty record: `connections`, `requests`, and `cancels`, by order UUID `{ received, executed,
-- answers }`.
-- @tparam[opt] string journal a file to which every event is appended at once, so that it outlives
--   the process: lines `received UUID`, `executed UUID` and `answered UUID STATUS`, each before the
--   step it is about is taken further
local function new(journal)
  local file
  if journal then
    file = assert(io.open(journal, "a"))
    file:setvbuf("no")
  end
  return setmetatable({ connections = 0, requests = 0, cancels = {}, journal = file }, Record)
end

function Record:note(...)
  if self.journal then self.journal:write(table.concat({ ... }, " ") .. "\n") end
end

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
  self:note("received", uuid)
end

--- A cancellation was carried out.
function Record:executed(uuid)
  local entry = self:entry(uuid)
  entry.executed = entry.executed + 1
  self:note("executed", uuid)
end

--- It was answered with this status; 0 if the connection was dropped instead.
function Record:answered(uuid, status)
  local answers = self:entry(uuid).answers
  answers[#answers + 1] = status
  self:note("answered", uuid, status)
end

--- As JSON values.
-- @tparam[opt] string uuid of one order; all of them if left out
function Record:show(uuid)
  local shown = { connections = self.connections, requests = self.requests }
  if uuid then
    local entry = self.cancels[uuid:lower()]
      or { received = 0, executed = 0, answers = json.list() }
    for name, value in pairs(entry) do shown[name] = value end
  else
    shown.cancels = self.cancels
  end
  return shown
end

return { new = new }
