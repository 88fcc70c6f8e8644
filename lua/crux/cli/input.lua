--- The orders of a bulk run: the whole input is read and checked before the first is sent. The rows
-- wait in a temporary file, not in memory.
-- @module crux.cli.input
local exit = require "crux.cli.exit"
local json = require "crux.cli.json"
local lines_of = require "crux.cli.input_lines"
local rows = require "crux.cli.rows"
local uuids = require "crux.cli.uuids"

local input = {}

-- How many orders are shown before a run.
local FIRST = 3

local function fail(why)
  exit.fail(exit.USAGE, "the temporary file of orders: " .. tostring(why) .. "; nothing was sent")
end

-- The JSON has no newline, and a UUID no tab.
local function keep(self, line, arguments)
  local skus = arguments.skus
  local ok, why = self.rows:write(("%d\t%s\t%s\n"):format(line, arguments.order_uuid,
    skus and json.encode(skus) or ""))
  if not ok then fail(why) end
  uuids.add(self.uuids, uuids.key(arguments.order_uuid))
end

-- Iterates over the kept rows: line, UUID, and SKUs as JSON or "".
local function kept(self)
  local ok, why = self.rows:seek("set", 0)
  if not ok then fail(why) end
  local lines = lines_of(self.rows)
  return function()
    local text, failure = lines()
    if text then return text:match("^(%d+)\t([^\t]*)\t(.*)$") end
    if failure then fail(failure) end
    return nil
  end
end

local function decoded(text)
  if text == "" then return nil end
  local _, skus = json.decode(text)
  return skus
end

-- --- orders that come more than once ---

-- Adds the SKUs of one more row to those of an order. What is wrong with that, or nil.
local function add_skus(order, line, text, options)
  if (text == "") ~= (order.skus == nil) then
    return "the order is there both with and without SKUs"
  end
  if text == "" then
    options.remark(line, "the order is there already: it is sent once")
    return nil
  end
  for _, sku in ipairs(decoded(text)) do
    local same = json.encode(sku):lower()
    if order.seen[same] then
      options.remark(line, "the row is there already: it is sent once")
    else
      order.seen[same] = true
      order.skus[#order.skus + 1] = sku
    end
  end
  return nil
end

-- Makes one order of the rows that name it: for each key in `self.merged`, its line and arguments.
local function merge(self, options)
  local merged = self.merged
  for number, uuid, text in kept(self) do
    local key, line = uuids.key(uuid), tonumber(number)
    local order, problem = merged[key], nil
    if order == true then
      order = { line = line, uuid = uuid, skus = text ~= "" and {} or nil, seen = {} }
      merged[key] = order
      if text ~= "" then add_skus(order, line, text, options) end
    elseif order then
      problem = add_skus(order, line, text, options)
    end
    if problem then self.problem(line, problem) end
  end
  for _, order in pairs(merged) do
    order.seen = nil
    local problem = self.check{ order_uuid = order.uuid, skus = order.skus }
    if problem then self.problem(order.line, problem) end
  end
end

--- Iterates over the orders, in the order in which they came.
-- @treturn function at each call: the arguments of `cancel_order`, or nil
function input.each(self)
  local next_row, sent = kept(self), {}
  local has_merged = next(self.merged) ~= nil
  return function()
    while true do
      local _, uuid, text = next_row()
      if not uuid then return nil end
      local order = has_merged and self.merged[uuids.key(uuid)]
      if not order then return { order_uuid = uuid, skus = decoded(text) } end
      if not sent[order] then
        sent[order] = true
        return { order_uuid = order.uuid, skus = order.skus }
      end
    end
  end
end

--- Lets go of everything.
function input.close(self) self.rows:close() end

-- --- reading ---

-- What is wrong with the arguments of an order, or nil.
local function checker(client, words)
  return function(arguments)
    local dry, err = client:dry_run("cancel_order", arguments)
    if dry then return nil end
    return words(err.message)
  end
end

local function read_rows(self, next_row, words, options)
  while true do
    local arguments, line, why = next_row()
    if options.check then options.check() end -- a read fails when a signal comes
    if arguments == false then
      if why then self.problem(0, why) end
      return
    end
    if not why then why = self.check(arguments) end
    if why then
      self.problem(line, words(why))
    else
      keep(self, line, arguments)
      if #self.first < FIRST then self.first[#self.first + 1] = arguments.order_uuid end
    end
  end
end

local function new(options)
  local file, why = io.tmpfile()
  if not file then fail(why) end
  local self = {
    rows = file, uuids = uuids.new(), merged = {}, first = {}, problems = 0,
    count = 0,
  }
  function self.problem(line, message)
    self.problems = self.problems + 1
    options.problem(line, message)
  end
  return self
end

local function finish(self, options)
  self.merged, self.count = uuids.repeated(self.uuids)
  self.uuids = nil
  if next(self.merged) then merge(self, options) end
  if self.count == 0 and self.problems == 0 then self.problem(1, "expected orders, found none") end
  return self
end

--- Reads and checks an input.
-- @param file with `read`
-- @tparam table options `client`: checks arguments; `ignore`: leave unknown columns out;
--   `problem(line, message)`: called for every bad row; `remark(line, message)`: called for every
--   row that is left out; `check()`: called after every row
-- @treturn table `count` orders, the `first` UUIDs, and how many `problems`; for `input.each` and
--   `input.close`
function input.read(file, options)
  local self = new(options)
  local next_row, words, why = rows.read(lines_of(file), options.ignore)
  if next_row then
    self.check = checker(options.client, words)
    read_rows(self, next_row, words, options)
  else
    self.problem(words, why)
  end
  return finish(self, options)
end

--- The same, of orders that are at hand.
-- @tparam table list of arguments of `cancel_order`
-- @tparam table options as for `read`
function input.of(list, options)
  local self, position = new(options), 0
  self.check = checker(options.client, tostring)
  read_rows(self, function()
    position = position + 1
    return list[position] or false, position
  end, tostring, options)
  return finish(self, options)
end

return input
