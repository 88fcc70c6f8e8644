-- examples/demo.lua runs to its end, prints what a reader should see, and leaves no process behind.
local LUA = os.getenv("TEST_LUA") or "lua5.4"

local function run()
  local errors = os.tmpname()
  local command = "%s examples/demo.lua 2> %s </dev/null; echo ended $?"
  local output = assert(io.popen(command:format(LUA, errors)))
  local text = output:read("*a")
  output:close()
  local file = assert(io.open(errors))
  local stderr = file:read("*a")
  file:close()
  os.remove(errors)
  return text, tonumber(text:match("ended (%d+)\n$")), stderr
end

describe("examples/demo.lua", function()
  local text, status, stderr
  setup(function() text, status, stderr = run() end)

  it("exits with 0", function()
    assert.equal("", stderr)
    assert.equal(0, status)
    assert.is_truthy(text:find("\nall as promised\n", 1, true))
  end)

  it("prints calls, results and errors as a user sees them", function()
    local from = 1
    for _, line in ipairs{
      "client, err = crux.new{",
      "result, err = client:cancel_order{",
      "result.outcome                    accepted",
      "result.status                     204",
      "result.body.line_items[1].status  Cancelled",
      "did you mean 'order_uuid'?",
      "err.field                         order_uid",
      "rejected (auth): HTTP 401 Unauthorized: Invalid token.",
      "err.hint                          the token is wrong or has expired",
      "rejected (http): HTTP 422 Unprocessable Entity: This order is no longer pending.",
      "not_sent (connect): could not connect to 127.0.0.1:",
      "err.meta.sends                    0",
    } do
      local _, last = text:find(line, from, true)
      assert.is_truthy(last, "expected, further down, " .. line .. "\n" .. text)
      from = last
    end
  end)

  it("stops its sandbox", function()
    local ca_file = text:match('ca_file  = "([^"]*)"')
    assert.is_truthy(ca_file)
    assert.is_nil(io.open(ca_file))
  end)
end)
