-- Answers every request on a kept-alive connection with 204, until its standard input ends. The port goes into the file
-- named by its argument, since the one who starts it through io.popen holds its standard input and cannot read as well.
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local listener = assert(socket.listen("127.0.0.1", 0))
listener:listen()
local _, _, port = listener:localname()

local ANSWER = "HTTP/1.1 204 No Content\r\nServer: bench\r\nContent-Length: 0\r\n\r\n"

local loop = cqueues.new()

local function serve(connection)
  connection:setmode("bn", "bn")
  connection:onerror(function(_, _, why) return why end)
  while true do
    local length = 0
    local line = connection:read("*l")
    if not line then break end
    repeat
      line = connection:read("*l")
      if not line then break end
      length = tonumber(line:match("^[Cc]ontent%-[Ll]ength:%s*(%d+)")) or length
    until line == "" or line == "\r"
    if not line or length > 0 and not connection:read(length) then break end
    if not connection:write(ANSWER) then break end
  end
  connection:close()
end

loop:wrap(function()
  for connection in listener:clients() do
    loop:wrap(function() serve(connection) end)
  end
end)

loop:wrap(function()
  local input = socket.fdopen(0)
  input:onerror(function(_, _, why) return why end)
  repeat until not input:read(1)
  os.exit(0)
end)

local file = assert(io.open(arg[1], "w"))
file:write(port, "\n")
file:close()

assert(loop:loop())
