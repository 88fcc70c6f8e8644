-- A local CRUXconnect to try things against: `make sandbox`, or `lua5.4 examples/sandbox.lua`.
--
--   --port N        listen there (any port that is free, if left out)
--   --host ADDRESS  and there (127.0.0.1)
--   --plain         http instead of https
--   --orders N      so many pending orders to start with (5)
--   --lifetime S    tokens expire after so many seconds (7200)
--   --random SEED   every request may fail at random
--   --rate R        that often (0.2)
--   --journal FILE  append what happens to each order
--   --machine       print `key=value` lines and an empty one; then, for a line `record` on stdin, print the length of
--                   the record and the record, as JSON
--   --until-eof     end when stdin ends

local root = arg[0]:match("^(.*/)examples/[^/]*$") or arg[0]:match("^examples/") and "./" or "../"
package.path = root .. "lua/?.lua;" .. package.path

local cqueues = require "cqueues"
local signal = require "cqueues.signal"
local sandbox = require "crux.sandbox"
local json = require "crux.sandbox.json"

local VALUES = {
  port = tonumber, orders = tonumber, lifetime = tonumber, random = tonumber, rate = tonumber, host = tostring,
  journal = tostring,
}
local FLAGS = { plain = true, machine = true, ["until-eof"] = true }

local function fail(message)
  io.stderr:write("sandbox: ", message, "\n")
  os.exit(2)
end

local given = {}
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-([%l-]+)$")
    if name and FLAGS[name] then
      given[name] = true
    elseif name and VALUES[name] then
      i = i + 1
      given[name] = arg[i] and VALUES[name](arg[i])
      if given[name] == nil then fail(("expected a value for --%s, found %s"):format(name, arg[i] or "none")) end
    else
      fail(("unknown argument %q"):format(arg[i]))
    end
    i = i + 1
  end
end

-- before anything is made that would have to be tidied up
signal.block(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
signal.ignore(signal.SIGPIPE)

local ok, server = pcall(sandbox.new, {
  host = given.host, port = given.port, tls = not given.plain, orders = given.orders, token_lifetime = given.lifetime,
  random = (given.random or given.rate) and { seed = given.random, rate = given.rate } or nil,
  journal = given.journal,
})
if not ok then fail(tostring(server)) end

local function print_machine()
  local tokens = server.tokens
  local lines = {
    { "base_url", server.base_url }, { "port", server.port }, { "ca_file", server.ca_file },
    { "token_retailer", tokens.retailer }, { "token_supplier", tokens.supplier }, { "token_clerk", tokens.clerk },
    { "token_expired", tokens.expired }, { "shipped_order", server.shipped_order },
    { "orders", table.concat(server.orders, ",") },
  }
  for _, line in ipairs(lines) do
    if line[2] then io.write(line[1], "=", line[2], "\n") end
  end
  io.write("\n"):flush()
end

local function print_human()
  local tokens = server.tokens
  print("a local CRUXconnect; nothing here reaches the real one")
  print("")
  print("base URL        " .. server.base_url)
  if server.ca_file then print("CA file         " .. server.ca_file) end
  print("tokens          " .. tokens.retailer .. "  the retailer")
  print("                " .. tokens.supplier .. "  a supplier: 409")
  print("                " .. tokens.clerk .. "  may not cancel: 403")
  print("                " .. tokens.expired .. "  expired: 401")
  print("log in as       retailer, supplier or clerk; the password is the name")
  for i = 1, math.min(#server.orders, 5) do
    print((i == 1 and "orders          " or "                ") .. server.orders[i])
  end
  if #server.orders > 5 then
    print(("                and %d more: GET %s/~orders/"):format(#server.orders - 5, server.base_url))
  end
  print("                " .. server.shipped_order .. "  shipped: 422")
  print("what it saw     GET " .. server.base_url .. "/~record/")
  print("faults          " .. server.base_url .. "/~status=503,retry_after=2 as the base URL;")
  print("                the whole list stands in lua/crux/sandbox/faults.lua")
  print("")
  print("try:")
  print("")
  print(([[  LUA_PATH='%slua/?.lua;;' LUA_CPATH='%sbuild/lua5.4/?.so;;' lua5.4 -e '
    local result, err = require("crux").cancel_order{
      base_url = "%s",%s
      token = "%s",
      order_uuid = "%s",
    }
    print(result and result.outcome or err.outcome, result and result.status or err)']]):format(root, root,
    server.base_url, server.ca_file and (' ca_file = "%s",'):format(server.ca_file) or "", tokens.retailer,
    server.orders[1] or server.shipped_order))
  print("")
  print("Ctrl-C ends it")
  io.stdout:flush()
end

if given.machine then print_machine() else print_human() end

server:wrap(function()
  local listener = signal.listen(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  listener:wait()
  server:stop()
end)

local function obey(line)
  if line == "record" then
    local text = json.encode(server.record:show())
    io.write(#text, "\n", text):flush()
  end
end

-- A file or /dev/null cannot be watched, and need not be: reading it does not wait.
local function watchable(fd)
  local probe = cqueues.new()
  probe:wrap(function() cqueues.poll({ pollfd = fd, events = "r" }, 0) end)
  return (probe:loop())
end

if given["until-eof"] or given.machine then
  server:wrap(function()
    local watched = watchable(0)
    while true do
      if watched then cqueues.poll{ pollfd = 0, events = "r" } end
      local line = io.read("l")
      if not line then break end
      obey(line)
    end
    if given["until-eof"] then server:stop() end
  end)
end

local ran, why = pcall(server.run, server)
server:close()
if not ran then fail(tostring(why)) end
