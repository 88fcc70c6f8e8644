--- What a sandbox has seen and done, for specs that compare it with what a client was told.
-- @module crux.sandbox.record

local json = require "crux.sandbox.json"

local Record = {}
Record.__index = Record

--- An empty record: `connections`, `requests`, `logins` that were successful, and `cancels`, by
-- order UUID `{ received, executed, answers }`.
-- @tparam[opt] string journal a file to which every event is appended at once, so that it outlives
--   the process: lines `received UUID`, `executed UUID` and `answered UUID STATUS`, each before the
--   step it is about is taken further
-- @tparam[opt] function keep called with a UUID and its entry whenever that has changed
local function new(journal, keep)
  local file
  if journal then
    file = assert(io.open(journal, "a"))
    file:setvbuf("no")
  end
  return setmetatable({
    connections = 0, requests = 0, logins = 0, cancels = {},
    journal = file, keep = keep or function() end,
  }, Record)
end

function Record:note(...)
  if self.journal then self.journal:write(table.concat({ ... }, " ") .. "\n") end
end

--- Put an entry back that was kept as JSON, which does not tell an integer from a float.
function Record:restore(uuid, entry)
  local answers = json.list()
  for i, status in ipairs(entry.answers) do answers[i] = math.tointeger(status) end
  self.cancels[uuid] = {
    received = math.tointeger(entry.received), executed = math.tointeger(entry.executed),
    answers = answers,
  }
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
  self.keep(uuid:lower(), entry)
  self:note("received", uuid)
end

--- A cancellation was carried out.
function Record:executed(uuid)
  local entry = self:entry(uuid)
  entry.executed = entry.executed + 1
  self.keep(uuid:lower(), entry)
  self:note("executed", uuid)
end

--- It was answered with this status; 0 if the connection was dropped instead.
function Record:answered(uuid, status)
  local entry = self:entry(uuid)
  entry.answers[#entry.answers + 1] = status
  self.keep(uuid:lower(), entry)
  self:note("answered", uuid, status)
end

--- As JSON values.
-- @tparam[opt] string uuid of one order; all of them if left out
function Record:show(uuid)
  local shown = {
    connections = self.connections, requests = self.requests, logins = self.logins,
  }
  if uuid then
    local none = { received = 0, executed = 0, answers = json.list() }
    for name, value in pairs(self.cancels[uuid:lower()] or none) do shown[name] = value end
  else
    shown.cancels = self.cancels
  end
  return shown
end

return { new = new }
