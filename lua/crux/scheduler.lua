--- Calls in flight: where attempts end up, which pauses are due, which calls are done and not yet handed out. It holds
-- its calls weakly: one that nobody else holds is given up.
-- @module crux.scheduler
local core = require "crux.core"

local setmetatable, max = setmetatable, math.max

local Loop = {}
Loop.__index = Loop

-- What one `step` may do for calls that do not become done by it, so that it stays short.
local WORK = 8

-- A number is a slot of `calls`, plus this times a serial number: slots are used again, numbers are not.
-- (Keys that only grow would have Lua rebuild the table over and over.)
local SLOTS, SERIALS = 2 ^ 24, 2 ^ 29

local WEAK = { __mode = "v" }

function Loop.new(await)
  return setmetatable({
    await = await,
    inbox = core.inbox(),
    calls = setmetatable({}, WEAK), -- by slot; false: free; nil: its call was collected
    slots = 0,                      -- how many there are
    free = {}, free_count = 0,      -- a stack of slots
    serial = 0,
    due = {},                       -- a heap of { when, number }: the pauses
    ready = setmetatable({}, WEAK), -- a ring: calls that are done and were not handed out
    ring = 0, first = 1, ready_count = 0,
  }, Loop)
end

-- --- the pauses, soonest first ---

local function swap(heap, a, b) heap[a], heap[b] = heap[b], heap[a] end

local function push(heap, entry)
  local i = #heap + 1
  heap[i] = entry
  while i > 1 and heap[i][1] < heap[(i - i % 2) / 2][1] do
    swap(heap, i, (i - i % 2) / 2)
    i = (i - i % 2) / 2
  end
end

local function pop(heap)
  local last = #heap
  swap(heap, 1, last)
  local entry = heap[last]
  heap[last] = nil
  local i = 1
  while true do
    local least = i
    for child = 2 * i, 2 * i + 1 do
      if heap[child] and heap[child][1] < heap[least][1] then least = child end
    end
    if least == i then return entry end
    swap(heap, i, least)
    i = least
  end
end

-- --- slots ---

-- Counted last: should memory run out before, a new slot is none yet, and `add_slots` finds it.
local function release_slot(self, slot)
  local count = self.free_count + 1
  self.free[count] = slot
  self.calls[slot] = false
  self.free_count = count
end

-- Twice as many, and those whose calls were collected.
local function add_slots(self)
  for slot = 1, self.slots do
    if self.calls[slot] == nil then release_slot(self, slot) end
  end
  if self.free_count > self.slots / 2 then return end
  local before = self.slots
  self.slots = max(16, 2 * before)
  for slot = before + 1, self.slots do release_slot(self, slot) end
end

local function take_slot(self)
  if self.free_count == 0 then add_slots(self) end
  local slot = self.free[self.free_count]
  self.free_count = self.free_count - 1
  return slot
end

local function find(self, number)
  local pending = self.calls[number % SLOTS]
  return pending and pending.number == number and pending or nil
end

-- --- the ring ---

local function grow_ring(self)
  local ready = setmetatable({}, WEAK)
  local size = max(16, 2 * self.ring)
  for i = 1, size do
    ready[i] = i <= self.ready_count and self.ready[(self.first + i - 2) % self.ring + 1] or false
  end
  self.ready, self.ring, self.first = ready, size, 1
end

local function push_ready(self, pending)
  if self.ready_count == self.ring then grow_ring(self) end
  self.ready[(self.first + self.ready_count - 1) % self.ring + 1] = pending
  self.ready_count = self.ready_count + 1
end

-- --- what a pending asks of its loop ---

--- A number under which a pending's attempt or pause is found; any earlier one is void.
function Loop:enrol(pending)
  local before = pending.number
  local slot = before and before % SLOTS or take_slot(self)
  self.serial = (self.serial + 1) % SERIALS
  local number = slot + SLOTS * self.serial
  self.calls[slot], pending.number = pending, number
  return number -- and not the pending's, which a finalizer may have ended by now
end

--- To be started again then.
function Loop:pause(pending, when)
  push(self.due, { when, self:enrol(pending) })
end

--- Done, and to be handed out by `step`; by the one that is running, if `in_step`.
function Loop:finish(pending, in_step)
  if pending.number then
    release_slot(self, pending.number % SLOTS)
    pending.number = nil
  end
  if self.closed then return end
  push_ready(self, pending)
  if not in_step then self.inbox:notify() end
end

-- --- stepping ---

-- In a forked child: what its parent submitted ends here, and is told apart from pauses by the call itself.
local function orphan(self)
  for slot = 1, self.slots do
    local pending = self.calls[slot]
    if pending then push(self.due, { 0, pending.number }) end
  end
end

local function next_ready(self)
  while self.ready_count > 0 do
    local pending = self.ready[self.first]
    self.ready[self.first] = false
    self.first = self.first % self.ring + 1
    self.ready_count = self.ready_count - 1
    if pending then return pending end
  end
  return nil
end

local function soonest(self)
  local due = self.due
  while due[1] and not find(self, due[1][2]) do pop(due) end
  return due[1]
end

--- Carries on what is due, up to the first call that becomes done.
-- @treturn ?crux.pending a call that is done and was not handed out before
function Loop:step()
  local pending = next_ready(self)
  local number, more
  for _ = 1, pending and 0 or WORK do
    number, more = self.inbox:take()
    if number == false then orphan(self) end
    local entry = not number and soonest(self)
    if entry and entry[1] <= core.now() then number = pop(self.due)[2] end
    if not number then break end
    local call = find(self, number)
    if call then call:advance(true) end
    if self.closed then return nil end -- by `on_event`
    pending = next_ready(self)
    if pending then break end
  end
  if self.ready_count > 0 then self.inbox:notify()
  elseif not more then self.inbox:clear() end
  return pending
end

--- Seconds until `step` is next due, or nil if nothing but the descriptor will tell.
function Loop:timeout()
  if self.ready_count > 0 then return 0 end
  local entry = soonest(self)
  return entry and max(entry[1] - core.now(), 0)
end

--- Waits until `step` has something to do, but at most so many seconds.
function Loop:wait(seconds)
  local timeout = self:timeout()
  self.await(self.inbox, timeout and timeout < seconds and timeout or seconds)
end

--- Ends every call, and the loop. Again: nothing. What each came to is worked out when it is asked for, since a thousand
-- at once would take longer than a frame has.
function Loop:close()
  self.closed = true
  self.inbox:close()
end

return Loop
