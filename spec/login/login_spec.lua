-- Logins by username and password: when a client logs in, with what, and what becomes of calls when
-- a login fails.
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local logins = require "spec.support.logins"

local ORDER = { order_uuid = helper.ORDER }
local USER, PASSWORD = logins.USER, logins.PASSWORD

after_each(logins.close)
teardown(fault.stop)

local function cancel(client, more)
  local arguments = { order_uuid = helper.ORDER }
  for name, value in pairs(more or {}) do arguments[name] = value end
  return helper.call(client.cancel_order, client, arguments)
end

local function accepted(client, more)
  local result, err = cancel(client, more)
  assert.is_nil(err and tostring(err))
  return result
end

describe("a client with username and password", function()
  it("logs in before its first call, and not again", function()
    local service = logins.serve()
    local client = logins.client(service)
    for _ = 1, 3 do assert.equal(1, accepted(client).meta.attempts) end
    local asked = service:logins()
    assert.equal(1, #asked)
    assert.equal("/organizations/user-login/", asked[1][2])
    assert.equal('{"username":"ada","password":"' .. PASSWORD .. '"}', asked[1][3])
    assert.same({ "tok-1", "tok-1", "tok-1" }, service:tokens())
  end)

  it("sends no login before there is a call that needs a token", function()
    local service = logins.serve()
    local client = logins.client(service)
    assert.is_truthy(client:dry_run("cancel_order", ORDER))
    client:close()
    assert.same({}, service:logins())
  end)

  it("logs in at the path of its generation", function()
    local service = logins.serve()
    accepted(logins.client(service, { api = "timp" }))
    assert.equal("/timp/organizations/user-login/", service:logins()[1][2])
  end)

  it("logs in once after a 401, which costs no retry", function()
    local service = logins.serve()
    local client = logins.client(service, { retries = 1 })
    accepted(client)
    service:set{ valid_from = 2 }
    local result = accepted(client)
    assert.same({ 2, 2 }, { result.meta.attempts, result.meta.sends })
    assert.equal(2, #service:logins())
    assert.same({ "tok-1", "tok-1", "tok-2" }, service:tokens())
  end)

  it("returns the 401 if the token of a new login is refused too", function()
    local service = logins.serve{ valid_from = 100 }
    local client = logins.client(service)
    local _, err = cancel(client)
    assert.same({ "auth", "rejected", 401, 2 }, { err.kind, err.outcome, err.status, err.meta.attempts })
    assert.equal(2, #service:logins())
  end)

  it("makes no attempt after a 401 with retries = 0, and logs in for the next call", function()
    local service = logins.serve()
    local client = logins.client(service, { retries = 0 })
    accepted(client)
    service:set{ valid_from = 2 }
    local _, err = cancel(client)
    assert.same({ "auth", 401, 1 }, { err.kind, err.status, err.meta.sends })
    assert.equal(1, #service:logins())
    accepted(client)
    assert.equal(2, #service:logins())
  end)

  it("uses its token string until that is refused", function()
    local service = logins.serve{ extra = "first-token" }
    local client = logins.client(service, { token = "first-token" })
    accepted(client)
    assert.same({}, service:logins())
    service:set{ extra = "" }
    accepted(client)
    accepted(client)
    assert.equal(1, #service:logins())
    assert.same({ "first-token", "first-token", "tok-1", "tok-1" }, service:tokens())
  end)

  it("uses the token string of a call for that call", function()
    local service = logins.serve{ extra = "of-the-call" }
    local client = logins.client(service)
    accepted(client, { token = "of-the-call" })
    assert.same({}, service:logins())
    accepted(client)
    assert.same({ "of-the-call", "tok-1" }, service:tokens())
  end)

  it("has a session for each username, base URL and generation", function()
    local service = logins.serve()
    local client = logins.client(service)
    accepted(client)
    accepted(client, { username = "bob", password = "pw" })
    accepted(client, { api = "timp" })
    accepted(client, { base_url = service.base_url .. "/prefix" })
    accepted(client, { username = "bob", password = "pw" })
    local asked = service:logins()
    assert.equal(4, #asked)
    assert.equal('{"username":"bob","password":"pw"}', asked[2][3])
    assert.equal("/prefix/organizations/user-login/", asked[4][2])
    assert.same({ "tok-1", "tok-2", "tok-3", "tok-4", "tok-2" }, service:tokens())
  end)

  it("returns the 401 if a new login gives the same token, and uses that for the next call", function()
    local service = logins.serve{ answers = {} }
    local client = logins.client(service)
    accepted(client)
    local same = helper.response(200, '{"auth_token":"tok-1"}')
    service:set{ valid_from = 2, answers = { "", same } }
    local _, err = cancel(client)
    assert.same({ "auth", 401, 1 }, { err.kind, err.status, err.meta.sends })
    assert.equal(2, #service:logins())
    service:set{ valid_from = 1 }
    assert.equal(1, accepted(client).meta.attempts)
    assert.equal(2, #service:logins())
  end)

  it("sends its further headers with the login", function()
    local service = logins.serve()
    accepted(logins.client(service, { headers = { ["X-Id"] = "7" } }))
    assert.equal("7", service:logins()[1][4])
  end)

  it("logs in for list_orders and get_order too", function()
    local service = logins.serve()
    local client = logins.client(service)
    assert.is_truthy(client:get_order(ORDER))
    assert.is_truthy(client:list_orders{})
    assert.same({ "tok-1", "tok-1" }, service:tokens())
  end)

  it("calls on_event with the end of the login", function()
    local service = logins.serve()
    local names, login = {}, nil
    local client = logins.client(service, { on_event = function(event)
      names[#names + 1] = event.name
      if event.name == "login" then login = event end
      helper.clean(event)
    end })
    accepted(client)
    assert.same({ "login", "request", "response" }, names)
    assert.same({ "login", "accepted", 200, 1, "POST" },
      { login.endpoint, login.outcome, login.status, login.attempt, login.method })
    assert.is_true(login.elapsed > 0)
  end)
end)

describe("an error in on_event during a login", function()
  it("is in meta.event_error of the call that waits", function()
    local service = logins.serve()
    local client = logins.client(service, { on_event = function(event)
      if event.name == "login" then error("of the login", 0) end
    end })
    assert.equal("of the login", accepted(client).meta.event_error)
    assert.is_nil(accepted(client).meta.event_error)
  end)
end)

describe("client:login", function()
  it("takes what is left out from the client's options", function()
    local service = logins.serve()
    local client = logins.client(service)
    local result = client:login{}
    assert.equal("tok-1", result.body.auth_token)
    client:login{ username = "bob" }
    local asked = service:logins()
    assert.equal('{"username":"ada","password":"' .. PASSWORD .. '"}', asked[1][3])
    assert.equal('{"username":"bob","password":"' .. PASSWORD .. '"}', asked[2][3])
    assert.is_truthy(client:dry_run("login", {}).body:find('"username":"ada"', 1, true))
    helper.clean(client:dry_run("login", {}))
  end)

  it("does not change the client's token", function()
    local service = logins.serve()
    local client = logins.client(service)
    accepted(client)
    client:login{}
    accepted(client)
    assert.same({ "tok-1", "tok-1" }, service:tokens())
  end)

  it("calls no token function", function()
    local service = logins.serve()
    local client = assert(crux.new{ base_url = service.base_url, token = function() error("called") end })
    assert.equal("accepted", client:login{ username = "u", password = "p" }.outcome)
    client:close()
  end)
end)

describe("a failed login", function()
  local function response(status, body, headers) return helper.response(status, body, headers) end

  it("makes the call not_sent, with the login's kind, status and message", function()
    local cases = {
      { response(400, '{"non_field_errors":["Unable to log in."]}'), "auth", 400, false },
      { response(401, '{"detail":"No."}'), "auth", 401, false },
      { response(403, '{"detail":"No."}'), "auth", 403, false },
      { response(409), "http", 409, false },
      { response(429, "", { "Retry-After: 7" }), "http", 429, true },
      { response(500), "http", 500, true },
      { response(200, "{}"), "protocol", 200, false },
      { response(200, '{"auth_token":"a b"}'), "protocol", 200, false },
      { "cut", "network", nil, true },
    }
    for _, case in ipairs(cases) do
      local service = logins.serve{ answers = { case[1], case[1], case[1] } }
      local client = logins.client(service, { retries = 0 })
      local _, err = cancel(client)
      assert.same({ "not_sent", case[2], case[3], case[4] }, { err.outcome, err.kind, err.status, err.retryable })
      assert.equal("login: ", err.message:sub(1, 7))
      assert.is_nil(err.message:find("login: login", 1, true))
      assert.same({ 0, 0 }, { err.meta.attempts, err.meta.sends })
      assert.equal(case[3] == 429 and 7 or nil, err.retry_after)
      assert.same({}, service:calls())
      logins.close()
    end
  end)

  it("is repeated after an unknown outcome, and not by the call once more", function()
    local service = logins.serve{ answers = { "cut", "cut" } }
    local client = logins.client(service, { retries = 2 })
    assert.equal(1, accepted(client).meta.attempts)
    assert.equal(3, #service:logins())
    service = logins.serve{ answers = { "cut", "cut", "cut", "cut", "cut" } }
    local _, err = cancel(logins.client(service, { retries = 2 }))
    assert.same({ "not_sent", "network" }, { err.outcome, err.kind })
    assert.equal(3, #service:logins())
  end)

  it("that was refused is not repeated with the same password", function()
    local service = logins.serve{ answers = { response(401), response(401), response(401) } }
    local client = logins.client(service)
    for _ = 1, 3 do
      local _, err = cancel(client)
      assert.same({ "auth", "not_sent", 401 }, { err.kind, err.outcome, err.status })
    end
    assert.equal(1, #service:logins())
    cancel(client, { password = "another" })
    assert.equal(2, #service:logins())
  end)

  it("after a 401 leaves the 401 as the call's error, with a hint", function()
    local service = logins.serve()
    local client = logins.client(service)
    accepted(client)
    service:set{ valid_from = 9, answers = { "", response(403, '{"detail":"Locked."}') } }
    local _, err = cancel(client)
    assert.same({ "rejected", "auth", 401, 1 }, { err.outcome, err.kind, err.status, err.meta.sends })
    assert.equal("login: HTTP 403 Permission Denied: Locked", err.hint)
  end)

  it("never shows the password, which the server repeats", function()
    local service = logins.serve{ answers = { response(400, '{"detail":"no user ada with ' .. PASSWORD .. '"}') } }
    local events = {}
    local _, err = cancel(logins.client(service, { on_event = function(event) events[#events + 1] = event end }))
    assert.is_truthy(err.message:find("[redacted]", 1, true))
    helper.clean(events)
  end)
end)

describe("credentials", function()
  it("need a username and a password", function()
    for _, case in ipairs{ { "username", "password" }, { "password", "username" } } do
      local _, err = helper.call(crux.new, { [case[1]] = "x" })
      assert.same({ "invalid", case[1] }, { err.kind, err.field })
      assert.equal(case[1] .. ": expected " .. case[2] .. " too, found none", err.message)
    end
  end)

  it("cannot be a token function and a username", function()
    local _, err = helper.call(crux.new, { username = "u", password = "p", token = print })
    assert.same({ "invalid", "token", "token: expected a string beside username, found a function" },
      { err.kind, err.field, err.message })
    local client = assert(crux.new{ token = print })
    _, err = cancel(client, { username = "u", password = "p" })
    assert.same({ "invalid", "token" }, { err.kind, err.field })
    client:close()
    client = assert(crux.new{ username = "u", password = "p" })
    _, err = cancel(client, { token = print })
    assert.same({ "invalid", "token" }, { err.kind, err.field })
    client:close()
  end)

  it("of a call need no others", function()
    local service = logins.serve()
    local client = assert(crux.new{ base_url = service.base_url })
    accepted(client, { username = USER, password = PASSWORD })
    accepted(client, { username = USER, password = PASSWORD })
    assert.equal(1, #service:logins())
    client:close()
  end)

  it("are unknown to crux.core, but for those of its login", function()
    local core = require "crux.core"
    local _, err = helper.call(core.cancel_order, { order_uuid = helper.ORDER, username = "u", password = "p" })
    assert.same({ "invalid", "password" }, { err.kind, err.field })
    local service = logins.serve()
    local result = core.login{ username = "u", password = "p", base_url = service.base_url }
    assert.equal("tok-1", result.body.auth_token)
  end)

  it("of the environment are used, and set aside by those of the options", function()
    local service = logins.serve{ extra = "env-token" }
    local function run(source, environment)
      environment.CRUX_BASE_URL = service.base_url
      return helper.child("local crux = require 'crux' local ORDER = '" .. helper.ORDER .. "' " .. source, environment)
    end
    local user = { CRUX_USERNAME = "eve", CRUX_PASSWORD = "pw" }
    local CALL = "local r, e = crux.cancel_order{ order_uuid = ORDER %s } print(r and r.outcome or tostring(e))"
    assert.equal("accepted", run(CALL:format(""), user))
    assert.equal('{"username":"eve","password":"pw"}', service:logins()[1][3])
    -- a token of the environment is used until it is refused
    user.CRUX_TOKEN = "env-token"
    assert.equal("accepted", run(CALL:format(""), user))
    assert.equal(1, #service:logins())
    -- an explicit token sets the user of the environment aside
    user.CRUX_TOKEN = nil
    assert.is_truthy(run(CALL:format(", token = 'wrong'"), user):find("HTTP 401", 1, true))
    assert.equal("accepted", run(CALL:format(", token = function() return 'env-token' end"), user))
    assert.equal("accepted", run("local c = crux.new{ token = function() return 'env-token' end } "
      .. "print(c:cancel_order{ order_uuid = ORDER }.outcome)", user))
    assert.equal(1, #service:logins())
    -- an explicit user sets the token of the environment aside
    local token = { CRUX_TOKEN = "env-token" }
    assert.equal("accepted", run(CALL:format(", username = 'u', password = 'p'"), token))
    assert.equal('{"username":"u","password":"p"}', service:logins()[2][3])
    -- half a user is none beside a token, and else a mistake
    assert.equal("accepted", run(CALL:format(""), { CRUX_TOKEN = "env-token", CRUX_USERNAME = "u" }))
    assert.equal("not_sent (invalid): username: expected password too, found none, in CRUX_USERNAME",
      run(CALL:format(""), { CRUX_USERNAME = "u" }))
    assert.equal(2, #service:logins())
  end)

  it("of a token_cache that is none are refused", function()
    for _, cache in ipairs{ {}, { get = print }, 5, "x" } do
      local _, err = helper.call(crux.new, { username = "u", password = "p", token_cache = cache })
      assert.same({ "invalid", "token_cache" }, { err.kind, err.field })
    end
  end)
end)
