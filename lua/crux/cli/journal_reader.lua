--- Reads a journal, and checks each of its lines.
--
-- *Memory.* For each order one number: its state, and the offset of the last line about it. The
-- orders themselves stay in the file; of each so many-th one the offset is remembered.
-- @module crux.cli.journal_reader
local Offsets = require "crux.cli.offsets"
local states = require "crux.cli.states"

local cjson = require("cjson").new()

local reader = { VERSION = 1 }

local STRIDE = 64
-- How every journal begins, so that another file is not taken for one that was cut off.
local BEGINNING = '{"type":"journal"'

local function decode(line)
  local ok, value = pcall(cjson.decode, line)
  return ok and type(value) == "table" and value or nil
end

local function is_whole(value)
  return type(value) == "number" and value >= 0 and value % 1 == 0 and value < 2 ^ 53
end

-- Whether a first line has what a resumed run needs.
local function is_header(head)
  return head.version == reader.VERSION and is_whole(head.time) and type(head.base_url) == "string"
    and type(head.api) == "string"
end

-- What is wrong with a file whose first line is no header; the reason.
local function refuse_header(line, path)
  local head = line and decode(line)
  if head and head.type == "journal" and head.version ~= reader.VERSION then
    return ("%s: expected a journal of version %d, found version %s"):format(path, reader.VERSION,
      tostring(head.version)), "version"
  end
  return ("%s: expected a journal, found another file"):format(path), "bad"
end

-- --- the kinds of lines; each returns whether the line can be there ---

local kinds = {}

function kinds.order(self, line, offset)
  local is_next = not self.is_complete and line.index == self.orders + 1
  if not is_next or type(line.arguments) ~= "table" then return false end
  if self.orders % STRIDE == 0 then self.marks[#self.marks + 1] = offset end
  self.orders = self.orders + 1
  self.last[self.orders] = 0
  return true
end

function kinds.count(self, line)
  if self.is_complete or line.orders ~= self.orders then return false end
  self.is_complete = true
  return true
end

local function about_an_order(self, line, offset)
  if not self.is_complete or not is_whole(line.index) then return false end
  local last = self.last[line.index]
  local state = last and states.after(states.by_code[last % states.LIMIT], line)
  if not state then return false end
  self.last[line.index] = offset * states.LIMIT + state.code
  return true
end

kinds.intent, kinds.outcome, kinds.looked = about_an_order, about_an_order, about_an_order

function kinds.run(self, line, offset)
  if not self.is_complete or type(line.timeout) ~= "number" then return false end
  self.runs[#self.runs + 1] = { timeout = line.timeout, offset = offset }
  self.stopped = nil
  return true
end

function kinds.stop(self, line)
  if type(line.reason) ~= "string" then return false end
  self.stopped = line
  return self.is_complete
end

function kinds.alive(self) return self.is_complete end

-- Reads all lines after the first. Returns the number of a bad one, or nil and perhaps a message.
local function read_lines(self, offset)
  local number = 1
  while true do
    local text, next_offset = self.lines:at(offset)
    if not text then return nil, next_offset end
    number = number + 1
    local line = decode(text)
    local take = line and kinds[line.type]
    if not take or not take(self, line, offset) then return number end
    if self.is_complete and line.type ~= "count" then
      if not is_whole(line.time) then return number end
      self.latest = line.time
      local run = self.runs[#self.runs]
      if run and line.type ~= "looked" then run.latest = line.time end
    end
    offset = next_offset
    self.size = offset
  end
end

--- Reads a journal.
-- @tparam crux.os.file file
-- @tparam string path for messages
-- @treturn[1] table the fields of a `crux.cli.journal`: `header`; `orders`: how many; `last`: by
--   order its state and the offset of the last line about it; `runs`: a list of `{ timeout, offset,
--   latest }`; `latest`: the last time in it; `stopped`: the line that ended the last run; `size`:
--   up to the last newline
-- @treturn[2] nil
-- @treturn[2] string message
-- @treturn[2] string why, as for `crux.cli.journal.open`
function reader.read(file, path)
  local self = {
    lines = Offsets.new(file), other_lines = Offsets.new(file), marks = {}, last = {}, runs = {},
    orders = 0, is_complete = false, latest = 0, stopped = nil,
  }
  local text, offset = self.lines:at(0)
  if not text then
    if offset then return nil, offset, "io" end
    local start, message = file:read(0, #BEGINNING)
    if not start then return nil, message, "io" end
    if start ~= BEGINNING:sub(1, #start) then
      message, start = refuse_header(nil, path)
      return nil, message, start
    end
  else
    self.header = decode(text)
    local is_journal = text:sub(1, #BEGINNING) == BEGINNING and self.header
    if not is_journal or not is_header(self.header) then
      local message, why = refuse_header(text, path)
      return nil, message, why
    end
    self.size, self.latest = offset, self.header.time
    local bad, message = read_lines(self, offset)
    if message then return nil, message, "io" end
    if bad then
      return nil, ("%s:%d: the line cannot be there, or is damaged"):format(path, bad), "bad"
    end
  end
  if self.is_complete then return self end
  local message = path .. ": the journal ends before its orders do: nothing was sent, delete it"
  return nil, message, "incomplete"
end

--- The arguments of an order.
-- @tparam table self a journal
-- @tparam number index
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string message
function reader.arguments(self, index)
  local offset = self.marks[math.floor((index - 1) / STRIDE) + 1]
  local text = nil
  -- the next one is most often what is asked for
  local skips = (index - 1) % STRIDE
  if self.next_index == index then offset, skips = self.next_offset, 0 end
  for _ = 0, skips do
    text, offset = self.lines:at(offset)
    if not text then return nil, offset or "the journal has become shorter" end
  end
  self.next_index, self.next_offset = index + 1, offset
  local line = decode(text)
  if not line or line.index ~= index then return nil, "the journal was changed" end
  return line.arguments
end

--- The last line about an order, decoded.
-- @tparam table self a journal
-- @tparam number index
-- @treturn[1] ?table nil if there is none
-- @treturn[2] nil
-- @treturn[2] string message
function reader.last_line(self, index)
  local last = self.last[index]
  if last == 0 then return nil end
  local offset = math.floor(last / states.LIMIT)
  local text, message = self.other_lines:at(offset)
  if not text then return nil, message or "the journal has become shorter" end
  local line = decode(text)
  if not line or line.index ~= index then return nil, "the journal was changed" end
  return line
end

return reader
