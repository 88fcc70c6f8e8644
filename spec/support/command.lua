--- Runs the command `crux`: without a terminal, or at a pseudo-terminal.
--
--     local place = command.place(sandbox)           -- a directory with its own state
--     local ran = place:run("status UUID", { input = "…", env = { TERM = "dumb" } })
--     ran.out, ran.err, ran.code
--     local terminal = place:terminal("login", { columns = 80 })
--     terminal:expect("Password: ") terminal:type("…\n") terminal:finish() → code
--     place:remove()
-- @module spec.support.command
local cjson = require("cjson").new()
local files = require "spec.support.files"
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local quoted = files.quoted

-- How long a spec waits for what has to come, in seconds: a failure, not a measurement.
local PATIENCE = 60

local terminals

-- The module of spec/support/terminal.c, compiled when it is first needed.
local function library()
  if not terminals then
    local object = forks.compile("terminal.c", "-lutil")
    local open, why = package.loadlib(object, "luaopen_terminal")
    os.remove(object)
    terminals = assert(open, why)()
  end
  return terminals
end

local command = {}

local Place = {}
Place.__index = Place

local CLEARED = {
  "CRUX_TOKEN", "CRUX_USERNAME", "CRUX_PASSWORD", "CRUX_BASE_URL", "CRUX_CA_FILE", "NO_COLOR",
  "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy",
  "NO_PROXY", "LUA_INIT", "LUA_INIT_5_2", "LUA_INIT_5_3", "LUA_INIT_5_4",
}

--- Makes a directory for files, tokens and journals.
-- @tparam[opt] table sandbox from `process.sandbox`: where the command goes, as its retailer
function command.place(sandbox)
  local directory = files.lines("mktemp -d")[1]
  local self = setmetatable({ directory = directory, env = {} }, Place)
  self.env.XDG_STATE_HOME, self.env.TERM = directory .. "/state", "xterm"
  if sandbox then
    self.env.CRUX_BASE_URL, self.env.CRUX_CA_FILE = sandbox.base_url, sandbox.ca_file
    self.env.CRUX_TOKEN = sandbox.tokens.retailer
  end
  return self
end

--- A path in the place; with `text`, a file is written there.
function Place:path(name, text)
  local path = self.directory .. "/" .. name
  if text then files.write(path, text) end
  return path
end

--- The command as a shell's.
function Place:line(words, options)
  local parts, root = { "env" }, files.lines("pwd")[1]
  for _, name in ipairs(CLEARED) do parts[#parts + 1] = "-u " .. name end
  for _, env in ipairs{ self.env, options and options.env or {} } do
    for name, value in pairs(env) do parts[#parts + 1] = name .. "=" .. quoted(value) end
  end
  parts[#parts + 1] = helper.lua
  parts[#parts + 1] = quoted(root .. "/bin/crux")
  parts[#parts + 1] = words
  local before = options and options.before or ""
  return ("cd %s && exec %s %s"):format(quoted(self.directory), before, table.concat(parts, " "))
end

--- Runs the command without a terminal.
-- @tparam string words of the shell
-- @tparam[opt] table options `env`, `input` (a text for stdin), `redirect` (after
--   the command), `before` (a program that runs it)
-- @treturn table `out`, `err`, `code`
function Place:run(words, options)
  options = options or {}
  local input = self:path("stdin", options.input or "")
  local out, err = self:path("stdout"), self:path("stderr")
  -- setsid: nobody is to be asked, whoever runs the specs
  local line = ("setsid -w sh -c %s <%s >%s 2>%s %s; echo $?"):format(
    quoted(self:line(words, options)),
    quoted(input), quoted(out), quoted(err), options.redirect or "")
  local code = tonumber(files.lines("{ " .. line .. "; }")[1])
  return { out = files.read(out), err = files.read(err), code = code }
end

--- The lines of JSON in a text, decoded.
function command.objects(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do list[#list + 1] = cjson.decode(line) end
  return list
end

local Terminal = {}
Terminal.__index = Terminal

--- Runs the command at a pseudo-terminal.
-- @tparam string words of the shell
-- @tparam[opt] table options `env`, `columns` (80)
function Place:terminal(words, options)
  options = options or {}
  local fd, pid = library().spawn(self:line(words, options), options.columns or 80)
  return setmetatable({ fd = fd, pid = pid, shown = "", place = 1 }, Terminal)
end

--- Reads until a text has been shown, after the last one that was expected.
-- @tparam string text
-- @treturn string what was shown before it
function Terminal:expect(text)
  local left = PATIENCE
  while true do
    local from, to = self.shown:find(text, self.place, true)
    if from then
      local before = self.shown:sub(self.place, from - 1)
      self.place = to + 1
      return before
    end
    local more = library().read(self.fd, 0.1)
    left = left - 0.1
    if not more or left < 0 then error("expected " .. text .. ", found " .. self.shown, 2) end
    self.shown = self.shown .. more
  end
end

--- Types a text.
function Terminal:type(text) library().write(self.fd, text) end

--- Whether what is typed shows.
function Terminal:echo() return library().echo(self.fd) end

--- Hangs the terminal up.
function Terminal:hang_up()
  library().close(self.fd)
  self.fd = nil
end

--- Sends the process a signal.
function Terminal:signal(number) forks.kill(self.pid, number) end

--- Reads until the process has ended.
-- @treturn[1] number exit code
-- @treturn[2] nil
-- @treturn[2] number the signal that ended it
function Terminal:finish()
  while self.fd do
    local more = library().read(self.fd, PATIENCE)
    if not more then break end
    if more == "" then
      error("expected the process to end, found that it has shown " .. self.shown, 2)
    end
    self.shown = self.shown .. more
  end
  local code, signal = forks.waitpid(self.pid, PATIENCE)
  self.ended = true
  return code, signal
end

--- Lets go of the terminal; ends the process, if it is still there.
function Terminal:close()
  if not self.ended then
    forks.kill(self.pid, 9)
    forks.waitpid(self.pid, PATIENCE)
  end
  if self.fd then self:hang_up() end
end

--- Removes the directory.
function Place:remove() os.execute("rm -rf " .. quoted(self.directory)) end

return command
