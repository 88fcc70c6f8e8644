--- Which attempt of a batch starts next: a retry, an item that is started again, or a new one.
-- Between two attempts a call is *parked* here. A retry keeps its place among those in flight, an
-- item that is started again gives it up. When an attempt may start at all, and how many there may
-- be, is decided by `crux.pacer`.
--
-- An *entry* is an item as a batch holds it. Its fields here: `pending`, its call; `attempt`, the
-- number of its last attempt; `attempts_before`, how many its call had when it was parked; `due`,
-- when its retry may start; `is_waiting`, whether it is to be started again; `last_known`, what it
-- comes to if it is not; `began`, `deadline` and `retries`, as they were at first; `latest`, which
-- the deadline never passes; `is_held`.
-- @classmod crux.dispatcher
local Pacer = require "crux.pacer"

local ipairs, setmetatable = ipairs, setmetatable
local huge, max, min, remove = math.huge, math.max, math.min, table.remove

local Dispatcher = {}
Dispatcher.__index = Dispatcher

--- Makes a dispatcher.
-- @tparam crux.pacer pacer
-- @tparam number concurrency
-- @tparam function now returns the seconds on the pacer's clock
function Dispatcher.new(pacer, concurrency, now)
  return setmetatable({
    pacer = pacer, concurrency = concurrency, now = now,
    retries = {}, restarts = {}, -- parked entries
    held = 0,                    -- how many entries there are
    active = 0,                  -- how many of these are not to be started again
  }, Dispatcher)
end

--- Counts an entry whose call begins.
-- @tparam table entry
function Dispatcher:hold(entry)
  self.held, self.active, entry.is_held = self.held + 1, self.active + 1, true
end

--- Counts an entry no longer: its call is done.
-- @tparam table entry
function Dispatcher:release(entry)
  if not entry.is_held then return end -- memory ran out before it was counted
  self.held, entry.is_held = self.held - 1, false
  if not entry.is_waiting then self.active = self.active - 1 end
end

--- Starts the first attempt of a call, or another one.
-- @tparam table entry
function Dispatcher:attempt(entry)
  entry.attempt = self.pacer:start()
  entry.pending:resume()
end

--- Keeps an entry until its next attempt.
-- @tparam table entry
function Dispatcher:park(entry)
  local call, list = entry.pending:call(), entry.is_waiting and self.restarts or self.retries
  entry.due = entry.due or call.due
  entry.attempts_before = call.attempts
  list[#list + 1] = entry
  if entry.is_waiting then self.active = self.active - 1 end
end

local function take_due(list, is_due)
  for place, entry in ipairs(list) do
    if is_due(entry) then return remove(list, place) end
  end
end

--- Starts a retry that is due, if there is one. The deadline has stood still while the call waited
-- for the batch.
-- @treturn boolean whether there was one
function Dispatcher:retry()
  local now = self.now()
  local entry = take_due(self.retries, function(parked) return parked.due <= now end)
  if not entry then return false end
  local call = entry.pending:call()
  call.deadline = min(call.deadline + max(0, now - entry.due), entry.latest)
  entry.due = nil
  self:attempt(entry)
  return true
end

--- Starts an item again, if there is one whose pause is over: with all its time and all its
-- retries, and its token may have expired during the pause.
-- @treturn boolean whether there was one
function Dispatcher:restart()
  local pacer = self.pacer
  local entry = take_due(self.restarts, function(parked) return pacer:is_over(parked.attempt) end)
  if not entry then return false end
  local call = entry.pending:call()
  call.deadline = entry.deadline + (self.now() - entry.began)
  call.retries = call.attempts - (call.renewals or 0) + entry.retries
  call.refreshed, call.has_logged_in = nil, nil
  entry.is_waiting, entry.due = false, nil
  self.active = self.active + 1
  self:attempt(entry)
  return true
end

--- Returns whether an attempt may start now.
-- @treturn boolean
function Dispatcher:is_open() return self.pacer:opens() <= self.now() end

--- Returns whether as many calls are in flight as there may be.
-- @treturn boolean
function Dispatcher:is_full() return self.active >= self.pacer:limit() end

--- Returns whether there is room for a new item beside those that are to be started again.
-- @treturn boolean
function Dispatcher:has_room() return self.held < max(self.concurrency, Pacer.OUTAGE) end

--- Nothing was started. If nothing is in flight, nothing else can show that the service is well
-- again: pauses, and an item is started again after that.
function Dispatcher:back_off()
  if self.active == 0 and self.restarts[1] then self.pacer:back_off(self.restarts[1].attempt) end
end

--- Returns how long there is nothing to start.
-- @tparam boolean has_items whether there may be new items
-- @tparam ?number ask_again when an iterator that had none is asked again, in seconds
-- @treturn number seconds
function Dispatcher:idle_seconds(has_items, ask_again)
  local now, opens = self.now(), self.pacer:opens()
  local until_then = huge
  for _, entry in ipairs(self.retries) do until_then = min(until_then, max(entry.due, opens)) end
  if not self:is_full() then
    if ask_again then until_then = min(until_then, now + ask_again) end
    if (self.restarts[1] or has_items) and opens > now then until_then = min(until_then, opens) end
  end
  return max(until_then - now, 0)
end

--- Ends the calls that wait for an attempt which will not come.
function Dispatcher:drop()
  for _, list in ipairs{ self.retries, self.restarts } do
    while list[1] do
      local entry = list[1]
      -- one that was parked before its first attempt, by a login, knows nothing
      if entry.last_known then entry.pending:end_with(entry.last_known)
      else entry.pending:abort() end
      remove(list, 1)
    end
  end
end

return Dispatcher
