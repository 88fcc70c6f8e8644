--- The least of HTTP/1.1 that a server must speak: one connection at a time, kept alive, requests
-- with a length.
-- @module crux.sandbox.http

local cqueues = require "cqueues"
local errno = require "cqueues.errno"

local http = {}

local poll, EAGAIN = cqueues.poll, errno.EAGAIN
local MAX_HEAD, MAX_BODY = 64 * 1024, 10 * 1024 * 1024

local REASONS = {
  [200] = "OK", [201] = "Created", [204] = "No Content", [301] = "Moved Permanently",
  [302] = "Found",
  [303] = "See Other", [307] = "Temporary Redirect", [308] = "Permanent Redirect",
  [400] = "Bad Request",
  [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found", [405] = "Method Not Allowed",
  [408] = "Request Timeout", [409] = "Conflict", [411] = "Length Required",
  [413] = "Content Too Large",
  [415] = "Unsupported Media Type",
  [422] = "Unprocessable Entity", [429] = "Too Many Requests",
  [431] = "Request Header Fields Too Large",
  [500] = "Internal Server Error", [502] = "Bad Gateway", [503] = "Service Unavailable",
  [504] = "Gateway Timeout",
}

local function receive(con)
  while true do
    local data, why = con:recv(-65536)
    if data then return data end
    if why ~= EAGAIN then return nil end
    poll(con)
  end
end

local function send(con, bytes)
  local first, last = 1, #bytes
  while first <= last do
    local sent, why = con:send(bytes, first, last, "bn")
    first = first + sent
    if why and why ~= EAGAIN then return false end
    if first <= last then poll(con) elseif why then return con:flush("n") end
  end
  return true
end

local function parse_head(head)
  local method, path, version = head:match("^(%u+) (%S+) HTTP/1%.([01])\r\n")
  if not method then return nil end
  local headers = {}
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    headers[name:lower()] = value
  end
  local connection = (headers.connection or ""):lower()
  return {
    method = method, path = path, headers = headers,
    close = connection == "close" or version == "0" and connection ~= "keep-alive",
  }
end

--- The bytes of a response.
-- @tparam table answer `{ status, body, type, headers, close }`, all but the status optional;
--   `headers` is a list of whole lines
function http.format(answer)
  local status = answer.status
  local lines = { ("HTTP/1.1 %d %s"):format(status, REASONS[status] or "Unknown") }
  for _, line in ipairs(answer.headers or {}) do lines[#lines + 1] = line end
  if status ~= 204 then
    local body = answer.body or ""
    if body ~= "" then
      lines[#lines + 1] = "Content-Type: " .. (answer.type or "application/json")
    end
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  if answer.close then lines[#lines + 1] = "Connection: close" end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (status ~= 204 and answer.body or "")
end

local function refuse(con, status)
  send(con, http.format{ status = status, close = true })
end

--- Serve one connection until either side closes it.
-- @param con a cqueues socket, past its TLS handshake, in mode `("b", "bn")`
-- @tparam function respond given `{ method, path, headers, body }`, returns the bytes of the answer
--   (nil for none at all) and whether to close the connection after it
function http.serve(con, respond)
  local buffer = ""
  while true do
    local _, head_end = buffer:find("\r\n\r\n", 1, true)
    while not head_end do
      if #buffer > MAX_HEAD then return refuse(con, 431) end
      local data = receive(con)
      if not data then return end
      buffer = buffer .. data
      _, head_end = buffer:find("\r\n\r\n", 1, true)
    end
    local request = parse_head(buffer:sub(1, head_end))
    if not request then return refuse(con, 400) end
    local headers = request.headers
    if headers["transfer-encoding"] then return refuse(con, 411) end
    local length = headers["content-length"] or "0"
    if not length:find("^%d+$") then return refuse(con, 400) end
    length = tonumber(length)
    if length > MAX_BODY then return refuse(con, 413) end
    local total = head_end + length
    if #buffer < total then
      if headers.expect and not send(con, "HTTP/1.1 100 Continue\r\n\r\n") then return end
      local parts, have = { buffer }, #buffer
      while have < total do
        local data = receive(con)
        if not data then return end
        parts[#parts + 1], have = data, have + #data
      end
      buffer = table.concat(parts)
    end
    request.body = buffer:sub(head_end + 1, total)
    buffer = buffer:sub(total + 1)
    local bytes, close = respond(request)
    if not bytes or not send(con, bytes) or close then return end
  end
end

return http
