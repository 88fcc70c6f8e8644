--- The report of a batch. Entering an item needs memory; if there is none, nothing is entered, and
-- the same item can be entered again.
-- @module crux.report
local ipairs, rawset, setmetatable = ipairs, rawset, setmetatable

local Report = {}
Report.__index = Report

local LISTS = { "rejected", "unknown", "not_sent", "not_started" }

--- Makes a report.
-- @tparam ?table values the table that holds it
-- @tparam boolean names_items whether each item that was not accepted is named: for an iterator,
--   which may yield any number of items, only those after `name_items`
function Report.new(values, names_items)
  local self = setmetatable({
    values = values or {}, lists = {}, names_items = false,
    counts = { accepted = 0, rejected = 0, not_sent = 0, unknown = 0, not_started = 0 },
  }, Report)
  for _, name in ipairs(LISTS) do
    self.lists[name] = {}
    rawset(self.values, name, nil)
  end
  rawset(self.values, "counts", self.counts)
  rawset(self.values, "stopped", nil)
  rawset(self.values, "stopped_by", nil)
  if names_items then self:name_items() end
  return self
end

--- Names each item from now on.
function Report:name_items()
  if self.names_items then return end
  for _, name in ipairs(LISTS) do rawset(self.values, name, self.lists[name]) end
  self.names_items = true
end

-- Adds an item to the list of its outcome.
local function add(self, entry, outcome)
  local list = self.lists[outcome]
  if list and not entry.is_named then
    list[#list + 1] = entry.row
    entry.is_named = true
  end
end

--- Enters what an item came to, once.
-- @tparam table entry `row`: `{ index, item, err }`
-- @tparam ?table result
-- @tparam ?table err neither: the item was not started
function Report:enter(entry, result, err)
  if entry.outcome then return end
  local outcome = result and "accepted" or err and err.outcome or "not_started"
  entry.row.err = err
  if self.names_items then add(self, entry, outcome) end
  self.counts[outcome] = self.counts[outcome] + 1
  entry.outcome = outcome
end

--- Names each item from now on, and this one, which may have been entered.
-- @tparam table entry
function Report:name(entry)
  self:name_items()
  if entry.outcome then add(self, entry, entry.outcome) end
end

--- Tells why the batch ended.
-- @tparam string reason
-- @param by the error, or a text
function Report:stop(reason, by)
  rawset(self.values, "stopped", reason)
  rawset(self.values, "stopped_by", by)
end

return Report
