-- Options that name files: a file that cannot be read gives `invalid` with its name, and reading
-- never blocks on a pipe. CRUX_CA_FILE is one of them.
local calls = require "spec.support.calls"
local core = require "crux.core"
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local server

setup(function() server = calls.serve() end)

teardown(function()
  server:close()
  fault.stop()
end)

-- Other options that each option needs.
local FILES = {
  ca_file = function(path) return { ca_file = path } end,
  cert_file = function(path) return { cert_file = path, key_file = fault.clients.one.key_file } end,
  key_file = function(path) return { cert_file = fault.clients.one.cert_file, key_file = path } end,
}

local OPTIONS = { ca_path = function(path) return { ca_path = path } end }
for name, make in pairs(FILES) do OPTIONS[name] = make end

-- Options as Lua source.
local function listed(options)
  local parts = {}
  for name, value in pairs(options) do parts[#parts + 1] = ("%s = %q"):format(name, value) end
  return table.concat(parts, ", ")
end

-- Makes a client, a call of a client and a call of crux.core with these options.
local function invalid(name, options)
  local client = assert(crux.new{ token = helper.TOKEN, base_url = server.base_url })
  local ways = {
    function() return crux.new(options) end,
    function() return client:cancel_order(calls.order(options)) end,
    function() return client:submit("cancel_order", calls.order(options)) end,
    function() return client:dry_run("cancel_order", calls.order(options)) end,
    function() return core.cancel_order(helper.arguments(server, options)) end,
  }
  for i, way in ipairs(ways) do
    local made, err = way()
    helper.check(made, err)
    assert.same({ "not_sent", "invalid", name, false, 0 },
      { err.outcome, err.kind, err.field, err.retryable, err.meta.attempts }, name .. ", way " .. i)
    assert.is_truthy(err.message:find(options[name], 1, true), err.message)
  end
  client:close()
end

for name, make in pairs(OPTIONS) do
  it(name .. " that does not exist is invalid", function()
    invalid(name, make "/does/not/exist.pem")
    invalid(name, make "does-not-exist")
    invalid(name, make(fault.ca_file .. "/below-a-file"))
  end)
end

for name, make in pairs(FILES) do
  it(name .. " that is a directory is invalid", function()
    invalid(name, make(fault.ca_path))
    invalid(name, make("/"))
  end)

  -- Reading a named pipe without a writer would block for ever.
  it(name .. " that is a pipe is refused without reading it", function()
    calls.with_directory(function(dir)
      local pipe = dir .. "/pipe"
      assert.is_truthy(os.execute("mkfifo " .. pipe))
      for i in ipairs(calls.WAYS) do
        local options = make(pipe)
        options.ca_file = options.ca_file or fault.ca_file
        local source = ([[
          local calls = require "spec.support.calls"
          local options = { %s, timeout = 5, connect_timeout = 5 }
          local ok, answer = pcall(calls.once, calls.WAYS[%d], { base_url = %q }, options)
          print(ok and answer.outcome or "refused by new")
        ]]):format(listed(options), i, server.base_url)
        local said = helper.child(source, nil, "timeout -s KILL 20")
        assert.is_true(said == "refused by new" or said == "not_sent", said)
      end
    end)
  end)
end

it("ca_path that is a file is invalid", function()
  invalid("ca_path", { ca_path = fault.ca_file })
end)

describe("without read permission", function()
  -- root can read everything, unless it drops that capability
  local DROP = "setpriv --bounding-set=-dac_override,-dac_read_search " ..
    "--inh-caps=-dac_override,-dac_read_search "

  local function run(options)
    local before = ""
    local pipe = assert(io.popen("id -u"))
    if pipe:read("*l") == "0" then before = DROP end
    pipe:close()
    return helper.child(([[
      local made, err = require "crux".new{ %s }
      print(made and "a client" or err.kind .. " " .. err.field)
    ]]):format(listed(options)), nil, before)
  end

  for name, make in pairs(OPTIONS) do
    it(name .. " is invalid", function()
      calls.with_directory(function(dir)
        local path = dir .. "/closed"
        if name == "ca_path" then
          assert.is_truthy(os.execute("mkdir " .. path))
        else
          calls.copy(name == "key_file" and fault.clients.one.key_file or fault.ca_file, path)
        end
        assert.is_truthy(os.execute("chmod 0 " .. path))
        local said = run(make(path))
        assert.is_truthy(os.execute("chmod 700 " .. path))
        if said:find("setpriv", 1, true) then pending(said) end
        assert.equal("invalid " .. name, said)
      end)
    end)
  end
end)

describe("a file that was removed before the connection is made:", function()
  for _, way in ipairs(calls.WAYS) do
    for name in pairs(FILES) do
      it(("%s, %s, is kind tls"):format(name, way.name), function()
        calls.with_directory(function(dir)
          local one = fault.clients.one
          local options = {
            ca_file = fault.ca_file, cert_file = one.cert_file, key_file = one.key_file,
          }
          calls.copy(options[name], dir .. "/gone")
          options[name] = dir .. "/gone"
          local client = calls.client(server, options)
          os.remove(dir .. "/gone")
          for _ = 1, 2 do
            local answer = way.call(client)
            assert.same({ "not_sent", "tls", false, 1 }, calls.facts(answer))
          end
          client:close()
        end)
      end)
    end
  end
end)

describe("CRUX_CA_FILE", function()
  local CHILD = [[
    local calls, core, crux = require "spec.support.calls", require "crux.core", require "crux"
    local helper = require "spec.helper"
    local server = { base_url = %q }
    local function say(result, err) print(result and result.outcome or tostring(err)) end
    local function once(options)
      for _, way in ipairs(calls.WAYS) do say(calls.once(way, server, options)) end
    end
    ]]

  local function run(source, environment)
    return helper.child(CHILD:format(server.base_url) .. source, environment)
  end

  local function answers(first, second) return first .. "\n" .. (second or first) end

  it("sets ca_file", function()
    assert.equal(answers "accepted", run("once()", { CRUX_CA_FILE = fault.ca_file }))
    local source = [[
      local more = { token = "t", base_url = server.base_url, timeout = 60, connect_timeout = 60 }
      say(crux.cancel_order(calls.order(more)))
    ]]
    assert.equal("accepted", run(source, { CRUX_CA_FILE = fault.ca_file }))
  end)

  it("is overridden by the option ca_file", function()
    local source = ("once{ ca_file = %q }"):format(fault.ca_file)
    assert.equal(answers "accepted", run(source, { CRUX_CA_FILE = fault.other_ca_file }))
    assert.equal(answers "accepted", run(source, { CRUX_CA_FILE = "/does/not/exist.pem" }))
    source = ("once{ ca_file = %q }"):format(fault.other_ca_file)
    for line in run(source, { CRUX_CA_FILE = fault.ca_file }):gmatch("[^\n]+") do
      assert.is_truthy(line:find("^not_sent %(tls%)") or line == "not_sent", line)
    end
  end)

  it("counts as unset when empty", function()
    local source = [[print(crux.new{ token = "t" } and "a client")]]
    assert.equal("a client", run(source, { CRUX_CA_FILE = "" }))
  end)

  it("that cannot be read is invalid, and named in the message", function()
    for _, path in ipairs{ "/does/not/exist.pem", "/" } do
      local said = run([[
        local _, err = crux.new{ token = "t" }
        print(err.kind, err.field)
        print(err.message)
      ]], { CRUX_CA_FILE = path })
      assert.is_truthy(said:find("^invalid\tca_file\n"), said)
      assert.is_truthy(said:find("CRUX_CA_FILE", 1, true), said)
    end
  end)

  it("is not read by crux.core", function()
    local said = run([[
      local arguments = helper.arguments(server, { timeout = 60, connect_timeout = 60 })
      local result, err = core.cancel_order(arguments)
      print(result and result.outcome or err.kind)
    ]], { CRUX_CA_FILE = fault.ca_file })
    assert.equal("tls", said)
  end)
end)
