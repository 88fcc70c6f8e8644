--- Tokens that `crux login` keeps: one file for each service, in `$XDG_STATE_HOME/crux/`.
-- @module crux.cli.credentials
local core = require "crux.core"
local exit = require "crux.cli.exit"
local json = require "crux.cli.json"
local system = require "crux.os"

local credentials = {}

-- The service's documentation: a token expires two hours after it was issued.
credentials.LIFETIME = 7200

-- How long a login of another process is waited for, and how often it is looked for, in seconds.
local PATIENCE, SLICE = 5, 0.05

--- The directory in which the command keeps tokens and journals.
-- @treturn string
function credentials.directory()
  local state = os.getenv "XDG_STATE_HOME"
  -- the specification of XDG directories: a relative path is to be ignored
  if not state or state:sub(1, 1) ~= "/" then
    local home = os.getenv "HOME"
    if not home or home == "" then
      exit.fail(exit.USAGE, "expected HOME or XDG_STATE_HOME in the environment, found neither")
    end
    state = home .. "/.local/state"
  end
  return state .. "/crux"
end

--- Makes that directory, and those above it.
-- @treturn string its path
function credentials.make_directory()
  local directory = credentials.directory()
  local at = 1
  while at do
    at = directory:find("/", at + 1, true)
    local path = at and directory:sub(1, at - 1) or directory
    local made, why, name = system.mkdir(path)
    if not made and name ~= "EEXIST" and not system.stat(path) then
      exit.fail(exit.FAILED, "expected to make a directory: " .. why)
    end
  end
  return directory
end

--- The file with the token for a service.
function credentials.path(base_url)
  return credentials.directory() .. "/token-" .. base_url:gsub("[^%w.-]+", "_") .. ".json"
end

local function is_private(status)
  return status.owned and status.kind == "file" and status.mode % 64 == 0
end

-- A login in progress has this file.
local function being_written(base_url) return credentials.path(base_url) .. ".new" end

--- Reads the kept token for a service.
-- @tparam string base_url
-- @treturn[1] table `token`, `username`, `issued` (seconds since the epoch)
-- @treturn[2] nil
-- @treturn[2] string why there is none
function credentials.read(base_url)
  local path = credentials.path(base_url)
  local file, why, name = system.open(path, "read")
  if not file then
    if name == "ENOENT" then return nil, "nobody is logged in at " .. base_url end
    return nil, why
  end
  local status = file:stat()
  local text = is_private(status) and file:read(0, 65536)
  file:close()
  if not text then
    return nil, ("%s: expected a file that its owner alone can read, run: chmod 600 %s"):format(
      path, path)
  end
  local ok, kept = json.decode(text)
  if not ok or type(kept) ~= "table" or type(kept.token) ~= "string"
    or type(kept.username) ~= "string" or type(kept.issued) ~= "number" then
    return nil, path .. ": expected a token, found something else: log in again"
  end
  return kept
end

--- The same, for a token that was refused: while another process logs in, its token is waited for.
-- @tparam string base_url
-- @tparam string refused
function credentials.read_newer(base_url, refused)
  local deadline = core.now() + PATIENCE
  while true do
    local kept, why = credentials.read(base_url)
    local is_newer = kept and kept.token ~= refused
    if is_newer or not system.stat(being_written(base_url)) or core.now() > deadline then
      return kept, why
    end
    core.sleep(SLICE)
  end
end

-- --- writing ---

local function cannot_keep(why) exit.fail(exit.FAILED, "expected to keep the token: " .. why) end

--- Makes ready to keep a token, before it is asked for.
-- @tparam string base_url
-- @treturn table for `keep` or `give_up`
function credentials.begin(base_url)
  credentials.make_directory()
  local temporary = being_written(base_url)
  os.remove(temporary) -- of a login that was killed
  local file, why = system.open(temporary, "create")
  if not file then cannot_keep(why) end
  return { file = file, temporary = temporary, path = credentials.path(base_url) }
end

--- Keeps no token.
-- @tparam table begun
function credentials.give_up(begun)
  begun.file:close()
  os.remove(begun.temporary)
end

--- Keeps a token. The file is replaced as a whole: who reads it at the same time gets the old or
-- the new one.
-- @tparam table begun
-- @tparam table kept `token`, `username`, `issued`
-- @treturn string the file's path
function credentials.keep(begun, kept)
  local ok, why = begun.file:write(json.encode(kept) .. "\n")
  if ok then ok, why = begun.file:sync() end
  if ok then ok, why = os.rename(begun.temporary, begun.path) end
  if not ok then
    credentials.give_up(begun)
    cannot_keep(tostring(why))
  end
  begun.file:close()
  return begun.path
end

return credentials
