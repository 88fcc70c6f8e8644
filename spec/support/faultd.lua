-- The fault server: listeners that run a Lua script for each connection, controlled by
-- spec/support/fault.lua.
--
-- `lua5.4 faultd.lua DIR`: commands on stdin, replies on stdout; ends, and removes DIR, when stdin does. A command is a
-- line `name id length` and `length` bytes of Lua source returning its argument; a reply is `ok length` or
-- `error length` and as many bytes, of Lua source or of a message.

local here = arg[0]:match("^(.*/)[^/]*$") or "./"
package.path = here .. "?.lua;" .. here .. "../../lua/?.lua;" .. package.path

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local errno = require "cqueues.errno"
local signal = require "cqueues.signal"
local socket = require "cqueues.socket"
local certificate = require "crux.sandbox.certificate"
local order = require "faultd_order"
local proxy = require "faultd_proxy"
local tls = require "faultd_tls"

-- Ctrl-C in the specs must not end the server; it ends when its stdin is closed, or by a command
signal.ignore(signal.SIGINT, signal.SIGPIPE)
signal.block(signal.SIGTERM, signal.SIGHUP)

local dir = assert(arg[1], "expected a directory")
local files = {}

local function file(name)
  files[#files + 1] = dir .. "/" .. name
  return files[#files]
end

local function tidy()
  for i = #files, 1, -1 do os.remove(files[i]) end
  os.remove(dir)
end

local function helper()
  local object = file("faultd.so")
  local cc = os.getenv("CC") or "cc"
  local command = "%s -shared -fPIC -O1 $(pkg-config --cflags lua5.4) -o '%s' '%s' '%s' -ldl"
  command = command:format(cc, object, here .. "faultd.c", here .. "faultd_tls.c")
  assert(os.execute(command), "expected to compile faultd.c, found no way: " .. command)
  local library = assert(package.loadlib(object, "luaopen_faultd"))()
  library.tls = assert(package.loadlib(object, "luaopen_faultd_tls"))()
  local maps = assert(io.open("/proc/self/maps")):read("a")
  library.libssl = assert(maps:match("(/%S*libssl%S*)"), "expected libssl to be loaded")
  return library
end

-- ------------------------------------------------------------------------------------------------- certificates

local DAY = 24 * 60 * 60
local LOCAL = { "127.0.0.1", "localhost", "::1" }
local identities, paths = {}, nil

local function make_identities(library)
  local authority = certificate.authority()
  certificate.write(file("ca.pem"), authority)
  identities.good = certificate.server{ names = LOCAL, authority = authority }
  identities.self_signed = certificate.server{ names = LOCAL }
  local now = os.time()
  identities.expired = certificate.server{ names = LOCAL, authority = authority, from = now - 3 * DAY, to = now - DAY }
  identities.wrong_name = certificate.server{ names = { "example.org" }, authority = authority }
  file("ca_path")
  assert(os.execute(("mkdir '%s/ca_path'"):format(dir)))
  local function hash(cert) return library.subject_hash(library.libssl, cert) end
  certificate.write(file(("ca_path/%08x.0"):format(hash(authority.cert))), authority)
  paths = tls.prepare{
    library = library.tls, libssl = library.libssl, authority = authority,
    dir = dir, file = file, hash = hash,
  }
  paths.ca_file, paths.ca_path = dir .. "/ca.pem", dir .. "/ca_path"
end

-- -------------------------------------------------------------------------------------------------- connections

local library
local loop = cqueues.new()
local Conn = {}
Conn.__index = Conn

local function silence(_, _, why) return why end

local function note(self, data)
  local record = self.record
  if self.state == "raw" then
    record.raw = record.raw + #data
  else
    record.bytes = record.bytes + #data
    self.parts[#self.parts + 1] = data
    self.unread[#self.unread + 1] = data
    self.size = self.size + #data
  end
end

-- Bytes that have arrived and that no script has read.
local function join(self)
  if self.unread[2] then self.unread = { table.concat(self.unread) } end
  return self.unread[1] or ""
end

local function take(self, count)
  local data = join(self)
  self.unread, self.size = { data:sub(count + 1) }, math.max(self.size - count, 0)
  return data:sub(1, count)
end

-- Reads what has arrived, without blocking; true if there was anything. With `needed`, it stops
-- once that many unread bytes are there.
local function pump(self, needed)
  local any = false
  while not (self.closed or self.record.eof) and not (needed and self.size >= needed) do
    local data, why = self.socket:recv(-65536)
    if data then
      note(self, data)
      any = true
    elseif why == errno.EAGAIN then
      break
    else
      -- cqueues reports end of file as EPIPE
      self.record.eof = why and why ~= errno.EPIPE and errno.strerror(why) or "fin"
    end
  end
  return any
end

-- A TLS connection starts as "raw", and becomes "tls" at the script's first operation above TLS.
local function secure(self)
  if self.state ~= "raw" then return true end
  if self.closed then return nil, "closed" end
  self.state = "handshaking"
  local ok, why = order.handshake(self)
  if not ok then
    self.state, self.record.eof = "broken", "handshake"
    self.record.handshake = why and errno.strerror(why) or "ended"
    return nil, "handshake"
  end
  self.state, self.record.handshake = "tls", "done"
  tls.report(self)
  return true
end

local function more(self, needed)
  if pump(self, needed) then return true end
  if self.record.eof or self.closed then return false end
  cqueues.poll(self.socket)
  return not self.closed
end

--- Reads `count` bytes (all that there are until EOF, if left out); nil and what came before if EOF
-- comes first.
function Conn:read(count)
  local ok, why = secure(self)
  if not ok then return nil, why end
  while not count or self.size < count do
    if not more(self, count) and (self.record.eof or self.closed) then
      if not count then break end
      return nil, join(self)
    end
  end
  return take(self, count or self.size)
end

--- All that has arrived and was not read, without waiting.
function Conn:rest() return take(self, self.size) end

--- Reads one whole request, and counts it. Returns `{ method, path, headers, body, raw }`, or nil
-- at EOF.
function Conn:request()
  local ok, why = secure(self)
  if not ok then return nil, why end
  local head_end
  repeat
    local _, last = join(self):find("\r\n\r\n", 1, true)
    head_end = last
    if not head_end and not more(self) and (self.record.eof or self.closed) then
      return nil, join(self)
    end
  until head_end
  local head = join(self):sub(1, head_end)
  local method, path = head:match("^(%S+) (%S+)")
  local headers = {}
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do headers[name:lower()] = value end
  local length = math.tointeger(tonumber(headers["content-length"])) or 0
  local raw = self:read(head_end + length)
  if not raw then return nil, join(self) end
  self.record.requests = self.record.requests + 1
  return { method = method, path = path, headers = headers, body = raw:sub(head_end + 1), raw = raw }
end

--- Writes bytes; true, or nil and why not.
function Conn:write(bytes)
  local ok, why = secure(self)
  if not ok then return nil, why end
  if self.closed then return nil, "closed" end
  if bytes == "" then return true end
  local sent, reason = self.socket:xwrite(bytes, "bn")
  return sent and true or nil, reason
end

--- Performs the handshake now; true, or nil and why not.
function Conn:handshake() return secure(self) end

--- Reads bytes below TLS (at least `count` of them): the start of a handshake. The handshake cannot
-- be completed then.
function Conn:raw(count)
  local target = self.record.raw + (count or 1)
  while self.record.raw < target do
    if not more(self) and (self.record.eof or self.closed) then return nil, self.record.raw end
  end
  return self.record.raw
end

--- Writes bytes below TLS, in place of a handshake message.
function Conn:write_raw(bytes)
  local sent, reason = self.socket:xwrite(bytes, "bn")
  return sent and true or nil, reason
end

function Conn:sleep(seconds)
  if not self.listener.closing then cqueues.poll(self.listener.condition, seconds) end
end

--- Does nothing more until the listener is closed.
function Conn:hold()
  while not self.listener.closing do self.listener.condition:wait() end
end

local function finish(self, how)
  if self.closed then return end
  if self.state ~= "handshaking" and self.state ~= "broken" then pump(self) end
  self.closed, self.record.closed = true, how
  if how == "rst" then assert(library.reset_on_close(self.socket:pollfd()), "expected to set SO_LINGER") end
  if how == "fin" and self.state == "tls" then library.close_notify(library.libssl, self.socket:checktls()) end
  self.listener.live[self] = nil
  self.socket:close()
end

--- Closes properly: close_notify if there is TLS, then FIN.
function Conn:fin() finish(self, "fin") end

--- Closes without TLS's close_notify: FIN alone.
function Conn:cut() finish(self, "cut") end

--- Closes with RST.
function Conn:rst() finish(self, "rst") end

--- Half-closes (close_notify, FIN), and goes on reading.
function Conn:half()
  if self.state == "tls" then library.close_notify(library.libssl, self.socket:checktls()) end
  self.socket:shutdown("w")
end

--- Reads and discards until the peer closes.
function Conn:eof()
  if not secure(self) then return end
  repeat self.unread, self.size = {}, 0 until not more(self) and (self.record.eof or self.closed)
end

--- Puts a value of the script's into the connection's record.
function Conn:tell(name, value) self.record[name] = value end

order.extend(Conn)
tls.extend(Conn, pump)
proxy.extend(Conn, loop, more)

-- ---------------------------------------------------------------------------------------------------- listeners

local listeners = {}

local function new_conn(listener, sock)
  sock:setmode("b", "bn")
  sock:onerror(silence)
  local record = { bytes = 0, requests = 0, raw = 0 }
  local conn = setmetatable({
    listener = listener, socket = sock, record = record, parts = {}, unread = {}, size = 0,
    context = listener.context, state = listener.context and "raw" or "plain",
  }, Conn)
  listener.count = listener.count + 1
  listener.conns[#listener.conns + 1] = conn
  listener.live[conn] = true
  local number = listener.count
  loop:wrap(function()
    local ok, why = xpcall(listener.script, debug.traceback, conn, listener.shared, number)
    if not ok and not listener.closing then listener.errors[#listener.errors + 1] = tostring(why) end
    finish(conn, "fin")
  end)
end

local function accept_waiting(listener)
  while not listener.closing do
    local sock = listener.socket:accept({ nodelay = true }, 0)
    if not sock then return end
    new_conn(listener, sock)
  end
end

local function listen()
  local sock = assert(socket.listen{ host = "127.0.0.1", port = 0, nodelay = true })
  sock:onerror(silence)
  assert(sock:listen())
  local _, _, port = sock:localname()
  return sock, port
end

local commands = {}

function commands.serve(id, options)
  local context
  if options.tls then
    local identity = assert(identities[options.tls], "expected good, self_signed, expired or wrong_name as tls")
    context = tls.context(options, identity)
  end
  local source = "local conn, shared, n = ...\n" .. (options.script or "conn:hold()")
  local script = assert(load(source, "=script", "t"))
  local sock, port = listen()
  if options.backlog then assert(library.set_backlog(sock:pollfd(), options.backlog)) end
  if options.receive_buffer then
    assert(library.set_receive_buffer(sock:pollfd(), options.receive_buffer))
  end
  local listener = {
    socket = sock, context = context, script = script, shared = options.shared or {}, condition = condition.new(),
    conns = {}, live = {}, errors = {}, count = 0,
  }
  listeners[id] = listener
  loop:wrap(function()
    while not listener.closing do
      accept_waiting(listener)
      if not listener.closing then cqueues.poll(sock) end
    end
  end)
  return { port = port }
end

function commands.set(id, changes)
  local listener = listeners[id]
  if changes.reset then listener.conns, listener.errors = {}, {} end
  for name in pairs(changes.unset or {}) do listener.shared[name] = nil end
  for name, value in pairs(changes.set or {}) do listener.shared[name] = value end
  return {}
end

-- How many requests are in the bytes of a connection, the last perhaps in part.
local function count_requests(data)
  local count, at = 0, 1
  while at <= #data do
    count = count + 1
    local _, last = data:find("\r\n\r\n", at, true)
    if not last then break end
    local length = data:sub(at, last):lower():match("\r\ncontent%-length: *(%d+)")
    at = last + 1 + (math.tointeger(length) or 0)
  end
  return count
end

function commands.record(id, options)
  local listener = listeners[id]
  -- bytes that the client has already sent may not have passed a handshake or a script yet
  accept_waiting(listener)
  cqueues.sleep(0)
  cqueues.sleep(0)
  local answer = { connections = 0, requests = 0, bytes = 0, raw = 0, conns = {}, errors = listener.errors }
  for i, conn in ipairs(listener.conns) do
    if (conn.state == "plain" or conn.state == "tls") and pump(conn) then cqueues.cancel(conn.socket) end
    local record = conn.record
    local data = table.concat(conn.parts)
    record.data, record.begun = data:sub(1, options.data), count_requests(data)
    answer.connections = i
    answer.requests = answer.requests + record.requests
    answer.bytes = answer.bytes + record.bytes
    answer.raw = answer.raw + record.raw
    answer.conns[i] = record
  end
  if options.reset then listener.conns, listener.errors = {}, {} end
  return answer
end

function commands.close(id)
  local listener = listeners[id]
  listeners[id] = nil
  listener.closing = true
  listener.condition:signal()
  listener.socket:close()
  for conn in pairs(listener.live) do
    conn.closed = true
    conn.socket:close()
  end
  for _, sock in ipairs(listener.held or {}) do sock:close() end
  return {}
end

local function idle(sock, held)
  return { socket = sock, held = held, condition = condition.new(), live = {}, conns = {}, errors = {}, closing = true }
end

-- One connection fills a backlog of 0; the next SYN is dropped, so the client waits.
function commands.silent(id)
  local sock, port = listen()
  assert(library.set_backlog(sock:pollfd(), 0))
  local held = {}
  for i = 1, 3 do
    held[i] = socket.connect{ host = "127.0.0.1", port = port }
    held[i]:onerror(silence)
    held[i]:connect(0.05)
  end
  listeners[id] = idle(sock, held)
  return { port = port }
end

-- The local port of an open connection refuses connections, and is not given to anybody else
-- meanwhile.
function commands.refused(id)
  local sock, port = listen()
  -- bound by bind(2): a port that connect(2) chooses may be chosen for a client's side too, and a
  -- client that connects to its own port is connected to itself. Without SO_REUSEADDR, or bind(0) of
  -- another listener may be given that very port.
  local near = socket.connect{ host = "127.0.0.1", port = port, bind = "127.0.0.1", reuseaddr = false }
  assert(near:connect(1))
  local far = assert(sock:accept(1))
  local _, _, refused = near:localname()
  listeners[id] = idle(sock, { near, far })
  return { port = refused }
end

function commands.hello() return paths end

-- ----------------------------------------------------------------------------------------------------- commands

local function serialize(value)
  if type(value) == "table" then
    local parts = {}
    for key, item in pairs(value) do parts[#parts + 1] = ("[%s]=%s"):format(serialize(key), serialize(item)) end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "string" then
    return ("%q"):format(value)
  end
  return tostring(value)
end

local function reply(status, text) io.stdout:write(status, " ", #text, "\n", text):flush() end

local function obey()
  while true do
    cqueues.poll{ pollfd = 0, events = "r" }
    local line = io.stdin:read("l")
    if not line then return end
    local name, id, length = line:match("^(%a+) (%d+) (%d+)$")
    local source = io.stdin:read(math.tointeger(length))
    local ok, answer = pcall(function()
      local argument = assert(load("return " .. source, "=argument", "t", {}))()
      return commands[name](math.tointeger(id), argument)
    end)
    if ok then reply("ok", "return " .. serialize(answer)) else reply("error", tostring(answer)) end
  end
end

local ok, why = xpcall(function()
  library = helper()
  order.use(library)
  make_identities(library)
  local finished = false
  loop:wrap(function()
    obey()
    finished = true
  end)
  loop:wrap(function()
    signal.listen(signal.SIGTERM, signal.SIGHUP):wait()
    finished = true
  end)
  repeat assert(loop:step()) until finished
end, debug.traceback)
tidy()
if not ok then io.stderr:write("faultd: ", tostring(why), "\n") end
os.exit(ok)
