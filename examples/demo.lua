-- Cancels an order in a local sandbox that it starts, and shows four calls that fail: `make demo`.
-- Each call is run from the text that is printed. The values are compared with the documented ones:
-- exit status 1 means that something differs.
-- luacheck: read globals setfenv loadstring

local crux = require "crux"

local ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"

-- --- the sandbox ---

local here = arg[0]:match("^(.*/)[^/]*$") or "./"

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- The sandbox ends when its stdin does, so also if this process is killed. Its output comes through
-- a fifo, since io.popen has one direction only. The shell opens the fifo: if the sandbox cannot
-- start, that is an end of file.
local function start_sandbox()
  local made = assert(io.popen('dir=$(mktemp -d "${TMPDIR:-/tmp}/crux-demo.XXXXXX") '
    .. '&& mkfifo "$dir/output" && echo "$dir"'))
  local directory = made:read("*l")
  made:close()
  assert(directory, "expected a temporary directory, found none")
  local fifo = directory .. "/output"
  local sandbox = { settings = {} }
  local command = "env -u LUA_INIT -u LUA_PATH -u LUA_CPATH lua5.4 %s --machine --until-eof > %s"
  sandbox.stdin = assert(io.popen(command:format(quoted(here .. "sandbox.lua"), quoted(fifo)), "w"))
  local stdout = assert(io.open(fifo))
  os.remove(fifo)
  os.remove(directory)
  for line in stdout:lines() do
    if line == "" then break end
    local key, value = line:match("^([%w_]+)=(.*)$")
    if key then sandbox.settings[key] = value end
  end
  function sandbox.stop()
    sandbox.stdin:close()
    stdout:close()
    sandbox.stop = function() end
  end
  return sandbox
end

-- --- the calls ---

local world = { crux = crux, print = print, tostring = tostring, ipairs = ipairs }
local wrong = 0

local function evaluate(source)
  if setfenv then return setfenv(assert(loadstring(source)), world)() end
  return assert(load(source, "=demo", "t", world))()
end

local function expect(name, wanted, found)
  if wanted ~= found then
    wrong = wrong + 1
    io.stderr:write(("demo: %s: expected %s, found %s\n"):format(name, tostring(wanted),
      tostring(found)))
  end
end

-- Runs the code, prints each expression with its value, and compares the values that are
-- documented.
local function show(title, code, succeeds, rows)
  print("\n-- " .. title)
  print(code)
  evaluate(code)
  if succeeds == (world.err ~= nil) then
    error(("%s: expected %s, found %s"):format(title, succeeds and "a success" or "an error",
      tostring(world.err)), 0)
  end
  for _, row in ipairs(rows) do
    local value = evaluate("return " .. row[1])
    print(("     %-34s%s"):format(row[1], tostring(value)))
    if row[2] ~= nil then expect(title .. ": " .. row[1], row[2], value) end
  end
end

local function succeeds(title, code, rows) show(title, code, true, rows) end

local function fails(title, code, outcome, kind, more)
  local rows = { { "tostring(err)" }, { "err.outcome", outcome }, { "err.kind", kind } }
  for _, row in ipairs(more) do rows[#rows + 1] = row end
  show(title, code, false, rows)
end

local function run(sandbox)
  local settings = sandbox.settings
  assert(settings.base_url and settings.ca_file and settings.token_retailer,
    "expected the sandbox to start, found that it did not")
  print("A local sandbox runs at " .. settings.base_url .. ", with an order from two suppliers.")

  succeeds("a client", ([[
client, err = crux.new{
  base_url = %q, proxy = "",
  ca_file  = %q,
  token    = %q,
}]]):format(settings.base_url, settings.ca_file, settings.token_retailer), { { "client" } })

  succeeds("cancel the order", ([[
result, err = client:cancel_order{
  order_uuid = %q,
  skus = {
    { supplier_uuid = "757ce28d-fbd6-4b9f-8051-f847482e169f", sku_id = "000106", quantity = 2 },
    { supplier_uuid = "c3b1b2f6-5d0e-4a4b-9a52-6a3f2f0f5b7e" },
  },
}]]):format(ORDER), { { "result.outcome", "accepted" }, { "result.status", 204 } })

  succeeds("read it back", ('result, err = client:get_order{ order_uuid = "%s" }'):format(ORDER), {
    { "result.status", 200 },
    { "result.body.line_items[1].status", "Cancelled" },
    { "result.body.line_items[2].status", "Cancelled" },
  })

  print("\nFour calls that fail:")

  fails("a misspelt field", ('result, err = client:cancel_order{ order_uid = "%s" }'):format(ORDER),
    "not_sent", "invalid", { { "err.field", "order_uid" } })

  local wrong_token = 'result, err = client:cancel_order{ order_uuid = "%s", token = "of-another" }'
  fails("a wrong token", wrong_token:format(ORDER),
    "rejected", "auth", { { "err.status", 401 }, { "err.detail" }, { "err.hint" } })

  local again = ('result, err = client:cancel_order{ order_uuid = "%s" }'):format(ORDER)
  fails("an order that is not pending any more", again,
    "rejected", "http", { { "err.status", 422 }, { "err.detail" }, { "err.hint" } })

  sandbox.stop()
  fails("nothing listens, since the sandbox has stopped", again,
    "not_sent", "connect", { { "err.meta.attempts", 3 }, { "err.meta.sends", 0 }, { "err.hint" } })
end

-- --- a run ---

local sandbox = start_sandbox()
local ok, why = pcall(run, sandbox)
sandbox.stop()
if not ok then
  io.stderr:write("demo: ", tostring(why), "\n")
  os.exit(1)
end
if wrong > 0 then os.exit(1) end
print("\nall as promised")
