-- Cancels the orders listed in a file, one UUID per line:
-- lua5.4 examples/many.lua FILE [CONCURRENCY]
-- CRUX_TOKEN, CRUX_BASE_URL and CRUX_CA_FILE set the token, the service and the authority to trust.
-- Ctrl-C stops it; it still prints what is known by then.
-- Exit status: 0 all accepted, 1 some were not, 2 some are unknown, 3 wrong arguments or options.
local crux = require "crux"

local path, concurrency = arg[1], tonumber(arg[2] or 8)
local file = path and io.open(path)
if not file or not concurrency then
  io.stderr:write("usage: ", arg[0], " FILE [CONCURRENCY]; FILE has one order UUID per line\n")
  os.exit(3)
end

local orders = {}
for line in file:lines() do
  local uuid = line:match("%S+")
  if uuid then orders[#orders + 1] = { order_uuid = uuid } end
end
file:close()

local client, err = crux.new()
if not client then
  io.stderr:write(tostring(err), "\n")
  os.exit(3)
end

-- The progress line overwrites itself, so it is printed to a terminal only.
local tty = os.execute("test -t 2")
tty = tty == true or tty == 0

local counts = { accepted = 0, rejected = 0, not_sent = 0, unknown = 0 }
local done, failures = 0, {}

local function on_result(_, item, result, why)
  local outcome = (result or why).outcome
  done = done + 1
  counts[outcome] = counts[outcome] + 1
  if why then failures[#failures + 1] = { item.order_uuid, why } end
  if tty then
    io.stderr:write(("\r%d of %d, %d accepted\27[K"):format(done, #orders, counts.accepted))
  end
end

local ok, report = pcall(client.cancel_orders, client, orders,
  { concurrency = concurrency, on_result = on_result })
if tty then io.stderr:write("\r\27[K") end

for _, entry in ipairs(failures) do print(entry[1], tostring(entry[2])) end
for _, outcome in ipairs{ "accepted", "rejected", "not_sent", "unknown" } do
  print(("%-12s%d"):format(outcome, counts[outcome]))
end
local open = #orders - done
if not ok then
  -- Calls in flight at that moment were aborted: the service may have carried them out.
  io.stderr:write(tostring(report), "\n")
  local text = "%-12s%d, of which up to %d were in flight: read these orders before you retry"
  print(text:format("unfinished", open, math.min(open, concurrency)))
elseif open > 0 then print(("%-12s%d"):format("not started", open)) end

client:close()
if counts.unknown > 0 or not ok then os.exit(2) end
os.exit(counts.accepted == #orders and 0 or 1)
