-- A local server that behaves like the service, to try crux against: `make sandbox`, or `lua5.4 examples/sandbox.lua`.
-- It needs Lua 5.4, lua-cqueues, lua-luaossl and lua-cjson. With --help it prints this:
local USAGE = [[
usage: make sandbox ARGS="OPTION..."  or  lua5.4 examples/sandbox.lua OPTION...

  --port N        the port to listen on; by default any free one
  --host ADDRESS  the address to listen on (127.0.0.1)
  --plain         http:// instead of https://
  --orders N      how many pending orders there are at first (5)
  --token-lifetime S
                  seconds after which a token expires (7200)
  --revoke        a login ends the user's earlier tokens
  --confirm WHEN  suppliers confirm cancellations: auto, at once; manual, by calls; or after so many
                  seconds (auto)
  --limit WHAT    "limit" of a list is the position of its last order, or the size of a page
                  (position)
  --rate-limit N  more requests in a second are answered with 429 and Retry-After (no limit)
  --state FILE    keep orders, tokens, port and authority in FILE and FILE.ca.pem, and go on with them
                  after a restart
  --random SEED   requests fail at random; the same seed gives the same failures
  --rate R        how often, from 0 to 1 (0.2)
  --journal FILE  append to FILE what happens to each order
  --machine       for programs: print key=value lines and an empty line. For each line "record" on stdin, print the
                  length of the record of all requests, a newline, and the record as JSON; for a line
                  "outage DIRECTIVES" do what GET /~outage/DIRECTIVES/ does, and print its answer so
  --brief         with --machine: leave out the list of orders, which may be longer than a pipe holds
  --until-eof     end when stdin ends
  --help          print this
]]

local root = arg[0]:match("^(.*/)examples/[^/]*$") or arg[0]:match("^examples/") and "./" or "../"
package.path = root .. "lua/?.lua;" .. package.path

local cqueues = require "cqueues"
local signal = require "cqueues.signal"
local sandbox = require "crux.sandbox"
local json = require "crux.sandbox.json"

local function confirm(text)
  local seconds = tonumber(text)
  if text == "auto" or text == "manual" then return text end
  return seconds and seconds >= 0 and seconds or nil
end

local function limit(text) return (text == "position" or text == "size") and text or nil end

local VALUES = {
  port = tonumber, orders = tonumber, ["token-lifetime"] = tonumber, random = tonumber, rate = tonumber,
  host = tostring, journal = tostring, state = tostring, confirm = confirm, limit = limit, ["rate-limit"] = tonumber,
}
local FLAGS = { brief = true, plain = true, machine = true, revoke = true, ["until-eof"] = true }

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
    elseif name == "help" then
      io.write(USAGE)
      os.exit(0)
    else
      fail(("unknown argument %q: --help lists the options"):format(arg[i]))
    end
    i = i + 1
  end
end

-- Signals are blocked before the server makes files: from then on, it always ends by removing them.
signal.block(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
signal.ignore(signal.SIGPIPE)

local ok, server = pcall(sandbox.new, {
  host = given.host, port = given.port, tls = not given.plain, orders = given.orders,
  token_lifetime = given["token-lifetime"], revoke = given.revoke, confirm = given.confirm, limit = given.limit,
  rate_limit = given["rate-limit"],
  random = (given.random or given.rate) and { seed = given.random, rate = given.rate } or nil,
  journal = given.journal, state = given.state,
})
if not ok then fail(tostring(server)) end

local function print_machine()
  local tokens = server.tokens
  local lines = {
    { "base_url", server.base_url }, { "port", server.port }, { "ca_file", server.ca_file },
    { "token_retailer", tokens.retailer }, { "token_supplier", tokens.supplier }, { "token_clerk", tokens.clerk },
    { "token_other_supplier", tokens.other_supplier }, { "token_expired", tokens.expired },
    { "shipped_order", server.shipped_order },
    { "orders", not given.brief and table.concat(server.orders, ",") },
  }
  for _, line in ipairs(lines) do
    if line[2] then io.write(line[1], "=", line[2], "\n") end
  end
  io.write("\n"):flush()
end

-- A word for the shell.
local function quoted(text)
  return text:find("^[%w_./:%%-]+$") and text or "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What crux is loaded from: the build that `make` puts on the path, else one in the tree, else an installed crux.
local function paths()
  local library = (";" .. package.cpath):match(";(/[^;]*/%?%.so)") or root .. "build/lua5.4/?.so"
  local file = io.open((library:gsub("%?", "crux/core")))
  if not file then return nil end
  file:close()
  return ("  export LUA_PATH=%s LUA_CPATH=%s"):format(quoted(root .. "lua/?.lua;;"), quoted(library .. ";;"))
end

local function print_human()
  local tokens = server.tokens
  local ca_file = server.ca_file and " CRUX_CA_FILE=" .. quoted(server.ca_file) or ""
  print("a local server that behaves like the CRUXconnect service; nothing is sent to the real one")
  print("")
  print("base URL        " .. server.base_url)
  if server.ca_file then print("CA file         " .. server.ca_file) end
  print("tokens          " .. tokens.retailer .. "  of a retailer, who may cancel")
  print("                " .. tokens.supplier .. "  of a supplier: 409")
  print("                " .. tokens.clerk .. "  of a user without the permission: 403")
  print("                " .. tokens.expired .. "  expired: 401")
  print("log in as       retailer, supplier, other_supplier or clerk; the password is the same word")
  for i = 1, math.min(#server.orders, 5) do
    print((i == 1 and "orders          " or "                ") .. server.orders[i])
  end
  if #server.orders > 5 then
    print(("                and %d more: GET %s/~orders/"):format(#server.orders - 5, server.base_url))
  end
  print("                " .. server.shipped_order .. "  shipped: 422")
  print("requests seen   GET " .. server.base_url .. "/~record/")
  print("failures        put /~status=503,retry_after=2 or the like behind the base URL;")
  print("                lua/crux/sandbox/faults.lua lists what there is")
  print("outages         GET " .. server.base_url .. "/~outage/status=503,seconds=20/ or refuse=yes,seconds=20")
  print("")
  print("In another terminal:")
  print("")
  print(("  export CRUX_BASE_URL=%s%s"):format(server.base_url, ca_file))
  print("  export CRUX_TOKEN=" .. tokens.retailer)
  local exports = paths()
  if exports then print(exports) end
  print(("  %s %s %s"):format(os.getenv("TEST_LUA") or "lua5.4", quoted(root .. "examples/cancel.lua"),
    server.orders[1] or server.shipped_order))
  print("")
  print("Ctrl-C ends the server.")
  io.stdout:flush()
end

if given.machine then print_machine() else print_human() end

server:wrap(function()
  local listener = signal.listen(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  listener:wait()
  server:stop()
end)

local function obey(line)
  local outage = line:match("^outage ?(.*)$")
  local shown
  if outage then shown = select(2, server:set_outage(outage))
  elseif line == "record" then shown = server.record:show()
  else return end
  local text = json.encode(shown)
  io.write(#text, "\n", text):flush()
end

-- Whether the loop can wait for the descriptor. A file or /dev/null cannot be polled, but reading it does not block.
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
