-- Cancels the orders of a CSV file: lua5.4 examples/bulk.lua FILE.csv [COLUMN: order_uuid]
-- Prints the orders that were not accepted, also after Ctrl-C, and counts; stderr has the progress.
-- CRUX_USERNAME, CRUX_PASSWORD, CRUX_BASE_URL and CRUX_CA_FILE are described in README.md.
-- Exit status: 0 all accepted, 1 some were not, 2 some are unknown, 3 wrong arguments.
local crux = require "crux"

local file, column, place, seen = io.open(arg[1] or ""), arg[2] or "order_uuid", nil, {}
local function cells() -- of the next line; Excel begins a file with a byte order mark
  local line, list = file and file:read(), {}
  local text = (line or ""):gsub("^\239\187\191", "") .. ","
  for cell in text:gmatch('%s*"?([^,;"]-)"?%s*[,;]') do list[#list + 1] = cell end
  return line and list
end
for i, name in ipairs(cells() or {}) do if name == column then place = i end end
if not place then
  io.stderr:write("usage: ", arg[0], " FILE.csv [COLUMN]; expected a column ", column, "\n")
  os.exit(3)
end
local client = crux.assert(crux.new())

local function next_order() -- one that is on several lines is cancelled once
  for list in cells do
    local uuid = list[place] or ""
    if uuid ~= "" and not seen[uuid] then seen[uuid] = true return { order_uuid = uuid } end
  end
end
local function show(item, err) print(item.order_uuid, err or "not started") end
local report = {} -- is filled as the batch goes, so that it outlives an error and Ctrl-C
pcall(client.cancel_orders, client, next_order, {
  report = report, on_result = function(_, item, _, err) if err then show(item, err) end end,
  on_progress = function(done, _, c) io.stderr:write(done, ", accepted ", c.accepted, "\r") end })
if report.stopped then print("stopped", report.stopped, report.stopped_by) end
for item in next_order do show(item) report.counts.not_started = report.counts.not_started + 1 end
for _, outcome in ipairs{ "accepted", "rejected", "unknown", "not_sent", "not_started" } do
  for _, row in ipairs(report[outcome] or {}) do show(row.item, row.err) end -- was in flight
  print(outcome, report.counts[outcome])
end
local n = report.counts
os.exit(n.unknown > 0 and 2 or n.rejected + n.not_sent + n.not_started > 0 and 1 or 0)
