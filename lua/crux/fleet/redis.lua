--- A small Redis client for the fleet: RESP2 over a socket with `connect`, `send` and `receive`.
-- luasocket in plain Lua (luasec for `rediss://`), cosockets inside nginx; loaded on first use.
--
-- A connection that breaks is made again, and the whole pipeline is sent once more: all that a
-- fleet sends may be repeated.
-- @classmod crux.fleet.redis
local transport = require "crux.fleet.transport"

local concat, format, match, sub = table.concat, string.format, string.match, string.sub
local gsub, char, ipairs, pcall = string.gsub, string.char, ipairs, pcall
local error, select, setmetatable = error, select, setmetatable
local tonumber, tostring, type = tonumber, tostring, type

local Redis = {}
Redis.__index = Redis

local TIMEOUT = 5 -- seconds, for connecting and for each read and write
local PORT = 6379

local function unescape(text)
  return (gsub(text, "%%(%x%x)", function(hex) return char(tonumber(hex, 16)) end))
end

--- Takes a URL apart: `redis://[[user]:password@]host[:port][/database]`.
-- @tparam string url
-- @treturn[1] table
-- @treturn[2] nil
-- @treturn[2] string message, without the URL, which may hold a password
local function parse(url)
  local expected = "redis: expected a URL such as redis://host:6379/0, found "
  if type(url) ~= "string" then return nil, expected .. "a " .. type(url) end
  local scheme, rest = match(url, "^(rediss?)://(.*)$")
  if not scheme then return nil, expected .. "another scheme" end
  local login, place = match(rest, "^(.*)@([^@]*)$")
  place = place or rest
  local authority, path = match(place, "^([^/?#]*)/?(%d*)$")
  if not authority then return nil, expected .. "a path that is no number" end
  local host, port = match(authority, "^%[([%x:.]+)%]:?(%d*)$")
  if not host then host, port = match(authority, "^([^:%[%]]+):?(%d*)$") end
  if not host then return nil, expected .. "no host" end
  local user, password
  if login then
    user, password = match(login, "^([^:]*):(.*)$")
    if not user then return nil, expected .. "a user without a password" end
  end
  return {
    host = host, port = port ~= "" and tonumber(port) or PORT, is_tls = scheme == "rediss",
    database = path ~= "" and path or nil,
    user = user and user ~= "" and unescape(user) or nil,
    password = password and unescape(password) or nil,
  }
end

--- Makes a client. Nothing is connected yet.
-- @tparam string url
-- @tparam[opt] table options `timeout` in seconds; `ca_file`: trust anchors for `rediss://`
-- @treturn[1] crux.fleet.redis
-- @treturn[2] nil
-- @treturn[2] string message
function Redis.new(url, options)
  local target, why = parse(url)
  if not target then return nil, why end
  target.timeout = options and options.timeout or TIMEOUT
  target.ca_file = options and options.ca_file
  return setmetatable({
    target = target, socket = false, loaded = {},
    connections = 0, -- how many were made
    name = format("redis %s:%d", target.host, target.port),
  }, Redis)
end

-- --- the protocol ---

local function encode(parts, command)
  parts[#parts + 1] = format("*%d\r\n", #command)
  for _, word in ipairs(command) do
    word = type(word) == "number" and format("%.14g", word) or tostring(word)
    parts[#parts + 1] = format("$%d\r\n", #word)
    parts[#parts + 1] = word
    parts[#parts + 1] = "\r\n"
  end
end

-- Raises what went wrong on the connection; `exchange` catches it.
local function broken(why) error({ broken = tostring(why) }, 0) end

local function receive(socket, what)
  local text, why = socket:receive(what)
  if not text then broken(why or "closed") end
  return text
end

-- One reply. Nil of Redis is false; an error reply is `{ err = text }`.
local function read(socket)
  local line = gsub(receive(socket, "*l"), "\r$", "")
  local kind, rest = sub(line, 1, 1), sub(line, 2)
  if kind == "+" then return rest end
  if kind == "-" then return { err = rest } end
  local count = match(rest, "^%-?%d+$") and tonumber(rest)
  if kind == ":" and count then return count end
  if kind == "$" and count then
    if count < 0 then return false end
    return sub(receive(socket, count + 2), 1, count)
  end
  if kind ~= "*" or not count then broken("expected a reply of Redis, found other bytes") end
  if count < 0 then return false end
  local list = {}
  for i = 1, count do list[i] = read(socket) end
  return list
end

-- Replies that say that the server is not to be used now.
local function is_unfit(reply)
  local word = type(reply) == "table" and reply.err and match(reply.err, "^(%u+)")
  return word == "LOADING" or word == "MASTERDOWN" or word == "READONLY"
end

local function send(self, commands)
  local parts = {}
  for _, command in ipairs(commands) do encode(parts, command) end
  local sent, why = self.socket:send(concat(parts))
  if not sent then broken(why) end
  local replies = {}
  for i = 1, #commands do
    replies[i] = read(self.socket)
    if is_unfit(replies[i]) then broken(replies[i].err) end
  end
  return replies
end

-- --- the connection ---

--- Closes the connection. The next command makes another.
function Redis:close()
  if self.socket then pcall(self.socket.close, self.socket) end
  self.socket, self.loaded = false, {}
end

local function connect(self)
  local target = self.target
  local socket, why = transport.connect(target)
  if not socket then broken(why) end
  self.socket, self.loaded, self.connections = socket, {}, self.connections + 1
  local commands = {}
  if target.password then
    commands[1] = target.user and { "AUTH", target.user, target.password }
      or { "AUTH", target.password }
  end
  if target.database then commands[#commands + 1] = { "SELECT", target.database } end
  for _, reply in ipairs(send(self, commands)) do
    if type(reply) == "table" and reply.err then broken(reply.err) end
  end
end

-- Loads the scripts of these commands, and returns the commands as they are sent.
local function prepared(self, commands)
  local ready, missing, names = {}, {}, {}
  for _, command in ipairs(commands) do
    local script = command.script
    if script and not self.loaded[script] and not names[script] then
      missing[#missing + 1], names[script] = { "SCRIPT", "LOAD", script }, true
    end
  end
  for i, reply in ipairs(send(self, missing)) do
    if type(reply) ~= "string" then broken(reply.err) end
    self.loaded[missing[i][3]] = reply
  end
  for i, command in ipairs(commands) do
    ready[i] = command
    if command.script then
      local words = { "EVALSHA", self.loaded[command.script], #command.keys }
      for _, key in ipairs(command.keys) do words[#words + 1] = key end
      for _, word in ipairs(command) do words[#words + 1] = word end
      ready[i] = words
    end
  end
  return ready
end

local function is_noscript(reply)
  return type(reply) == "table" and reply.err and sub(reply.err, 1, 8) == "NOSCRIPT"
end

local function exchange(self, commands)
  if not self.socket then connect(self) end
  local replies = send(self, prepared(self, commands))
  local again, places = {}, {}
  for i, reply in ipairs(replies) do
    if is_noscript(reply) then -- the scripts were flushed
      again[#again + 1], places[#places + 1] = commands[i], i
      self.loaded[commands[i].script] = nil
    end
  end
  if again[1] then
    for i, reply in ipairs(send(self, prepared(self, again))) do replies[places[i]] = reply end
  end
  return replies
end

--- Sends commands together, and returns their replies. A command is a list of words, or of the
-- arguments of a script, with `script` and `keys`.
-- @tparam table commands each may be carried out twice, if a connection breaks
-- @treturn[1] table replies: strings, numbers, lists, false for nil, `{ err = text }`
-- @treturn[2] nil
-- @treturn[2] string message
-- @raise an interrupt, after which the connection is closed
function Redis:pipeline(commands)
  local had_connection = self.socket
  for attempt = 1, 2 do
    local ok, replies = pcall(exchange, self, commands)
    if ok then return replies end
    self:close()
    local why = type(replies) == "table" and replies.broken
    if not why then error(replies, 0) end
    -- a server that could not be reached just now is not tried again at once
    if attempt == 2 or not had_connection then return nil, self.name .. ": " .. why end
  end
end

--- Sends one command.
-- @treturn[1] string|number|table|boolean reply
-- @treturn[2] nil
-- @treturn[2] string message, of an error reply too
function Redis:call(...)
  local command = select("#", ...) == 1 and type((...)) == "table" and (...) or { ... }
  local replies, why = self:pipeline{ command }
  if not replies then return nil, why end
  local reply = replies[1]
  if type(reply) == "table" and reply.err then return nil, self.name .. ": " .. reply.err end
  return reply
end

return Redis
