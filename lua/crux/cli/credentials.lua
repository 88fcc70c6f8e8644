--- Tokens that `crux login` keeps: one file for each service, in `$XDG_STATE_HOME/crux/`.
-- @module crux.cli.credentials
local exit = require "crux.cli.exit"
local json = require "crux.cli.json"
local system = require "crux.os"

local credentials = {}

-- The service's documentation: a token expires two hours after it was issued.
credentials.LIFETIME = 7200

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

--- Keeps a token. The file is replaced as a whole: who reads it at the same time gets the
-- old or the new one.
-- @tparam string base_url
-- @tparam table kept `token`, `username`, `issued`
-- @treturn string the file's path
function credentials.write(base_url, kept)
  credentials.make_directory()
  local path = credentials.path(base_url)
  local temporary = path .. ".new"
  os.remove(temporary)
  local file, why = system.open(temporary, "create")
  if not file then exit.fail(exit.FAILED, "expected to keep the token: " .. why) end
  local ok, failure = file:write(json.encode(kept) .. "\n")
  if ok then ok, failure = file:sync() end
  file:close()
  if ok then ok, failure = os.rename(temporary, path) end
  if not ok then
    os.remove(temporary)
    exit.fail(exit.FAILED, "expected to keep the token: " .. path .. ": " .. tostring(failure))
  end
  return path
end

return credentials
