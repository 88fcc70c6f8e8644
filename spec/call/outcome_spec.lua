-- The outcome and kind of an attempt: the documented rules, checked for every curl code, cause,
-- status and circumstance. Written from the documentation, not from csrc/http/outcome.c.
local helper = require "spec.helper"

local quoted = helper.quoted

-- Compiles csrc/http/outcome.c as it is now, for the Lua that runs this.
local function load_probe()
  local dir = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-probe.XXXXXX"')):read("*l")
  local object = dir .. "/probe.so"
  local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d%.%d")
  local command = ([[
    case $(uname -s) in Darwin) link='-bundle -undefined dynamic_lookup';; *) link=-shared;; esac
    "${CC:-cc}" -std=gnu11 -fPIC -O1 -Wall -Wextra $link -Icsrc %s $(pkg-config --cflags %s) -o %s \
      spec/support/probe.c csrc/http/outcome.c %s 2>&1]]):format(helper.curl_cflags, lua, quoted(object), helper.curl_libs)
  local pipe = assert(io.popen(command))
  local said = pipe:read("*a")
  pipe:close()
  local open, why = package.loadlib(object, "luaopen_probe")
  os.remove(object)
  os.remove(dir)
  assert(open, said .. tostring(why))
  assert.equal("", said)
  return open()
end

local probe = load_probe()

local STATUSES = {
  0, 100, 101, 103, 199, 200, 201, 202, 204, 206, 299, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 399, 400, 401,
  402, 403, 404,
  405, 407, 408, 409, 410, 415, 422, 425, 429, 431, 451, 499, 500, 501, 502, 503, 504, 599, 600, 700, 999,
}

-- One status of each class, and those that differ within their class.
local CLASSES = { 0, 103, 204, 303, 308, 401, 429, 503, 600 }

local function set(...)
  local made = {}
  for _, value in ipairs{ ... } do made[value] = true end
  return made
end

local NOT_CARRIED_OUT = set(301, 307, 308)
local KINDS = set("auth", "dns", "connect", "proxy", "tls", "timeout", "network", "protocol", "http", "aborted",
  "memory")
local BEFORE_CONNECTION = set("dns", "connect", "proxy")
local AGAIN = set("dns", "connect", "proxy", "timeout", "network")

-- curl's error codes by subject, from its manual (libcurl-errors).
local CERTIFICATE = set(35, 53, 54, 58, 59, 60, 64, 66, 77, 80, 82, 83, 90, 91, 98)
local NO_MEMORY = 27
-- The connection was closed at any point: no response, a part of it, or a socket error.
local BROKEN = set(18, 52, 55, 56)

local CAUSE_KIND = {
  aborted = "aborted", exiting = "aborted", forked = "aborted", unsolicited = "protocol", malformed = "protocol",
  head_cut = "protocol", head_limit = "protocol", alert = "tls", nomem = "memory", nofile = "memory",
  expired = "timeout",
}

-- Impossible combinations are checked too: no outcome may claim more than the evidence shows.
local RULES = {
  { "is accepted after a whole 2xx head, and only then", function(e, v)
    local answered = e.head and e.sent and e.cause ~= "unsolicited"
    return (v.outcome == "accepted") == (answered and e.status >= 200 and e.status <= 299)
  end },
  { "is rejected after a whole head with 4xx, 301, 307 or 308, and only then", function(e, v)
    local answered = e.head and e.sent and e.cause ~= "unsolicited"
    local word = e.status >= 400 and e.status <= 499 or NOT_CARRIED_OUT[e.status] or false
    return (v.outcome == "rejected") == (answered and word)
  end },
  { "is not_sent if no byte was handed to a connection, and only then", function(e, v)
    return (v.outcome == "not_sent") == not e.sent
  end },
  { "is unknown in every other case", function(_, v)
    return v.outcome == "accepted" or v.outcome == "rejected" or v.outcome == "not_sent" or v.outcome == "unknown"
  end },
  { "has a kind if it is an error, and none if it is accepted", function(_, v)
    if v.outcome == "accepted" then return v.kind == "none" end
    return KINDS[v.kind] or false
  end },
  { "has kind auth for 401, http for other heads, neither without a head", function(e, v)
    if v.outcome == "accepted" then return true end
    local answered = e.head and e.sent and e.cause ~= "unsolicited"
    if answered then return v.kind == (e.status == 401 and "auth" or "http") end
    return v.kind ~= "http" and v.kind ~= "auth"
  end },
  { "has the kind of crux's own reason to end the attempt, without a head", function(e, v)
    if e.cause == "none" or e.head and e.sent and e.cause ~= "unsolicited" then return true end
    return v.kind == CAUSE_KIND[e.cause]
  end },
  { "has kind timeout after a deadline", function(e, v)
    if e.cause ~= "none" or e.head and e.sent then return true end
    return (v.kind == "timeout") == (e.code == 28)
  end },
  { "has kind dns or proxy if a name does not resolve", function(e, v)
    if e.cause ~= "none" or e.head and e.sent then return true end
    if e.code == 6 then return v.kind == "dns" end
    if e.code == 5 or e.code == 97 then return v.kind == "proxy" end
    return v.kind ~= "dns"
  end },
  { "has kind connect, or proxy if there is one, if no connection is made", function(e, v)
    if e.cause ~= "none" or e.head and e.sent or e.code ~= 7 then return true end
    return v.kind == (e.proxied and "proxy" or "connect")
  end },
  { "has kind tls for certificate and handshake, through a proxy too", function(e, v)
    if e.cause ~= "none" or e.head and e.sent or not CERTIFICATE[e.code] then return true end
    return v.kind == "tls"
  end },
  { "has kind tls, proxy or network if the connection closes, by its stage", function(e, v)
    if e.cause ~= "none" or e.head and e.sent or not BROKEN[e.code] then return true end
    if e.sent or e.ready then return v.kind == "network" end
    if e.proxied then return v.kind == "proxy" end
    return v.kind == (e.tls and "tls" or "network")
  end },
  { "has kind protocol without a whole head or with malformed HTTP", function(e, v)
    if e.cause ~= "none" or e.head and e.sent then return true end
    if e.code == 0 or e.code == 1 or e.code == 8 then return v.kind == "protocol" end
    return true
  end },
  { "has kind memory if libcurl is out of memory", function(e, v)
    if e.cause ~= "none" or e.head and e.sent or e.code ~= NO_MEMORY then return true end
    return v.kind == "memory"
  end },
  { "has kind dns or connect only if nothing was sent", function(e, v)
    -- curl cannot fail to resolve or connect after it has sent
    if e.sent and (e.code == 5 or e.code == 6 or e.code == 7 or e.code == 97) then return true end
    return not (BEFORE_CONNECTION[v.kind] and e.sent)
  end },
  { "has kind proxy only with a proxy", function(e, v)
    return v.kind ~= "proxy" or e.proxied or e.code == 5 or e.code == 97
  end },
  { "is retryable as documented", function(e, v)
    local expected = false
    if v.outcome == "not_sent" then expected = AGAIN[v.kind] or false
    elseif v.outcome == "rejected" then expected = e.status == 429 and e.retry_after
    elseif v.outcome == "unknown" then expected = e.safe end
    return v.retryable == expected
  end },
}

local function describe_evidence(e)
  local words = {}
  for name, value in pairs(e) do words[#words + 1] = name .. "=" .. tostring(value) end
  table.sort(words)
  return table.concat(words, " ")
end

local function bit(flags, value) return math.floor(flags / value) % 2 == 1 end

-- The first counterexample of each rule, in one pass over all cases.
local counterexamples, cases = {}, 0

local function visit_all()
  local e, v = {}, {}
  local last = math.max(99, probe.last_code)
  for cause, number in pairs(probe.causes) do
    e.cause = cause
    for code = 0, last do
      e.code = code
      for _, status in ipairs(cause == "none" and STATUSES or CLASSES) do
        e.status = status
        for flags = 0, 31 do
          e.head, e.sent, e.tls, e.proxied, e.ready = bit(flags, 1), bit(flags, 2), bit(flags, 4), bit(flags, 8),
            bit(flags, 16)
          e.safe, e.retry_after = (code + flags + status) % 2 == 1, (code + math.floor(flags / 2)) % 2 == 1
          -- a head is whole only with a status
          if status ~= 0 or not e.head then
            v.outcome, v.kind, v.retryable = probe.judge(code, number, status, flags, e.retry_after, e.safe)
            cases = cases + 1
            for i = 1, #RULES do
              if not RULES[i][2](e, v) and not counterexamples[i] then
                counterexamples[i] = describe_evidence(e) .. ": " .. describe_evidence(v)
              end
            end
          end
        end
      end
    end
  end
end

describe("the outcome", function()
  setup(visit_all)

  for i, rule in ipairs(RULES) do
    it(rule[1], function() assert.is_nil(counterexamples[i]) end)
  end

  it("is judged for every status, cause and circumstance", function()
    local causes = 0
    for _ in pairs(probe.causes) do causes = causes + 1 end
    local statuses = #STATUSES + (causes - 1) * #CLASSES
    -- without a status there is no whole head
    assert.equal((math.max(99, probe.last_code) + 1) * (32 * statuses - causes * 16), cases)
  end)

  it("of a whole response head depends on its status alone", function()
    -- with a whole response head, only the status matters
    for _, status in ipairs(STATUSES) do
      if status ~= 0 then
        local outcome, kind = probe.judge(0, 0, status, 31, false, false)
        for cause, number in pairs(probe.causes) do
          for code = 0, 99 do
            for flags = 3, 31, 4 do
              local other, other_kind = probe.judge(code, number, status, flags, false, false)
              if cause ~= "unsolicited" and (other ~= outcome or other_kind ~= kind) then
                assert.same({ outcome, kind }, { other, other_kind }, cause .. " " .. code .. " " .. flags)
              end
            end
          end
        end
      end
    end
  end)
end)

-- Typical cases, one by one.
describe("the outcome of an attempt:", function()
  local HEAD, SENT, TLS, PROXIED, READY = 1, 2, 4, 8, 16
  for _, row in ipairs{
    { "a head truncated after its status line", { 0, "head_cut", 0, SENT + READY }, "unknown", "protocol" },
    { "a failed send that had reached the server", { 55, "none", 0, SENT + READY }, "unknown", "network" },
    { "a failed send of nothing", { 55, "none", 0, READY }, "not_sent", "network" },
    { "a response that was there before the request", { 0, "unsolicited", 0, READY }, "not_sent", "protocol" },
    { "a response sent before the request was read", { 0, "unsolicited", 0, SENT + READY }, "unknown",
      "protocol" },
    { "a head that is not HTTP", { 0, "malformed", 0, SENT + READY }, "unknown", "protocol" },
    { "a head that is too long", { 0, "head_limit", 0, SENT + READY }, "unknown", "protocol" },
    { "a deadline before the connection is established", { 28, "none", 0, TLS }, "not_sent", "timeout" },
    { "a deadline after the request was sent", { 28, "none", 0, SENT + TLS + READY }, "unknown", "timeout" },
    { "a deadline during the body", { 28, "none", 204, HEAD + SENT + TLS + READY }, "accepted", "none" },
    { "a deadline in the queue", { 0, "expired", 0, 0 }, "not_sent", "timeout" },
    { "a call aborted before it was sent", { 0, "aborted", 0, READY }, "not_sent", "aborted" },
    { "a call aborted after it was sent", { 0, "aborted", 0, SENT + READY }, "unknown", "aborted" },
    { "a call aborted while the body arrives", { 0, "aborted", 422, HEAD + SENT + READY }, "rejected", "http" },
    { "a body over its limit", { 0, "none", 200, HEAD + SENT + READY }, "accepted", "none" },
    { "a truncated body", { 18, "none", 422, HEAD + SENT + READY }, "rejected", "http" },
    { "a body truncated by a reset", { 56, "none", 500, HEAD + SENT + READY }, "unknown", "http" },
    { "a handshake that is closed", { 35, "none", 0, TLS }, "not_sent", "tls" },
    { "a handshake that is reset", { 56, "none", 0, TLS }, "not_sent", "tls" },
    { "a certificate for another name", { 60, "none", 0, TLS }, "not_sent", "tls" },
    { "a certificate for another name behind a proxy", { 60, "none", 0, TLS + PROXIED }, "not_sent", "tls" },
    { "a proxy that refuses CONNECT", { 56, "none", 0, TLS + PROXIED }, "not_sent", "proxy" },
    { "a proxy that refuses connections", { 7, "none", 0, TLS + PROXIED }, "not_sent", "proxy" },
    { "lack of memory", { 27, "none", 0, 0 }, "not_sent", "memory" },
    { "lack of memory for the response", { 0, "nomem", 0, SENT + READY }, "unknown", "memory" },
    { "lack of descriptors", { 7, "nofile", 0, 0 }, "not_sent", "memory" },
    { "a redirect without execution (308)", { 0, "none", 308, HEAD + SENT + READY }, "rejected", "http" },
    { "a redirect after execution (303)", { 0, "none", 303, HEAD + SENT + READY }, "unknown", "http" },
    { "a TLS alert before the request", { 56, "alert", 0, TLS + READY }, "not_sent", "tls" },
    { "a TLS alert after the request", { 56, "alert", 0, SENT + TLS + READY }, "unknown", "tls" },
    { "a call during exit()", { 0, "exiting", 0, 0 }, "not_sent", "aborted" },
    { "a parent's call in a forked child", { 0, "forked", 0, SENT + READY }, "unknown", "aborted" },
    { "status 401", { 0, "none", 401, HEAD + SENT + READY }, "rejected", "auth" },
    { "status 502", { 0, "none", 502, HEAD + SENT + READY }, "unknown", "http" },
    { "status 101", { 0, "none", 101, HEAD + SENT + READY }, "unknown", "http" },
  } do
    it(row[1], function()
      local a = row[2]
      local outcome, kind = probe.judge(a[1], probe.causes[a[2]], a[3], a[4], false, false)
      assert.same({ row[3], row[4] }, { outcome, kind })
    end)
  end
end)

describe("a refusal by a proxy", function()
  it("is retryable unless it is 403 or 407", function()
    for status, again in pairs{ [403] = false, [407] = false, [500] = true, [502] = true, [404] = true, [0] = true } do
      for _, code in ipairs{ 7, 56 } do -- from libcurl 8.21 on, and before
        local outcome, kind, retryable = probe.judge(code, 0, 0, 4 + 8, false, false, status)
        assert.same({ "not_sent", "proxy", again }, { outcome, kind, retryable }, status .. " " .. code)
      end
    end
  end)
end)

describe("the parser of Retry-After", function()
  local NOW = 784111777 -- Sun, 06 Nov 1994 08:49:37 GMT

  it("accepts a number of seconds", function()
    for _, text in ipairs{ "0", "1", "7", "007", "120", "86400" } do
      assert.equal(tonumber(text), probe.retry_after(text, NOW))
    end
    assert.is_true(probe.retry_after(("9"):rep(400), NOW) >= 1e9)
    assert.is_true(probe.retry_after(("9"):rep(400), NOW) < math.huge)
  end)

  it("accepts a date in each of HTTP's three formats", function()
    for _, text in ipairs{ "Sun, 06 Nov 1994 08:50:37 GMT", "Sunday, 06-Nov-94 08:50:37 GMT",
      "Sun Nov  6 08:50:37 1994" } do
      assert.equal(60, probe.retry_after(text, NOW))
      assert.equal(0, probe.retry_after(text, NOW + 60))
      assert.equal(0, probe.retry_after(text, NOW + 1000))
    end
  end)

  it("refuses anything else", function()
    for _, text in ipairs{ "", " ", "soon", "-1", "-60", "1.5", "1e3", "0x10", "5s", "5 seconds", "120, 60", "\255",
      "GMT", "Sun", ";", "+7" } do
      assert.equal(-1, probe.retry_after(text, NOW), text)
    end
  end)
end)
