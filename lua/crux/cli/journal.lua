--- The journal of a bulk run: what is to be done, what is about to be done and what came of it, as
-- lines of JSON that are only ever appended.
--
--     {"type":"journal","version":1,"base_url":…,"api":…,"account":…,"time":…}
--     {"type":"order","index":1,"arguments":{"order_uuid":…}}
--     {"type":"count","orders":1}
--     {"type":"run","timeout":30,"time":…}
--     {"type":"intent","index":1,"time":…}
--     {"type":"outcome","index":1,"outcome":"unknown","kind":"timeout",…,"intent":…,"time":…}
--     {"type":"looked","index":1,"looked":"cancelled",…,"time":…}
--     {"type":"alive","time":…}
--     {"type":"stop","reason":"signal","signal":"SIGINT","time":…}
--
-- *Promises.* `intend` returns true only once the intents are on the disk. A newline commits a
-- line: what follows the last one is cut off before anything is appended. What is read is checked:
-- a line that does not follow from those before it is an error (`crux.cli.journal_reader`).
-- @classmod crux.cli.journal
local Reader = require "crux.cli.journal_reader"
local core = require "crux.core"
local lines = require "crux.cli.journal_lines"
local states = require "crux.cli.states"
local system = require "crux.os"

local Journal = {}
Journal.__index = Journal

-- A run that has written nothing for so many seconds says that it is alive.
local SILENCE = 5

local function directory_of(path)
  return path:match("^(/+)[^/]*$") or path:match("^(.*[^/])/+[^/]*$") or "."
end

-- Whether a path can be opened is told by the system; the message has the path already.
local function io_failure(path, message)
  if message:sub(1, #path) ~= path then message = path .. ": " .. message end
  return nil, message, "io"
end

-- --- making and opening ---

-- Cuts off what no newline has committed, so that it never becomes a part of the next line.
local function cut(self)
  local status, message = self.file:stat()
  if not status then return nil, message end
  if status.size == self.size then return true end
  local ok, why = self.file:truncate(self.size)
  if ok then ok, why = self.file:sync() end
  return ok, why
end

local function locked(path)
  return nil, path .. ": another process uses the journal", "locked"
end

-- Reads an open file. On failure it is closed.
local function opened(file, path, is_locked)
  local self, message, why = Reader.read(file, path)
  if self then
    self.path, self.file, self.is_locked = path, file, is_locked
    setmetatable(self, Journal)
    local ok = true
    if is_locked then ok, message = cut(self) end
    if ok then return self end
    why = "io"
  end
  -- one that is being made by another process must not be deleted
  local is_used = why == "incomplete" and not is_locked and select(3, file:lock()) == "EAGAIN"
  file:close()
  if is_used then return locked(path) end
  if why == "io" then return io_failure(path, message) end
  return nil, message, why
end

--- Makes a journal: a file that was not there, with all orders, which is on the disk when this
-- returns. If that fails, there is no file.
-- @tparam string path
-- @tparam table header `base_url`, `api`, and where known `account`
-- @tparam table|function orders checked arguments of `cancel_order`: a list, or a function that
--   yields them and then nil
-- @treturn[1] crux.cli.journal opened for a run
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string why: `"exists"`, `"locked"` or `"io"`
function Journal.create(path, header, orders)
  local file, message, name = system.open(path, "create")
  if not file then
    if name == "EEXIST" then return nil, path .. ": the journal exists", "exists" end
    return io_failure(path, message)
  end
  local head = { version = Reader.VERSION, crux = core._VERSION, time = os.time() }
  for field, value in pairs(header) do head[field] = value end
  local raised, ok
  ok, message = file:lock()
  if ok then
    local ran, result, why = pcall(lines.write_all, file, head, orders)
    raised, ok, message = not ran and { result }, ran and result, why
  end
  if ok then ok, message = system.sync_directory(directory_of(path)) end
  if ok then return opened(file, path, true) end
  os.remove(path) -- nothing was sent; the lock is held until nobody can open it any more
  file:close()
  if raised then error(raised[1], 0) end
  return io_failure(path, message)
end

--- Opens a journal, and reads it.
-- @tparam string path
-- @tparam[opt] table options `lock`: true to write to it: no other process may; without, nothing is
--   changed, and another process may write meanwhile
-- @treturn[1] crux.cli.journal
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string why: `"locked"`: another process runs it; `"incomplete"`: it was killed before
--   the last order was in it, and nothing was sent; `"version"`: another version of crux made it;
--   `"bad"`: it has a line that cannot be there, or is no journal; `"io"`
function Journal.open(path, options)
  local is_locked = options and options.lock or false
  local file, message = system.open(path, is_locked and "append" or "read")
  if not file then return io_failure(path, message) end
  local ok, why, name = true, nil, nil
  if is_locked then ok, why, name = file:lock() end
  local status = ok
  if ok then status, why = file:stat() end
  if status and status.links > 0 then return opened(file, path, is_locked) end
  file:close()
  if name == "EAGAIN" then return locked(path) end
  return io_failure(path, why or "the journal was removed")
end

-- --- what it holds ---

--- How many orders there are.
-- @treturn number
function Journal:count() return self.orders end

--- The state of an order, a row of `crux.cli.states`.
-- @tparam number index from 1
-- @treturn table
function Journal:state(index)
  return states.by_code[self.last[index] % states.LIMIT]
end

--- Where the last line about an order begins.
-- @tparam number index
-- @treturn number 0 if there is none
function Journal:offset(index) return math.floor(self.last[index] / states.LIMIT) end

--- The arguments of an order.
-- @tparam number index
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:arguments(index) return Reader.arguments(self, index) end

--- The last line about an order, decoded.
-- @tparam number index
-- @treturn[1] ?table nil if there is none
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:last_line(index) return Reader.last_line(self, index) end

-- --- appending ---

local function failed(self, message)
  self.failure = self.failure or ("%s: %s"):format(self.path, message)
  return nil, self.failure
end

-- Appends lines as one piece. After a failure the file ends where it ended before, if it can be
-- made to: then outcomes may still be told. `is_of_run`: the run goes on while this is written.
local function append(self, text, is_of_run)
  if self.is_broken then return nil, self.failure end
  if not self.is_locked then error("expected a journal that was opened to be written", 2) end
  local ok, message = self.file:write(text)
  if ok then
    self.size, self.latest = self.size + #text, os.time()
    if is_of_run and self.runs[1] then self.runs[#self.runs].latest = self.latest end
    return true
  end
  self.is_broken = not self.file:truncate(self.size)
  return failed(self, message)
end

-- A failed sync may have dropped what it did not write: nothing can be built on the file any more.
local function sync(self)
  if self.is_broken then return nil, self.failure end
  local ok, message = self.file:sync()
  if ok then return true end
  self.is_broken = true
  return failed(self, message)
end

-- Whether the file still has a name: without one, nothing of it outlives the process.
local function check_name(self)
  local status, message = self.file:stat()
  if status and status.links > 0 then return true end
  self.is_broken = true
  return failed(self, message or "the journal was removed")
end

-- Appends a line about an order.
local function append_about(self, index, kind, fields)
  fields.type = kind
  local state = states.after(self:state(index), fields)
  if not state then
    error(("order %d: %s cannot follow %s"):format(index, kind, self:state(index).name), 3)
  end
  fields.type, fields.index, fields.time = nil, index, os.time()
  local offset = self.size
  local ok, message = append(self, lines.line(kind, fields), kind ~= "looked")
  if not ok then return nil, message end
  self.last[index] = offset * states.LIMIT + state.code
  return true
end

--- Tells that a run begins.
-- @tparam table fields `timeout`: of a call, in seconds
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:begin(fields)
  local run = { timeout = fields.timeout, offset = self.size, latest = os.time() }
  local ok, message = append(self, lines.line("run", { timeout = run.timeout, time = run.latest }))
  if not ok then return nil, message end
  self.runs[#self.runs + 1], self.stopped = run, nil
  return true
end

--- Tells that some orders are about to be sent. They may be sent once this has returned true. After
-- a failure no intent is written any more.
-- @tparam table indices
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:intend(indices)
  if self.failure then return nil, self.failure end
  local time, offset, parts, offsets = os.time(), self.size, {}, {}
  for place, index in ipairs(indices) do
    if not states.after(self:state(index), { type = "intent" }) then
      error(("order %d: an intent cannot follow %s"):format(index, self:state(index).name), 2)
    end
    parts[place] = lines.intent(index, time)
    offsets[place], offset = offset, offset + #parts[place]
  end
  local start = self.size
  local ok, message = append(self, table.concat(parts), true)
  if ok then ok, message = sync(self) end
  if ok then ok, message = check_name(self) end
  if not ok then
    self.file:truncate(start) -- nothing was sent; what stays on the disk is `unknown`
    return nil, message
  end
  for place, index in ipairs(indices) do
    self.last[index] = offsets[place] * states.LIMIT + states.by_name.intent.code
  end
  return true
end

--- Tells what came of an order. The next `intend` or `sync` makes that durable: until then a loss
-- of power leaves the order unknown.
-- @tparam number index
-- @tparam table fields `outcome`: that of a call, or `"not_started"`; and where known `status`,
--   `kind`, `message`, `hint`, `intent`
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:conclude(index, fields) return append_about(self, index, "outcome", fields) end

--- Tells what an order shows whose outcome is unknown.
-- @tparam number index
-- @tparam table fields `looked`: the state of its cancellation; and those of its outcome
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:look(index, fields) return append_about(self, index, "looked", fields) end

--- Tells that the run goes on, if nothing else has told so for a while.
function Journal:beat()
  local silent = os.time() - self.latest
  if self.failure or silent >= 0 and silent < SILENCE then return end
  append(self, lines.line("alive", { time = os.time() }), true)
end

--- Tells why a run has ended before its orders had.
-- @tparam table fields `reason`; `signal`, its name; `message`
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:stop(fields)
  local stopped = { reason = fields.reason, signal = fields.signal, message = fields.message }
  stopped.time = os.time()
  local ok, message = append(self, lines.line("stop", stopped), true)
  if not ok then return nil, message end
  self.stopped = stopped
  return true
end

--- Makes durable what was written.
-- @treturn[1] boolean true
-- @treturn[2] nil
-- @treturn[2] string message
function Journal:sync() return sync(self) end

--- Closes the file, which ends the lock.
function Journal:close() self.file:close() end

return Journal
