-- flight.lua URL N IN_FLIGHT [CA_FILE [HELD_FILE]]: what loop.c does, through crux: `submit` and
-- `step`, waiting for `pollfd` in between.
local crux = require "crux"
local arguments = require "spec.bench.arguments"
local forks = require "spec.support.forks"

local url, count, in_flight = arg[1], tonumber(arg[2]), tonumber(arg[3])
local ca_file, held = arg[4], arg[5]

local client = assert(crux.new{
  token = "47d4yfbwymedhiudj384702984nakju4hajh395d", base_url = url, ca_file = ca_file,
  max_connections = in_flight, timeout = 600, connect_timeout = 60,
})
local started = 0
local calls = {} -- a call that nobody refers to is aborted

-- Spare keys of the hash part. With as many live keys as it has nodes, a power of two, Lua would
-- rehash the table at almost every insertion, and the bench would count that.
for i = 1, in_flight / 2 do calls[-i] = true end

local function submit()
  started = started + 1
  calls[assert(client:submit("cancel_order", arguments(started)))] = true
end

-- Returns a call that is done; nil, after a wait, if none is.
local function step(seconds)
  local pending = client:step()
  if not pending then
    forks.readable(client:pollfd(), seconds)
    return nil
  end
  local _, result, err = pending:poll()
  if not result then error(tostring(err)) end
  assert(result.status == 200)
  assert(calls[pending], "expected a call that was submitted")
  calls[pending] = nil
  return pending
end

-- Makes so many calls, `in_flight` at a time, and waits for all of them.
local function carry(n)
  local left = n
  for _ = 1, math.min(n, in_flight) do
    submit()
    left = left - 1
  end
  while n > 0 do
    if step(1) then
      n = n - 1
      if left > 0 then
        submit()
        left = left - 1
      end
    end
  end
end

-- KiB of memory that belong to this process alone.
local function memory()
  collectgarbage()
  collectgarbage()
  for line in io.lines("/proc/self/smaps_rollup") do
    local kib = line:match("^Anonymous:%s+(%d+) kB")
    if kib then return tonumber(kib) end
  end
  error("expected the memory in /proc/self/smaps_rollup, found none")
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

if held then
  local heap = require "heap"
  submit()
  repeat until step(1)
  collectgarbage()
  heap.trim()
  local before = memory()
  for _ = 1, in_flight do submit() end
  while not exists(held) do assert(not step(0.05), "expected no answer, found one") end
  local resident = memory()
  heap.trim()
  print(("%.2f %.2f"):format((memory() - before) / in_flight, (resident - before) / in_flight))
else
  carry(2 * in_flight)
  forks.measured(function()
    local began = os.clock()
    carry(count)
    print(("%.2f"):format((os.clock() - began) / count * 1e6))
  end)
end
client:close()
