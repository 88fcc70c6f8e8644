-- journal.lua [orders]: what the journal of a bulk run costs: the time for each order at
-- concurrency 32, beside the same batch without a journal, in one process and in turns. Reported,
-- without a limit: a sync takes as long as the disk needs.
local Journal = require "crux.cli.journal"
local bulk = require "crux.cli.bulk"
local core = require "crux.core"
local crux = require "crux"
local bench_server = require "spec.bench.server"

local ORDERS, ROUNDS, CONCURRENCY = tonumber(arg[1] or 5000), 3, 32

-- The journal is made in the tree's file system, since a temporary one may be in memory.
local PATH = (os.getenv "BENCH_DIRECTORY" or "build") .. "/bench.journal"

local function orders()
  local index = 0
  return function()
    index = index + 1
    if index > ORDERS then return nil end
    return { order_uuid = ("54a31ec5-b0be-4a92-af4c-%012d"):format(index) }
  end
end

local function seconds(f)
  collectgarbage()
  local before, cpu = core.now(), os.clock()
  f()
  return core.now() - before, os.clock() - cpu
end

local server = bench_server.start()
local client = assert(crux.new{ base_url = server.plain, token = "bench-token", proxy = "" })

local function without()
  local report = assert(client:cancel_orders(orders(), { concurrency = CONCURRENCY }))
  assert(report.counts.accepted == ORDERS, report.stopped)
end

local function with()
  os.remove(PATH)
  local journal = assert(Journal.create(PATH, { base_url = server.plain, api = "v1" }, orders()))
  local result = assert(bulk.run(journal, client, { concurrency = CONCURRENCY }))
  assert(not result.stopped and not result.failure, result.failure)
  journal:close()
end

local function sync()
  local system = require "crux.os"
  local file = assert(system.open(PATH, "append"))
  for _ = 1, 20 do
    assert(file:write("\n"))
    assert(file:sync())
  end
  file:close()
end

local ran, why = pcall(function()
  without()
  local best, best_cpu = {}, {}
  for _ = 1, ROUNDS do
    for name, f in pairs{ without = without, with = with } do
      local took, cpu = seconds(f)
      best[name] = math.min(best[name] or math.huge, took)
      best_cpu[name] = math.min(best_cpu[name] or math.huge, cpu)
    end
  end
  local one_sync = seconds(sync) / 20
  local function row(name, wall, cpu)
    print((" %-24s %8.3f ms of time, %8.3f ms of processor for each order"):format(name,
      1000 * wall / ORDERS, 1000 * cpu / ORDERS))
  end
  print(("journal: %d orders, %d at once; a sync takes %.2f ms"):format(ORDERS, CONCURRENCY,
    1000 * one_sync))
  row("batch", best.without, best_cpu.without)
  row("batch with a journal", best.with, best_cpu.with)
  row("the difference", best.with - best.without, best_cpu.with - best_cpu.without)
end)
os.remove(PATH)
client:close()
server.close()
assert(ran, why)
