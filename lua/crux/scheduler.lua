--- Schedules the submitted calls of a client or a batch: which attempt has ended, which pause is
-- over, which call is done and was not returned yet. It is not an event loop; it plugs into one
-- through `fd` and `timeout`. It holds its calls weakly: one that nobody else holds is aborted.
-- @classmod crux.scheduler
local core = require "crux.core"

local ipairs, max, min, next = ipairs, math.max, math.min, next
local remove, setmetatable = table.remove, setmetatable

local Scheduler = {}
Scheduler.__index = Scheduler

-- How many calls one `step` advances at most, if none of them becomes done: so it stays short.
local WORK = 8

-- How often `wait` looks whether a login has ended, in seconds.
local LOOK = 0.005

local WEAK = { __mode = "v" }

--- Makes a scheduler.
-- @param client kept alive by each call
-- @tparam table driver how calls wait: see `Client.make`
-- @tparam[opt] table class another class that is made like this one
function Scheduler.new(client, driver, class)
  return setmetatable({
    _client = client, _driver = driver, _closed = false,
    _inbox = core.inbox(),
    _calls = setmetatable({}, WEAK), -- by slot; false: a free slot; nil: the call was collected
    _slots = 0,                      -- how many there are
    _free = {}, _free_count = 0,     -- a stack of free slots
    _pauses = {},                    -- a binary heap of { due, slot }, soonest first
    _held = {},                      -- by login, a list of the slots of calls that wait for it
    _released = {},                  -- those of these lists whose login has ended
    _logins = 0,                     -- calls that are not the host's
    _ready = setmetatable({}, WEAK), -- a circular buffer of done calls that `step` has to return
    _ready_size = 0, _ready_first = 1, _ready_count = 0,
  }, class or Scheduler)
end

-- --- the heap of pauses ---

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

-- --- slots: small numbers under which C finds a call again ---

-- The count is set last: should memory run out before, `add_slots` finds the slot again.
local function release_slot(self, slot)
  local count = self._free_count + 1
  self._free[count] = slot
  self._calls[slot] = false
  self._free_count = count
end

-- Frees the slots of calls that were collected; doubles the slots if that frees too few.
local function add_slots(self)
  for slot = 1, self._slots do
    if self._calls[slot] == nil then release_slot(self, slot) end
  end
  if self._free_count > self._slots / 2 then return end
  local before = self._slots
  self._slots = max(16, 2 * before)
  for slot = before + 1, self._slots do release_slot(self, slot) end
end

local function take_slot(self)
  if self._free_count == 0 then add_slots(self) end
  local slot = self._free[self._free_count]
  self._free_count = self._free_count - 1
  return slot
end

-- --- done calls that `step` has to return, in order ---

-- Drops the calls that were collected; doubles the buffer if that frees too few places. So it does
-- not grow for a host that polls each call and never steps.
local function grow_ready(self)
  local before, count_before = self._ready, self._ready_count
  local ready, count, size = setmetatable({}, WEAK), 0, self._ready_size
  for i = 1, count_before do
    local pending = before[(self._ready_first + i - 2) % size + 1]
    if pending then
      count = count + 1
      ready[count] = pending
    end
  end
  if count >= size / 2 then size = max(16, 2 * size) end
  for i = count + 1, size do ready[i] = false end
  -- a finalizer that ran meanwhile may have ended a call
  if self._ready ~= before or self._ready_count ~= count_before then return end
  self._ready, self._ready_size, self._ready_first, self._ready_count = ready, size, 1, count
end

local function push_ready(self, pending)
  while self._ready_count == self._ready_size do grow_ready(self) end
  local place = (self._ready_first + self._ready_count - 1) % self._ready_size + 1
  self._ready[place] = pending
  self._ready_count = self._ready_count + 1
end

local function next_ready(self)
  while self._ready_count > 0 do
    local first = self._ready_first
    local pending = self._ready[first]
    self._ready[first] = false
    self._ready_first = first % self._ready_size + 1
    self._ready_count = self._ready_count - 1
    if pending then return pending end
  end
  return nil
end

-- Whether the call still waits for the end of this pause.
local function is_current(self, pause)
  local pending = self._calls[pause[2]]
  return pending and (pause[1] == 0 or pending:pauses_until(pause[1]))
end

-- A pause is stale once its call was polled, aborted or collected.
local function drop_stale_pauses(self)
  local before, pauses = self._pauses, {}
  local count = #before
  for _, pause in ipairs(before) do
    if is_current(self, pause) then push(pauses, pause) end
  end
  if #before == count then self._pauses = pauses end -- else a finalizer has added one meanwhile
end

-- --- what a pending asks of its scheduler ---

--- Counts a call as in flight.
-- @tparam table call
function Scheduler:add(call)
  self._inbox:register(call.request)
  if call.on_done then self._logins = self._logins + 1 end
end

--- Takes back that a login is in flight, of which there is no pending.
-- @tparam table call
function Scheduler:forget(call)
  if call.request:finish() then self._logins = self._logins - 1 end
end

--- Returns the number under which `step` finds a pending when its attempt has ended.
-- @tparam crux.pending pending
-- @treturn number
function Scheduler:register(pending)
  local slot = pending._slot or take_slot(self)
  self._calls[slot], pending._slot = pending, slot
  return slot
end

--- Starts an attempt.
-- @tparam crux.pending pending
-- @param request userdata
-- @tparam ?string token
-- @tparam number deadline seconds on the driver's clock
-- @return what `request:start` does, see csrc/binding/pending.c
function Scheduler:start(pending, request, token, deadline)
  local slot, start = self:register(pending), self._driver.start
  if start then return start(request, token, deadline, slot) end
  return request:start(token, deadline, slot)
end

--- Has `step` advance a pending again when its pause is over.
-- @tparam crux.pending pending
-- @tparam number due seconds on the driver's clock
function Scheduler:pause(pending, due)
  local slot = self:register(pending)
  if #self._pauses > 2 * self._slots then drop_stale_pauses(self) end
  push(self._pauses, { due, slot })
end

--- Has `step` advance a pending again when a login has ended, or at the end of `call.due`.
-- @tparam crux.pending pending
-- @tparam crux.login login
function Scheduler:hold(pending, login)
  local held = self._held[login]
  if not held then
    held = { first = 1 }
    self._held[login], login.holders[self] = held, true
  end
  held[#held + 1] = self:register(pending)
  self:pause(pending, pending:call().due)
end

--- Has `step` advance the calls that have waited for a login.
-- @tparam crux.login login
function Scheduler:release_held(login)
  self._released[#self._released + 1] = self._held[login]
  self._held[login] = nil
  if not self._closed then self._inbox:notify() end
end

-- The slot of a call whose login has ended, or nil.
local function next_released(self)
  local released = self._released[1]
  if not released then return nil end
  local slot = released[released.first]
  released.first = released.first + 1
  if not released[released.first] then remove(self._released, 1) end
  return slot
end

--- Frees the slot of a pending.
function Scheduler:release(pending)
  local slot = pending._slot
  if not slot then return end
  release_slot(self, slot)
  pending._slot = false
end

--- Takes a call that became done. `step` returns it later, unless it is `step` that moves it on.
-- @tparam crux.pending pending
-- @tparam[opt] boolean in_step
-- @treturn boolean whether `step` has to return it now
function Scheduler:finish(pending, in_step)
  local on_done = pending:call().on_done
  self:release(pending)
  if on_done then
    self._logins = self._logins - 1
    on_done()
    return false
  end
  if in_step or self._closed then return in_step end
  push_ready(self, pending)
  self._inbox:notify()
  return false
end

--- Waits up to `seconds` for the end of a request's attempt.
function Scheduler:await(request, seconds) self._driver.await(request, seconds) end

--- Pauses the caller.
function Scheduler:sleep(seconds) self._driver.sleep(seconds) end

-- --- stepping ---

-- In a forked child the calls in flight belong to the parent. They end here: each gets a pause that
-- is over, and is aborted when `step` comes to it.
local function fail_inherited(self)
  for slot = 1, self._slots do
    local pending = self._calls[slot]
    if pending then push(self._pauses, { 0, slot }) end
  end
end

-- The first pause whose call still waits for it, or nil.
local function next_pause(self)
  local pauses = self._pauses
  while pauses[1] and not is_current(self, pauses[1]) do pop(pauses) end
  return pauses[1]
end

--- Starts due retries and collects finished calls, without blocking, until a call becomes done.
-- @treturn ?crux.pending a done call that was not returned before
-- @raise Ctrl-C in a callback
function Scheduler:step()
  local pending = next_ready(self)
  local slot, more
  for _ = 1, pending and 0 or WORK do
    slot, more = self._inbox:take()
    if slot == false then fail_inherited(self) end
    if not slot then
      slot = next_released(self)
    end
    if not slot then
      local pause = next_pause(self)
      if not pause or pause[1] > self._driver.now() then break end
      slot = pop(self._pauses)[2]
    end
    pending = self._calls[slot]
    local is_done = pending and pending:advance(true)
    if self._closed then return nil end -- by `on_event`
    if not is_done then pending = next_ready(self) end
    if pending then break end
  end
  if self._ready_count > 0 or self._released[1] then self._inbox:notify()
  elseif not more then self._inbox:clear() end
  return pending
end

--- Returns when `step` is next due even if the descriptor stays silent.
-- @treturn ?number seconds
function Scheduler:timeout()
  if self._ready_count > 0 or self._released[1] then return 0 end
  local pause = next_pause(self)
  return pause and max(pause[1] - self._driver.now(), 0)
end

--- Waits up to `seconds` until `step` has something to do.
-- @tparam number seconds
function Scheduler:wait(seconds)
  local timeout = self:timeout()
  if timeout and timeout < seconds then seconds = timeout end
  -- the login is a call of the client's own scheduler, and this may be a batch's
  if next(self._held) then seconds = min(seconds, LOOK) end
  self._driver.await(self._inbox, seconds)
  -- a function that a login calls may submit a call, which waits for another one
  local logins = {}
  for login in next, self._held do logins[#logins + 1] = login end
  for _, login in ipairs(logins) do login:advance() end
end

--- Returns how many calls are in flight.
-- @treturn number
function Scheduler:in_flight() return self._inbox:in_flight() - self._logins end

--- Returns a descriptor that is readable while `step` has something to do.
-- @treturn number
function Scheduler:fd() return self._inbox:fd() end

--- Makes the descriptor readable, until a `step` finds nothing to do.
function Scheduler:notify() self._inbox:notify() end

--- Returns whether `close` was called.
-- @treturn boolean
function Scheduler:is_closed() return self._closed end

--- Aborts every call. Idempotent. Results are computed when they are asked for: a thousand of them
-- here could take longer than a frame of a game.
function Scheduler:close()
  self._closed = true
  self._inbox:close()
end

return Scheduler
