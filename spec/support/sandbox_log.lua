--- A sandbox's log of what it received, executed and answered, read as it grows: which orders were
-- sent twice, but after a 401 or 429.
--
--     local log = sandbox_log(path)
--     log:read()
--     log.received, log.answered, log.doubles, log.executed[uuid]
-- @module spec.support.sandbox_log

local Log = {}
Log.__index = Log

local function open_log(path)
  return setmetatable({
    file = assert(io.open(path)), rest = "", received = 0, answered = 0, executed = {}, sent = {},
    repeatable = {}, doubles = 0,
  }, Log)
end

function Log:take(what, uuid, status)
  if what == "received" then
    self.received = self.received + 1
    if self.sent[uuid] and not self.repeatable[uuid] then self.doubles = self.doubles + 1 end
    self.sent[uuid], self.repeatable[uuid] = true, nil
  elseif what == "executed" then self.executed[uuid] = true
  elseif what == "answered" then
    self.answered = self.answered + 1
    if status == "401" or status == "429" then self.repeatable[uuid] = true end
  end
end

-- Reads what is new.
function Log:read()
  self.file:seek("cur", 0)
  local text = self.rest .. (self.file:read("*a") or "")
  local stop = 0
  for what, uuid, status, after in text:gmatch("(%l+) (%S+) ?(%d*)\n()") do
    self:take(what, uuid, status)
    stop = after - 1
  end
  self.rest = text:sub(stop + 1)
end

return open_log
