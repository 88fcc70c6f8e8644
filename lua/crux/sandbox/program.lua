--- The sandbox as a program: what `crux sandbox`, `make sandbox` and the specs run. It prints and
-- exits.
-- @module crux.sandbox.program
local cqueues = require "cqueues"
local signal = require "cqueues.signal"
local json = require "crux.sandbox.json"
local sandbox = require "crux.sandbox"

-- Printed by --help, below a first line.
local USAGE = [[

  --port N        the port to listen on; by default any free one
  --host ADDRESS  the address to listen on (127.0.0.1)
  --plain         http:// instead of https://
  --orders N      how many pending orders there are at first (5)
  --token-lifetime S
                  seconds after which a token expires (7200)
  --revoke        a login ends the user's earlier tokens
  --confirm WHEN  suppliers confirm cancellations: auto, at once; manual, by calls; or after so
                  many seconds (auto)
  --limit WHAT    "limit" of a list is the position of its last order, or the size of a page
                  (position)
  --rate-limit N  more requests in a second are answered with 429 and Retry-After (no limit)
  --state FILE    keep orders, tokens, port and authority in FILE and FILE.ca.pem, and go on with
                  them after a restart
  --random SEED   requests fail at random; the same seed gives the same failures
  --rate R        how often, from 0 to 1 (0.2)
  --journal FILE  append to FILE what happens to each order
  --machine       for programs: print key=value lines and an empty line. For each line "record" on
                  stdin, print the length of the record of all requests, a newline, and the record
                  as JSON; for a line "outage DIRECTIVES" do what GET /~outage/DIRECTIVES/ does,
                  and print its answer so
  --brief         with --machine: leave out the list of orders, which may be longer than a pipe
                  holds
  --until-eof     end when stdin ends
  --help          print this
]]

local function confirm(text)
  local seconds = tonumber(text)
  if text == "auto" or text == "manual" then return text end
  return seconds and seconds >= 0 and seconds or nil
end

local function limit(text) return (text == "position" or text == "size") and text or nil end

local VALUES = {
  port = tonumber, orders = tonumber, ["token-lifetime"] = tonumber, random = tonumber,
  rate = tonumber, host = tostring, journal = tostring, state = tostring, confirm = confirm,
  limit = limit, ["rate-limit"] = tonumber,
}
local FLAGS = { brief = true, plain = true, machine = true, revoke = true, ["until-eof"] = true }

local function fail(message)
  io.stderr:write("sandbox: ", message, "\n")
  os.exit(2)
end

local function parse(arguments, usage)
  local given, i = {}, 1
  while arguments[i] do
    local name = arguments[i]:match("^%-%-([%l-]+)$")
    if name and FLAGS[name] then
      given[name] = true
    elseif name and VALUES[name] then
      i = i + 1
      given[name] = arguments[i] and VALUES[name](arguments[i])
      if given[name] == nil then
        fail(("expected a value for --%s, found %s"):format(name, arguments[i] or "none"))
      end
    elseif name == "help" then
      io.write("usage: ", usage, "\n", USAGE)
      os.exit(0)
    else
      fail(("unknown argument %q: --help lists the options"):format(arguments[i]))
    end
    i = i + 1
  end
  return given
end

local function make(given)
  local ok, server = pcall(sandbox.new, {
    host = given.host, port = given.port, tls = not given.plain, orders = given.orders,
    token_lifetime = given["token-lifetime"], revoke = given.revoke, confirm = given.confirm,
    limit = given.limit, rate_limit = given["rate-limit"],
    random = (given.random or given.rate) and { seed = given.random, rate = given.rate } or nil,
    journal = given.journal, state = given.state,
  })
  if not ok then fail(tostring(server)) end
  return server
end

local function print_machine(server, is_brief)
  local tokens = server.tokens
  local lines = {
    { "base_url", server.base_url }, { "port", server.port }, { "ca_file", server.ca_file },
    { "token_retailer", tokens.retailer }, { "token_supplier", tokens.supplier },
    { "token_clerk", tokens.clerk }, { "token_other_supplier", tokens.other_supplier },
    { "token_expired", tokens.expired }, { "shipped_order", server.shipped_order },
    { "orders", not is_brief and table.concat(server.orders, ",") },
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

-- `hints`: the lines for another terminal that follow those of the environment.
local function print_human(server, hints)
  local tokens = server.tokens
  local ca_file = server.ca_file and " CRUX_CA_FILE=" .. quoted(server.ca_file) or ""
  print("a local server that behaves like the CRUXconnect service; "
    .. "nothing is sent to the real one")
  print("")
  print("base URL        " .. server.base_url)
  if server.ca_file then print("CA file         " .. server.ca_file) end
  print("tokens          " .. tokens.retailer .. "  of a retailer, who may cancel")
  print("                " .. tokens.supplier .. "  of a supplier: 409")
  print("                " .. tokens.clerk .. "  of a user without the permission: 403")
  print("                " .. tokens.expired .. "  expired: 401")
  print("log in as       retailer, supplier, other_supplier or clerk; "
    .. "the password is the same word")
  for i = 1, math.min(#server.orders, 5) do
    print((i == 1 and "orders          " or "                ") .. server.orders[i])
  end
  if #server.orders > 5 then
    print(("                and %d more: GET %s/~orders/"):format(#server.orders - 5,
      server.base_url))
  end
  print("                " .. server.shipped_order .. "  shipped: 422")
  print("requests seen   GET " .. server.base_url .. "/~record/")
  print("failures        put /~status=503,retry_after=2 or the like behind the base URL;")
  print("                lua/crux/sandbox/faults.lua lists what there is")
  print("outages         GET " .. server.base_url
    .. "/~outage/status=503,seconds=20/ or refuse=yes,seconds=20")
  print("")
  print("In another terminal:")
  print("")
  print(("  export CRUX_BASE_URL=%s%s"):format(server.base_url, ca_file))
  print("  export CRUX_TOKEN=" .. tokens.retailer)
  for _, line in ipairs(hints(server.orders[1] or server.shipped_order, quoted)) do
    print("  " .. line)
  end
  print("")
  print("Ctrl-C ends the server.")
  io.stdout:flush()
end

local function stop_on_signal(server)
  server:wrap(function()
    local listener = signal.listen(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    listener:wait()
    server:stop()
  end)
end

local function obey(server, line)
  local outage = line:match("^outage ?(.*)$")
  local shown
  if outage then shown = select(2, server:set_outage(outage))
  elseif line == "record" then shown = server.record:show()
  else return end
  local text = json.encode(shown)
  io.write(#text, "\n", text):flush()
end

-- Whether the loop can wait for the descriptor. A file or /dev/null cannot be polled, but reading
-- it does not block.
local function watchable(fd)
  local probe = cqueues.new()
  probe:wrap(function() cqueues.poll({ pollfd = fd, events = "r" }, 0) end)
  return (probe:loop())
end

local function read_commands(server, until_eof)
  server:wrap(function()
    local watched = watchable(0)
    while true do
      if watched then cqueues.poll{ pollfd = 0, events = "r" } end
      local line = io.read("l")
      if not line then break end
      obey(server, line)
    end
    if until_eof then server:stop() end
  end)
end

--- Runs the sandbox until a signal, or as the options say.
-- @tparam table arguments of the command line
-- @tparam table settings `usage`: how to call the program · `hints(order_uuid, quoted)`: a list of
--   lines to type in another terminal
return function(arguments, settings)
  local given = parse(arguments, settings.usage)
  -- Signals are blocked before the server makes files: from then on, it ends by removing them.
  signal.block(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  signal.ignore(signal.SIGPIPE)
  local server = make(given)
  if given.machine then print_machine(server, given.brief)
  else print_human(server, settings.hints) end
  stop_on_signal(server)
  if given["until-eof"] or given.machine then read_commands(server, given["until-eof"]) end
  local ran, why = pcall(server.run, server)
  server:close()
  if not ran then fail(tostring(why)) end
end
