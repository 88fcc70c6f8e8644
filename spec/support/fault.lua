--- The client of the fault server: listeners on loopback that truncate, stall, reset or send wrong
-- data, as a script says. Plain Lua, any version. The server is a separate process, started at
-- first use, that ends with this one.
--
--     local server = fault.serve{ tls = "good", script = [[
--       conn:request()
--       conn:write(("HTTP/1.1 204 No Content\r\n\r\n"):sub(1, shared.cut))
--       conn:rst()
--     ]] }
--
-- The script runs once for every accepted connection, in a coroutine of its own, and is given
-- `conn`, `shared` (a table of the listener's, see `Server:set`) and `n` (1 for the first
-- connection). Of `conn`, `request`, `read`, `write`, `handshake`, `raw`, `write_raw`, `sleep`,
-- `hold`, `half`, `eof`, `tell`, `fin`, `cut` and `rst` are described in faultd.lua; `cork`,
-- `uncork` and `meet` in faultd_order.lua; `slow_handshake`, `key_update`, `hello_request`,
-- `request_certificate` and `handshaken` in faultd_tls.lua; `connect` and `carry` in
-- faultd_proxy.lua. With `tls`, the handshake happens when the script first reads, writes or asks
-- for a request, so that it may do something else instead. When the script returns, the connection
-- is closed properly.
-- @module spec.support.fault

local fault = {}

local here = debug.getinfo(1, "S").source:match("^@(.*/)[^/]*$") or "./"
local load_source = loadstring or load

local server, replies, dir
local last_id = 0

local function serialize(value)
  if type(value) == "table" then
    local parts = {}
    for key, item in pairs(value) do parts[#parts + 1] = "[" .. serialize(key) .. "]=" .. serialize(item) end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "number" then
    return ("%.17g"):format(value)
  elseif type(value) == "string" then
    return ("%q"):format(value)
  end
  return tostring(value)
end

local function exchange(name, id, argument)
  local source = serialize(argument or {})
  server:write(name, " ", id, " ", #source, "\n", source)
  server:flush()
  local line = replies:read("*l")
  if not line then error("expected an answer of the fault server, found that it ended", 0) end
  local status, length = line:match("^(%a+) (%d+)$")
  local text = length == "0" and "" or replies:read(tonumber(length))
  if status ~= "ok" then error(text, 0) end
  return assert(load_source(text))()
end

local function quoted(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- Starts the server if it is not running. The other functions here do so themselves. Sets
-- `fault.ca_file` (the authority of all its certificates but the self-signed), `fault.ca_path` (the
-- same as a directory), `fault.other_ca_file` and `fault.other_ca_path` (one that no listener
-- knows), and `fault.clients`: certificates for clients, `one`, `two` and `stranger` (signed by the
-- other one); faultd_tls.lua lists their files.
function fault.start()
  if server then return end
  local made = assert(io.popen("mktemp -d \"${TMPDIR:-/tmp}/crux-fault.XXXXXX\""))
  dir = made:read("*l")
  made:close()
  local fifo = quoted(dir .. "/replies")
  if os.execute("mkfifo " .. fifo) == nil then error("expected to make a fifo") end
  -- settings for this interpreter or its sanitizer must not reach the server; the shell opens the
  -- fifo, so that a server that cannot start gives an end of file
  server = assert(io.popen(("exec env -u LUA_INIT -u LUA_PATH -u LUA_CPATH -u LD_PRELOAD lua5.4 %s %s > %s"):format(
    quoted(here .. "faultd.lua"), quoted(dir), fifo), "w"))
  replies = assert(io.open(dir .. "/replies", "r"))
  os.remove(dir .. "/replies")
  for name, value in pairs(exchange("hello", 0)) do fault[name] = value end
end

--- Stop the server, and with it every listener. It removes its files.
function fault.stop()
  if not server then return end
  server:close()
  replies:close()
  server, replies, fault.ca_file, fault.ca_path = nil, nil, nil, nil
  fault.other_ca_file, fault.other_ca_path, fault.clients = nil, nil, nil
end

local Server = {}
Server.__index = Server

local function open(command, options)
  fault.start()
  last_id = last_id + 1
  local id = last_id
  local answer = exchange(command, id, options)
  local scheme = options and options.tls and "https" or "http"
  return setmetatable({ id = id, port = answer.port, base_url = scheme .. "://127.0.0.1:" .. answer.port }, Server)
end

--- Open a listener on 127.0.0.1, on a port that is free.
-- @tparam table options
--   `script`: Lua 5.4 source, see above; hold every connection if left out;
--   `tls`: nil, `"good"`, `"self_signed"`, `"expired"` or `"wrong_name"`;
--   `tls_version`: `"1.2"` for that at most, `"1.1"` or `"1.3"` for nothing else;
--   `tls_names`: what its certificate is for, instead of this machine's names;
--   `tickets`: how many a TLS 1.3 connection is given, 0 for no resumption in any version;
--   `client_certificate`: `"asked"` or `"required"`;
--   `shared`: what `shared` holds at first;
--   `backlog`: connections that the kernel keeps until they are accepted;
--   `receive_buffer`: how many bytes the kernel keeps of what a script has not read, about
-- @treturn table with `port`, `base_url`, and the methods below
function fault.serve(options) return open("serve", options) end

--- A listener that never accepts, with its backlog full: a connect to it waits.
function fault.silent() return open("silent") end

--- A port of 127.0.0.1 that refuses connections, reserved until `close`.
function fault.refused() return open("refused") end

--- The number of such a port, reserved until `stop`.
function fault.refused_port() return fault.refused().port end

--- Merge values (strings, numbers, booleans, tables of them) into `shared`.
-- A further argument of true also starts a new record, as `record(true)` does.
function Server:set(values, reset) exchange("set", self.id, { set = values, reset = reset }) end

--- Take names out of `shared`.
function Server:unset(...)
  local names = {}
  for _, name in ipairs{ ... } do names[name] = true end
  exchange("set", self.id, { unset = names })
end

--- The listener's record: everything that clients have sent so far, whether a script has read it or
-- not. `{ connections, requests, bytes, raw, errors, conns = { … } }`, and for each connection
-- `requests`, `bytes`, `raw`, `begun`, `data`, `eof`, `closed` and `handshake`; after a handshake
-- also `version`, `resumed`, `server_name` (as the client gave it) and `certificate` (the common
-- name in the client's); and what a script has told it. `requests` are those that `conn:request`
-- has returned, `begun` those of which a byte arrived; `bytes` and `data` are what arrived, above
-- TLS; `raw` counts bytes taken below it by `conn:raw` or a close before the handshake; `eof` is
-- how the client ended it (nil if it has not), `closed` how the script did; `errors` are those
-- raised in scripts.
-- @tparam[opt] boolean reset start a new record afterwards
function Server:record(reset) return exchange("record", self.id, { reset = reset }) end

--- Compares what calls report as sent with what arrived, and raises an error if they report too
-- little: `bytes_sent` may be more than the server has received, never less, and `sends` is exact.
-- @tparam table answers the results and errors of all calls to this listener since its record began
-- @tparam[opt=0] number lost how many requests may have been sent without a byte of them arriving
-- @treturn table the record, with no more than the first MiB of each connection's data
function Server:audit(answers, lost)
  local record = exchange("record", self.id, { data = 1024 * 1024 })
  local sends, bytes, arrived = 0, 0, 0
  for _, answer in ipairs(answers) do
    sends, bytes = sends + answer.meta.sends, bytes + answer.meta.bytes_sent
  end
  for _, conn in ipairs(record.conns) do arrived = arrived + conn.begun end
  local function must(condition, what)
    if condition then return end
    local found = ("%d calls with %d sends and %d bytes; %d requests and %d bytes arrived"):format(
      #answers, sends, bytes, arrived, record.bytes)
    error(("expected %s, found %s"):format(what, found), 3)
  end
  must(bytes >= record.bytes, "no fewer bytes sent than arrived")
  must(sends >= arrived and sends <= arrived + (lost or 0), "as many sends as requests")
  if record.errors[1] then error("expected no error in a script, found " .. record.errors[1], 2) end
  return record
end

--- Close the listener and its connections.
function Server:close()
  if self.closed then return end
  self.closed = true
  if server then exchange("close", self.id) end
end

--- A script for the most common case: answer, but stop after `shared.cut` bytes of `shared.answer`,
-- and then do `shared.how` (`"fin"`, `"cut"`, `"rst"` or `"hold"`). Before that, on the same
-- connection, `shared.warm` requests (none if left out) are answered with the whole of
-- `shared.answer`.
fault.CUT = [[
for _ = 1, shared.warm or 0 do
  if not conn:request() then return conn:fin() end
  conn:write(shared.answer)
end
if not conn:request() then return conn:fin() end
conn:write(shared.answer:sub(1, shared.cut))
conn[shared.how](conn)
]]

return fault
