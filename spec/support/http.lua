-- A client to drive servers with, as a process of its own: `lua5.4 spec/support/http.lua PORT`, and
-- on stdin a line `CONCURRENCY COUNT`, then for each request `GIVE_UP PATH LENGTH` and a body of
-- that length. On stdout, in order, for each: `STATUS SECONDS LENGTH` and the body; status 0 if no
-- answer came or it was given up after GIVE_UP seconds (0: never).
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local port = assert(tonumber(arg[1]))
local concurrency, count = io.read("l"):match("^(%d+) (%d+)$")
local jobs, answers = {}, {}
for i = 1, count do
  local give_up, path, length = io.read("l"):match("^(%S+) (%S+) (%d+)$")
  jobs[i] = { give_up = tonumber(give_up), path = path, body = length ~= "0" and io.read(math.tointeger(length)) or "" }
end

local function exchange(con, job)
  con:write(("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n%s"):format(
    #job.body > 0 and "POST" or "GET", job.path, #job.body, job.body))
  con:flush()
  local line = con:read("*l")
  local status = line and tonumber(line:match("^HTTP/1%.1 (%d+)"))
  local length, chunked, close
  repeat
    line = con:read("*l")
    if not line then return 0, "" end
    local name, value = line:match("^(%S+):%s*(.-)%s*$")
    name = name and name:lower()
    if name == "content-length" then length = tonumber(value) end
    if name == "transfer-encoding" then chunked = true end
    if name == "connection" and value == "close" then close = true end
  until line == "" or line == "\r"
  local parts = {}
  if chunked then
    while true do
      local size = tonumber(con:read("*l"):match("^%x+"), 16)
      parts[#parts + 1] = size > 0 and con:read(size) or nil
      con:read("*l")
      if size == 0 then break end
    end
  elseif length and length > 0 then parts[1] = con:read(math.tointeger(length)) end
  return status or 0, table.concat(parts), close or not (chunked or length)
end

local loop = cqueues.new()
local next_job = 0
for _ = 1, concurrency do
  loop:wrap(function()
    local con
    while next_job < #jobs do
      next_job = next_job + 1
      local mine, job = next_job, jobs[next_job]
      if not con then
        con = socket.connect{ host = "127.0.0.1", port = port, nodelay = true }
        con:onerror(function(_, _, why) return why end)
        con:setmode("b", "bf")
      end
      if job.give_up > 0 then con:settimeout(job.give_up) end
      local began = cqueues.monotime()
      local ok, status, body, close = pcall(exchange, con, job)
      if not ok then status, body = 0, tostring(status) end
      answers[mine] = { status, cqueues.monotime() - began, body }
      if close or status == 0 or job.give_up > 0 then
        con:close()
        con = nil
      end
    end
    if con then con:close() end
  end)
end
assert(loop:loop())
for i = 1, #jobs do
  local answer = answers[i]
  io.write(("%d %.6f %d\n"):format(answer[1], answer[2], #answer[3]), answer[3])
end
