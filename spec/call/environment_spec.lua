-- Environment variables that set options: CRUX_TOKEN, CRUX_BASE_URL and those for proxies.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"

local U = helper.ORDER
local PASSWORD = "proxy-pa55word"
helper.watch(PASSWORD)

local server, secure

setup(function()
  server = fault.serve{ script = helper.ANSWER, shared = { answer = helper.response(204) } }
  secure = fault.serve{ tls = "good", script = helper.ANSWER, shared = { answer = helper.response(204) } }
end)

teardown(function()
  server:close()
  secure:close()
  fault.stop()
end)

-- Each case runs in a child process with its own environment.
describe("the environment variable", function()
  local PRELUDE = [[
    local crux, core = require "crux", require "crux.core"
    local U = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29"
    local function say(result, err)
      if result then print(result.outcome or result.url or "client") else print(tostring(err) .. " ["
        .. tostring(err.field) .. "]") end
    end
    local function url(options) say(crux.new(options):dry_run("get_order", { order_uuid = U })) end
  ]]
  local function child(source, environment) return helper.child(PRELUDE .. source, environment) end
  local PATH = "/orders/" .. U .. "/"

  it("CRUX_BASE_URL sets base_url, which an option overrides", function()
    local environment = { CRUX_BASE_URL = "https://from.the.environment/x/" }
    assert.equal("https://from.the.environment/x" .. PATH, child("url()", environment))
    assert.equal("https://option" .. PATH, child("url{ base_url = 'https://option' }", environment))
    assert.equal("https://call" .. PATH,
      child("say(crux.new():dry_run('get_order', { order_uuid = U, base_url = 'https://call' }))", environment))
  end)

  it("counts as unset when empty", function()
    local environment = { CRUX_BASE_URL = "", CRUX_TOKEN = "", https_proxy = "", HTTPS_PROXY = "", no_proxy = "" }
    assert.equal(crux.SANDBOX .. PATH, child("url()", environment))
    environment.CRUX_BASE_URL = server.base_url
    assert.equal("not_sent (auth): expected a token, found none [nil]",
      child("say(crux.cancel_order{ order_uuid = U })", environment))
  end)

  it("CRUX_TOKEN sets the token, which an option overrides", function()
    local environment = { CRUX_BASE_URL = server.base_url, CRUX_TOKEN = "token-of-the-environment" }
    local source = [[
      say(crux.cancel_order{ order_uuid = U })
      say(crux.cancel_order{ order_uuid = U, token = "token-of-the-call" })
      local client = crux.new{ token = function() return "token-of-the-client" end }
      say(client:cancel_order{ order_uuid = U })
      client = crux.new()
      say(client:get_order{ order_uuid = U })]]
    helper.new_requests(server)
    assert.equal(("accepted\n"):rep(3) .. "accepted", child(source, environment))
    local tokens = {}
    for _, sent in ipairs(helper.new_requests(server)) do
      tokens[#tokens + 1] = sent:match("Token token%-of%-the%-(%S+)")
    end
    table.sort(tokens)
    assert.same({ "call", "client", "environment", "environment" }, tokens)
  end)

  it("is named in the message if it is invalid, without its value", function()
    helper.watch("bad token")
    assert.is_truthy(child("say(crux.new())",
      { CRUX_TOKEN = "bad token" }):find("^not_sent %(invalid%): token: .* in CRUX_TOKEN %[token%]$"))
    assert.is_truthy(child("say(crux.new())", { CRUX_TOKEN = "token-out-of-a-file\n" })
      :find("found a string of 20 bytes that ends in a newline, in CRUX_TOKEN", 1, true))
    assert.is_truthy(child("say(crux.new())", { CRUX_BASE_URL = "h.example" })
      :find("found 'h.example': write 'https://h.example', in CRUX_BASE_URL", 1, true))
    assert.is_truthy(child("say(crux.new())",
      { CRUX_BASE_URL = "http://example.com" }):find("base_url: .* in CRUX_BASE_URL %[base_url%]$"))
    assert.is_truthy(child("say(crux.new())",
      { https_proxy = "ftp://u:" .. PASSWORD .. "@h" }):find("proxy: .* in https_proxy.* %[proxy%]$"))
    -- an overridden variable is not checked
    local environment = { CRUX_TOKEN = "bad token", CRUX_BASE_URL = "bad" }
    local source = ("say(crux.cancel_order{ order_uuid = U, token = 't', base_url = %q })"):format(server.base_url)
    assert.equal("accepted", child(source, environment))
    assert.equal("client", child("say(crux.new{ token = 't', base_url = 'https://h' })", environment))
  end)

  it("is not read by crux.core", function()
    local environment = {
      CRUX_TOKEN = "token-of-the-environment", CRUX_BASE_URL = "bad",
        https_proxy = "http://127.0.0.1:" .. fault.refused_port(),
    }
    environment.HTTPS_PROXY, environment.ALL_PROXY, environment.all_proxy = environment.https_proxy,
      environment.https_proxy, environment.https_proxy
    assert.equal("not_sent (auth): expected a token, found none [nil]",
      child("say(core.cancel_order{ order_uuid = U })", environment))
    local call = ("{ order_uuid = U, token = 't', base_url = %q, ca_file = %q, %%s }"):format(secure.base_url,
      fault.ca_file)
    assert.equal("accepted", child("say(core.cancel_order" .. call:format("") .. ")", environment))
  end)

  it("https_proxy sets a proxy, which an option or no_proxy overrides", function()
    local refused = "http://u:" .. PASSWORD .. "@127.0.0.1:" .. fault.refused_port()
    local call = "{ order_uuid = U, token = 't', retries = 0, base_url = %q, ca_file = %q, %%s }"
    call = call:format(secure.base_url, fault.ca_file)
    local plain = ("{ order_uuid = U, token = 't', base_url = %q }"):format(server.base_url)
    for _, name in ipairs{ "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" } do
      assert.is_truthy(child("say(crux.cancel_order" .. call:format("") .. ")",
        { [name] = refused }):find("^not_sent %(proxy%)"), name)
    end
    local both = { https_proxy = refused, http_proxy = refused, ALL_PROXY = refused }
    assert.equal("accepted", child("say(crux.cancel_order" .. call:format("proxy = ''") .. ")", both))
    assert.equal("accepted", child("say(crux.cancel_order" .. plain .. ")", both))
    assert.equal("accepted", child("say(crux.cancel_order" .. call:format("") .. ")", { http_proxy = refused,
      HTTP_PROXY = refused }))
    for _, name in ipairs{ "no_proxy", "NO_PROXY" } do
      for _, hosts in ipairs{ "127.0.0.1", "*", "example.com,127.0.0.1" } do
        assert.equal("accepted", child("say(crux.cancel_order" .. call:format("") .. ")", { https_proxy = refused,
          [name] = hosts }))
      end
    end
    assert.is_truthy(child("say(crux.cancel_order" .. call:format("") .. ")", { https_proxy = refused,
      no_proxy = "example.com" })
      :find("^not_sent %(proxy%)"))
  end)

  it("can change between calls", function()
    -- Lua has no os.setenv, so os.getenv is replaced
    local source = ([[
      local getenv = os.getenv
      local said = {}
      os.getenv = function(name) return said[name] end
      said.CRUX_BASE_URL, said.CRUX_TOKEN = %q, "first-token"
      say(crux.cancel_order{ order_uuid = U })
      said.CRUX_TOKEN = "second-token"
      say(crux.cancel_order{ order_uuid = U })
      said.CRUX_TOKEN = nil
      say(crux.cancel_order{ order_uuid = U })
      os.getenv = getenv]]):format(server.base_url)
    helper.new_requests(server)
    assert.equal("accepted\naccepted\nnot_sent (auth): expected a token, found none [nil]", child(source))
    local tokens = {}
    for _, sent in ipairs(helper.new_requests(server)) do tokens[#tokens + 1] = sent:match("Token (%S+)") end
    assert.same({ "first-token", "second-token" }, tokens)
  end)
end)
