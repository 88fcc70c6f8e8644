--- Calls in flight: where attempts end up, which pauses are due, which calls are done and not yet handed out. It holds
-- its calls weakly: one that nobody else holds is given up.
-- @module crux.loop
local core = require "crux.core"

local Loop = {}
Loop.__index = Loop

-- What one `step` may do for calls that do not become done by it, so that it stays short.
local WORK = 8

local WEAK = { __mode = "v" }

function Loop.new(await)
  return setmetatable({
    await = await,
    inbox = core.inbox(),
    calls = setmetatable({}, WEAK), -- by the number of their attempt or pause
    number = 0,
    due = {},                       -- a heap of { when, number }: the pauses
    ready = setmetatable({}, WEAK), -- done, from `first` to `last`
    first = 1, last = 0,
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

-- --- what a pending asks of its loop ---

--- A number under which a pending's attempt or pause is found; any earlier one is void.
function Loop:enrol(pending)
  self.calls[pending.number or 0] = nil
  self.number = self.number + 1
  pending.number = self.number
  self.calls[self.number] = pending
  return self.number
end

--- To be started again then.
function Loop:pause(pending, when)
  push(self.due, { when, self:enrol(pending) })
end

--- Done, and to be handed out by `step`.
function Loop:finish(pending)
  self.calls[pending.number or 0] = nil
  if self.closed then return end
  self.last = self.last + 1
  self.ready[self.last] = pending
  self.inbox:ring()
end

-- --- stepping ---

-- In a forked child: what its parent submitted ends here, and is told apart from pauses by the call itself.
local function orphan(self)
  for number in next, self.calls do push(self.due, { 0, number }) end
end

local function next_ready(self)
  while self.first <= self.last do
    local pending = self.ready[self.first]
    self.ready[self.first] = nil
    self.first = self.first + 1
    if pending then return pending end
  end
  return nil
end

local function soonest(self)
  local due = self.due
  while due[1] and not self.calls[due[1][2]] do pop(due) end
  return due[1]
end

--- Carries on what is due, up to the first call that becomes done.
-- @treturn ?crux.pending a call that is done and was not handed out before
function Loop:step()
  local pending = next_ready(self)
  local now = core.now()
  for _ = 1, pending and 0 or WORK do
    local number = self.inbox:take()
    if number == false then orphan(self) end
    local entry = not number and soonest(self)
    if entry and entry[1] <= now then number = pop(self.due)[2] end
    if not number then break end
    local call = self.calls[number]
    if call then call:advance() end
    if self.closed then return nil end -- by `on_event`
    pending = next_ready(self)
    if pending then break end
  end
  if self.first > self.last then self.inbox:quiet() end
  return pending
end

--- Seconds until `step` is next due, or nil if nothing but the descriptor will tell.
function Loop:timeout()
  if self.first <= self.last then return 0 end
  local entry = soonest(self)
  return entry and math.max(entry[1] - core.now(), 0)
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
