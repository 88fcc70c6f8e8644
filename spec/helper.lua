--- Checks and arguments that all specs share. Every result and error of a call is checked for its
-- promised shape, and for secrets that it must not contain.
-- @module spec.helper

-- luassert's functions are too slow for checks of every result, above all under valgrind.
local function must(condition, what)
  if not condition then error("expected otherwise: " .. tostring(what), 2) end
end

local function same(expected, found, what)
  if expected ~= found then
    error(("expected %s, found %s: %s"):format(tostring(expected), tostring(found), tostring(what)), 2)
  end
end

local function absent(found, what)
  if found ~= nil then error(("expected nothing, found %s: %s"):format(tostring(found), tostring(what)), 2) end
end

local helper = {
  TOKEN = "helper-token-47d4yfbwymedhiudj384702984",
  ORDER = "54a31ec5-b0be-4a92-af4c-1b75fe8e6e29",
  SUPPLIER = "757ce28d-fbd6-4b9f-8051-f847482e169f",
}

local math_type = rawget(math, "type")

local OUTCOMES = { accepted = true, rejected = true, not_sent = true, unknown = true }
local KINDS = {
  invalid = true, auth = true, dns = true, connect = true, proxy = true, tls = true, timeout = true, network = true,
  protocol = true, http = true, aborted = true, memory = true,
}
local RETRYABLE = { dns = true, connect = true, proxy = true, timeout = true, network = true }
-- Fields that hold the server's own text, which is not redacted.
local SERVERS = { raw = true, headers = true, detail = true, fields = true, body = true }

local secrets = { helper.TOKEN }

--- Adds texts that no checked value may contain from now on.
function helper.watch(...)
  for _, secret in ipairs{ ... } do secrets[#secrets + 1] = secret end
end

--- Asserts that a value contains no secret: an error, result, event, dry run or string.
-- @param value
-- @tparam[opt] string token a further secret
function helper.clean(value, token)
  local function look(text, where)
    for i = 0, #secrets do
      local secret = secrets[i] or token
      if secret and text:find(secret, 1, true) then error(("a secret in %s: %s"):format(where, text), 2) end
    end
  end
  local function walk(item, where)
    if type(item) == "string" then look(item, where) end
    if type(item) ~= "table" then return end
    for key, inner in next, item do
      walk(key, where .. "'s key")
      if not SERVERS[key] then walk(inner, where .. "." .. tostring(key)) end
    end
  end
  walk(value, "value")
  look(tostring(value), "tostring")
end

local function whole(value, what)
  same("number", type(value), what)
  must(value >= 0 and value == math.floor(value), what)
  if math_type then same("integer", math_type(value), what) end
end

local function check_meta(meta)
  same("table", type(meta))
  for _, name in ipairs{ "attempts", "sends", "bytes_sent" } do whole(meta[name], "meta." .. name) end
  must(meta.sends <= meta.attempts, "sends")
  same(meta.sends > 0, meta.bytes_sent > 0, "bytes_sent")
  same("boolean", type(meta.reused))
  same("string", type(meta.http_version))
  for _, name in ipairs{ "dns", "connect", "tls", "first_byte", "total" } do
    same("number", type(meta.time[name]), "meta.time." .. name)
    must(meta.time[name] >= 0, "meta.time." .. name)
  end
  local total = 0
  for _ in pairs(meta.time) do total = total + 1 end
  same(5, total)
  if meta.reused then same(0, meta.time.dns + meta.time.connect + meta.time.tls) end
  if meta.body_error ~= nil then helper.is_line(meta.body_error) end
end

local function check_response(answer)
  whole(answer.status, "status")
  same("string", type(answer.raw))
  same("table", type(answer.headers))
  for name, value in pairs(answer.headers) do
    same(name:lower(), name)
    same("string", type(value))
  end
  if answer.meta.body_error then absent(answer.body) end
end

--- Asserts that a text is one line of well-formed UTF-8.
function helper.is_line(text)
  same("string", type(text))
  absent(text:find("%c"), "a control character in: " .. text)
  local rest = text:gsub("[\194-\223][\128-\191]", ""):gsub("[\224-\239][\128-\191][\128-\191]", "")
    :gsub("[\240-\244][\128-\191][\128-\191][\128-\191]", "")
  absent(rest:find("[\128-\255]"), "not UTF-8: " .. text)
end

local function check_fields(fields)
  must(next(fields) ~= nil, "no fields")
  for path, texts in pairs(fields) do
    same("string", type(path))
    must(#texts > 0)
    for _, text in ipairs(texts) do same("string", type(text)) end
  end
end

local function check_err(err)
  same("table", type(err))
  must(OUTCOMES[err.outcome] and err.outcome ~= "accepted", tostring(err.outcome))
  must(KINDS[err.kind], "a kind that is not in KINDS of spec/helper.lua: " .. tostring(err.kind))
  helper.is_line(err.message)
  must(#err.message > 0 and #err.message < 400, err.message)
  local own = err.field and err.message:sub(1, #err.field) == err.field
  must(own or err.message:find("^HTTP %d") ~= nil or err.message:find("^%u%l") == nil, err.message)
  -- the text of a server or a token function may end with a full stop
  if not (err.detail or err.fields or err.kind == "auth") then
    absent(err.message:find("%.$"), err.message)
  end
  same(("%s (%s): %s"):format(err.outcome, err.kind, err.message), tostring(err))
  same("boolean", type(err.retryable))
  check_meta(err.meta)
  same(err.outcome == "not_sent", err.meta.sends == 0, tostring(err))
  local is_of_login = err.message:find("^login: ") ~= nil
  if is_of_login then same("not_sent", err.outcome)
  elseif err.outcome == "not_sent" then
    absent(err.status)
    local refused = err.kind == "proxy" and err.message:find("the proxy answered HTTP 40[37]$") ~= nil
    same(RETRYABLE[err.kind] and not refused or false, err.retryable, "retryable of " .. tostring(err))
  elseif err.outcome == "rejected" then
    must(err.kind == "http" or err.kind == "auth")
    same(err.status == 429 and err.retry_after ~= nil, err.retryable, "retryable of " .. tostring(err))
    local status = err.status
    must(status >= 400 and status <= 499 or status == 301 or status == 307 or status == 308,
      "rejected by " .. status)
  end
  if not is_of_login then same(err.status == 401, err.outcome == "rejected" and err.kind == "auth") end
  if err.kind == "invalid" then same("string", type(err.field)) end
  if err.status ~= nil and not is_of_login then check_response(err) end
  if err.hint ~= nil then
    helper.is_line(err.hint)
    absent(err.hint:find("%.$"), err.hint)
  end
  if err.detail ~= nil then same("string", type(err.detail)) end
  if err.fields ~= nil then check_fields(err.fields) end
  if err.retry_after ~= nil then must(err.retry_after >= 0) end
end

--- Asserts that this is what a call may return, and returns it.
function helper.check(result, err)
  if result ~= nil then
    absent(err)
    same("accepted", result.outcome)
    check_meta(result.meta)
    check_response(result)
    must(result.status >= 200 and result.status <= 299)
    must(result.meta.sends > 0)
    helper.clean(result)
  else
    check_err(err)
    helper.clean(err)
    helper.clean(err.hint or "")
  end
  return result, err
end

--- Calls a function that returns what a call does, checks it, and returns it.
function helper.call(fn, ...) return helper.check(fn(...)) end

--- Returns an `on_event` that checks each event and keeps it in a list, and that list.
function helper.events()
  local list = {}
  local known = {
    name = "string", attempt = "number", method = "string", url = "string", outcome = "string", kind = "string",
    status = "number", pause = "number", endpoint = "string", order_uuid = "string", order_item_uuid = "string",
    reason = "string", elapsed = "number", sends = "number", reused = "boolean",
  }
  return function(event)
    for name, value in pairs(event) do same(known[name], type(value), name) end
    helper.clean(event)
    list[#list + 1] = event
  end, list
end

--- Arguments of a call to a server, and more.
function helper.arguments(server, more)
  local made = {
    token = helper.TOKEN, base_url = server and server.base_url, timeout = 10, order_uuid = helper.ORDER,
    skus = { { supplier_uuid = helper.SUPPLIER } },
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

--- A script for the fault server: it answers each request with `shared.answer`, or the i-th request
-- of the listener with `shared.answers[i]`.
helper.ANSWER = [[
while conn:request() do
  shared.count = (shared.count or 0) + 1
  conn:write(shared.answers and shared.answers[shared.count] or shared.answer)
end
conn:fin()
]]

--- A response with a Content-Length.
-- @tparam number status
-- @tparam[opt] string body
-- @tparam[opt] table headers lines
function helper.response(status, body, headers)
  local lines = { ("HTTP/1.1 %d What It Says"):format(status) }
  for _, line in ipairs(headers or {}) do lines[#lines + 1] = line end
  if status ~= 204 and status ~= 304 then lines[#lines + 1] = "Content-Length: " .. #(body or "") end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

local counted = setmetatable({}, { __mode = "k" })

--- The requests that a listener has got since this was last asked, each as its bytes.
function helper.new_requests(server)
  local list, seen = {}, counted[server] or {}
  counted[server] = seen
  for i, conn in ipairs(server:record().conns) do
    local at = seen[i] or 1
    while true do
      local _, last = conn.data:find("\r\n\r\n", at, true)
      if not last then break end
      local length = conn.data:sub(at, last):match("\r\nContent%-Length: (%d+)") or 0
      list[#list + 1] = conn.data:sub(at, last + length)
      at = last + length + 1
    end
    seen[i] = at
  end
  return list
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end
helper.quoted = quoted

--- The interpreter for children that load crux: a sanitizer's host, or the one that runs this.
helper.lua = os.getenv "TEST_LUA" or (rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match("%d%.%d"))

--- Compiler and linker flags for libcurl in a shell command: those of make, else those of
-- pkg-config.
helper.curl_cflags = "${CURL_CFLAGS-$(pkg-config --cflags libcurl)}"
helper.curl_libs = "${CURL_LIBS-$(pkg-config --libs libcurl)}"

local CLEARED = {
  "CRUX_TOKEN", "CRUX_USERNAME", "CRUX_PASSWORD", "CRUX_BASE_URL", "CRUX_CA_FILE", "http_proxy", "HTTP_PROXY", "https_proxy",
  "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY",
  "LUA_INIT", "LUA_INIT_5_2", "LUA_INIT_5_3", "LUA_INIT_5_4",
}

--- Runs a chunk in a new interpreter process.
-- @tparam string source
-- @tparam[opt] table environment variables to set
-- @tparam[opt] string before what the command line begins with
-- @treturn string what it printed, errors included, without the last newline
function helper.child(source, environment, before)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  file:write(source)
  file:close()
  local words = { before or "", "env" }
  for _, name in ipairs(CLEARED) do words[#words + 1] = "-u " .. name end
  for name, value in pairs(environment or {}) do words[#words + 1] = name .. "=" .. quoted(value) end
  words[#words + 1] = helper.lua
  words[#words + 1] = quoted(path)
  local pipe = assert(io.popen(table.concat(words, " ") .. " 2>&1"))
  local printed = pipe:read("*a")
  pipe:close()
  os.remove(path)
  helper.clean(printed)
  return (printed:gsub("\n$", ""))
end

return helper
