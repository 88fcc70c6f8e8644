-- examples/cancel.lua with each of its exit statuses, and every block of code in the README.
local fault = require "spec.support.fault"

local LUA = os.getenv("TEST_LUA") or "lua5.4"
local ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"
local SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f"

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

-- ------------------------------------------------------------------------------------------------- a sandbox for each

local sandbox

-- It ends when its stdin, our pipe, is closed. Its output comes through a fifo, since popen has one
-- direction.
local function start_sandbox(options)
  local made = assert(io.popen('dir=$(mktemp -d "${TMPDIR:-/tmp}/crux-spec.XXXXXX") && mkfifo "$dir/said" && echo "$dir"'))
  local directory = made:read("*l")
  made:close()
  local fifo = directory .. "/said"
  local stdin = assert(io.popen(("env -u LUA_INIT -u LUA_PATH -u LUA_CPATH -u LD_PRELOAD lua5.4 examples/sandbox.lua "
    .. "--machine --until-eof %s > %s"):format(options or "", quoted(fifo)), "w"))
  local stdout = assert(io.open(fifo))
  os.remove(fifo)
  os.remove(directory)
  sandbox = {}
  for line in stdout:lines() do
    if line == "" then break end
    local key, value = line:match("^([%w_]+)=(.*)$")
    sandbox[key] = value
  end
  function sandbox.stop()
    stdin:close()
    stdout:close()
    sandbox = nil
  end
  assert(sandbox.base_url, "expected the sandbox to start")
end

after_each(function()
  if sandbox then sandbox.stop() end
end)
teardown(fault.stop)

-- Runs a script in a child process with this server only: its exit status, output and errors.
local function run(environment, script)
  local errors = os.tmpname()
  local settings = {}
  for name, value in pairs(environment) do settings[#settings + 1] = name .. "=" .. quoted(value) end
  local output = assert(io.popen(("env -u CRUX_TOKEN -u CRUX_BASE_URL -u CRUX_CA_FILE -u https_proxy -u HTTPS_PROXY "
    .. "-u all_proxy -u ALL_PROXY %s %s %s 2> %s </dev/null; echo ended $?"):format(
    table.concat(settings, " "), LUA, script, errors)))
  local text = output:read("*a")
  output:close()
  local complaints = read(errors)
  os.remove(errors)
  local said, status = text:match("^(.*)ended (%d+)\n$")
  return tonumber(status), said, complaints
end

-- ---------------------------------------------------------------------------------------------------------- cancel.lua

describe("examples/cancel.lua", function()
  local function cancel(arguments, changes)
    local environment = { CRUX_BASE_URL = sandbox.base_url, CRUX_TOKEN = sandbox.token_retailer, CRUX_CA_FILE = sandbox.ca_file }
    for name, value in pairs(changes or {}) do environment[name] = value end
    local status, said, complaints = run(environment, "examples/cancel.lua " .. arguments)
    for _, token in pairs{ sandbox.token_retailer, sandbox.token_expired, changes and changes.CRUX_TOKEN } do
      if token ~= "" then assert.is_nil((said .. complaints):find(token, 1, true)) end
    end
    return status, said, complaints
  end

  local function has(text, expected)
    assert.is_truthy(text:find(expected, 1, true), "expected " .. expected .. ", found " .. text)
  end

  it("exits with 0 if it was accepted", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER)
    assert.equal(0, status, complaints)
    assert.equal("", complaints)
    has(said, "accepted (HTTP 204)")
  end)

  it("cancels the SKUs of the named suppliers", function()
    start_sandbox()
    assert.equal(0, (cancel(ORDER .. " " .. SUPPLIER)))
    local status, _, complaints = cancel(ORDER .. " " .. SUPPLIER)
    assert.equal(1, status)
    has(complaints, "no longer pending")
    assert.equal(0, (cancel(ORDER)), "expected the other supplier's items to be pending still")
  end)

  it("exits with 1 if it was rejected", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER, { CRUX_TOKEN = "of-another" })
    assert.equal(1, status)
    assert.equal("", said)
    has(complaints, "rejected (auth): HTTP 401")
    has(complaints, "hint: the token is wrong or has expired")
    status, said, complaints = cancel("11111111-2222-3333-4444-555555555555")
    assert.equal("", said)
    assert.equal(1, status)
    has(complaints, "rejected (http): HTTP 422")
    status = cancel(sandbox.shipped_order)
    assert.equal(1, status)
  end)

  it("exits with 1 and prints its usage if the arguments are wrong", function()
    start_sandbox()
    for _, arguments in ipairs{ "", "--help", "54a31ec5", ORDER .. " 757ce28d" } do
      local status, said, complaints = cancel(arguments)
      assert.equal(1, status)
      assert.equal("", said)
      has(complaints, "usage: examples/cancel.lua ORDER_UUID [SUPPLIER_UUID...]")
    end
    local status, _, complaints = cancel(ORDER, { CRUX_BASE_URL = "ftp://127.0.0.1" })
    assert.equal(1, status)
    has(complaints, "CRUX_BASE_URL")
  end)

  it("exits with 2 if nothing was sent", function()
    start_sandbox()
    local nobody = fault.refused()
    local status, _, complaints = cancel(ORDER, { CRUX_BASE_URL = nobody.base_url })
    assert.equal(2, status)
    has(complaints, "not_sent (connect)")
    nobody:close()
    status, _, complaints = cancel(ORDER, { CRUX_TOKEN = "" })
    assert.equal(2, status)
    has(complaints, "not_sent (auth)")
    -- another sandbox's authority, say
    status, _, complaints = cancel(ORDER, { CRUX_CA_FILE = fault.ca_file })
    assert.equal(2, status)
    has(complaints, "not_sent (tls)")
  end)

  it("exits with 3 if it is unknown, and prints what get_order says", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER, { CRUX_BASE_URL = sandbox.base_url .. "/~drop=after,times=1/" })
    assert.equal(3, status)
    has(complaints, "unknown (network)")
    has(said, "000106           Cancelled")
    has(said, "2 of 2 line items are cancelled")
  end)

  it("finds by get_order that the request did not arrive", function()
    start_sandbox()
    local status, said = cancel(ORDER, { CRUX_BASE_URL = sandbox.base_url .. "/~drop=before,times=1/" })
    assert.equal(3, status)
    has(said, "0 of 2 line items are cancelled")
  end)

  it("reports that get_order failed", function()
    start_sandbox()
    local status, said, complaints = cancel(ORDER, { CRUX_BASE_URL = sandbox.base_url .. "/~status=500/" })
    assert.equal(3, status)
    assert.equal("", said)
    has(complaints, "unknown (http): HTTP 500")
    has(complaints, "could not look at the order: unknown (http): HTTP 500")
  end)
end)

-- ---------------------------------------------------------------------------------------------------------- the README

-- Its blocks: `line`, `source`, `expected` (the text after `-->`), and from a comment above the
-- block: `against`, a fault directive for the sandbox, or `by`, the spec that runs the block
-- instead.
local function blocks()
  local found, said, number, block = {}, {}, 0, nil
  for line in io.lines("README.md") do
    number = number + 1
    if line == "```lua" then
      block = { line = number, source = {}, expected = {}, against = said.against or "", by = said.by }
    elseif line == "```" and block then
      found[#found + 1], block, said = block, nil, {}
    elseif block then
      block.source[#block.source + 1] = line
      block.expected[#block.expected + 1] = line:match("%-%-> (.*)$")
    else
      local name, value = line:match("^<!%-%- (%a+): (%S+) %-%->$")
      if name then said[name] = value end
    end
  end
  return found
end

describe("README.md", function()
  for _, block in ipairs(blocks()) do
    local name = "runs the code in line %d as printed, with the printed output"
    it(name:format(block.line), function()
      if block.by then return assert(read(block.by)) end
      start_sandbox("--plain")
      local path = os.tmpname()
      local file = assert(io.open(path, "w"))
      file:write('local crux = require "crux"\nlocal client = crux.new()\n', table.concat(block.source, "\n"), "\n")
      file:close()
      local status, said, complaints = run({
        CRUX_BASE_URL = sandbox.base_url .. block.against, CRUX_TOKEN = sandbox.token_retailer,
      }, path)
      os.remove(path)
      assert.equal("", complaints)
      assert.equal(0, status)
      local lines = {}
      for line in said:gmatch("[^\n]+") do lines[#lines + 1] = line:gsub("%s+", " "):gsub(" $", "") end
      assert.same(block.expected, lines)
    end)
  end

  it("has no Lua code outside of blocks that are run", function()
    local _, count = read("README.md"):gsub("```%s*[Ll]ua", "")
    assert.equal(count, #blocks())
    assert.is_true(count > 3)
  end)
end)
