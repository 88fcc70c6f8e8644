-- The bench server: answers like nginx, on a plain and a TLS port, and keeps connections.
--
-- `lua5.4 serverd.lua DIR`: writes DIR/ca.pem, then DIR/ports (two lines: plain, TLS). It ends when
-- its standard input ends, and removes DIR. A request's path begins with what to do:
--
--     /wait3/...     answers after 3 ms (0: at once)
--     /gather256/... answers a client's first 256 requests once it has read all of them, so that
--                    the client makes as many connections, and later ones by the rest of the path
--     /hold1000/...  answers the first request, and none of the next 1,000. Makes DIR/held when it
--                    has read them all.
local here = arg[0]:match("^(.*/)[^/]*$") or "./"
package.path = here .. "../../lua/?.lua;" .. package.path

local cqueues = require "cqueues"
local condition = require "cqueues.condition"
local signal = require "cqueues.signal"
local socket = require "cqueues.socket"
local certificate = require "crux.sandbox.certificate"
local http = require "crux.sandbox.http"

-- Ctrl-C must not end the server before the bench that reads from it.
signal.ignore(signal.SIGINT, signal.SIGPIPE)

local dir = assert(arg[1], "expected a directory")
local loop = cqueues.new()

local function silence(_, _, why) return why end

local function write(name, text)
  local file = assert(io.open(dir .. "/" .. name, "w"))
  file:write(text)
  file:close()
end

-- nginx's header fields in nginx's order, and a body of 53 bytes.
local HEAD = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: %s\r\nContent-Type: application/json\r\n"
  .. "Content-Length: 53\r\nConnection: keep-alive\r\n\r\n"
local BODY = '{"order_uuid":"%s"}'

local head, head_time

local function answer(request)
  local now = os.time()
  if now ~= head_time then
    head, head_time = HEAD:format(os.date("!%a, %d %b %Y %H:%M:%S GMT", now)), now
  end
  return head .. BODY:format(request.body:match('"order_uuid":"([^"]*)"'))
end

local held = 0

-- True if this request is one of those to hold.
local function hold(count)
  held = held + 1
  if held == 1 then return false end
  if held > count then
    held = 0
    write("held", "")
  end
  return true
end

-- Requests of the client of the moment that were gathered, and its connections.
local gathered, connections, is_complete = 0, 0, condition.new()

local function gather(count)
  if gathered >= count then return false end
  gathered = gathered + 1
  if gathered == count then is_complete:signal() else is_complete:wait() end
  return true
end

local function answer_by(path, request)
  local verb, number, rest = path:match("^/(%a+)(%d+)(/.*)")
  number = tonumber(number)
  if verb == "hold" and hold(number) then return nil end
  if verb == "gather" and not gather(number) then return answer_by(rest, request) end
  if verb == "wait" and number > 0 then cqueues.sleep(number / 1000) end
  return answer(request)
end

local function serve(con, context)
  con:setmode("b", "bn")
  con:onerror(silence)
  if not context or con:starttls(context) then
    connections = connections + 1
    http.serve(con, function(request)
      local text = answer_by(request.path, request)
      -- until the client closes it
      if not text then cqueues.poll{ pollfd = con:pollfd(), events = "r" } end
      return text
    end)
    connections = connections - 1
    if connections == 0 then gathered = 0 end
  end
  con:close()
end

local function listen(context)
  local listener = assert(socket.listen{ host = "127.0.0.1", port = 0, nodelay = true })
  assert(listener:listen())
  loop:wrap(function()
    for con in listener:clients{ nodelay = true } do
      loop:wrap(serve, con, context)
    end
  end)
  return (select(3, listener:localname()))
end

loop:wrap(function()
  local input = socket.fdopen(0)
  input:onerror(silence)
  repeat until not input:read(1)
  os.execute(("rm -rf '%s'"):format(dir))
  os.exit(0)
end)

local authority = certificate.authority()
local identity = certificate.server{ names = { "127.0.0.1" }, authority = authority }
certificate.write(dir .. "/ca.pem", authority)
local plain, tls = listen(), listen(certificate.context(identity))
-- A rename, so that whoever waits for the file never reads half of it.
write("ports.new", ("%d\n%d\n"):format(plain, tls))
assert(os.rename(dir .. "/ports.new", dir .. "/ports"))

assert(loop:loop())
