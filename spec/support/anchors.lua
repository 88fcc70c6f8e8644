--- Runs a child process with other certificates in place of the system's, in a mount namespace.
--
--     local printed, why = anchors.run(fault.ca_file, fault.ca_path, [[ … ]])
-- @module spec.support.anchors
local calls = require "spec.support.calls"
local helper = require "spec.helper"

local anchors = {}

local BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
local MOUNT = [[
PATH="$PATH:/usr/sbin:/sbin" unshare -m sh -c 'mount --bind "$0" /etc/ssl/certs && exec "$@"' %s ]]

-- Why this is not possible here, or nil.
local function obstacle(before)
  local pipe = assert(io.popen(before .. "cat " .. BUNDLE .. " 2>&1"))
  local found = pipe:read("*a")
  pipe:close()
  if found:find("BEGIN CERTIFICATE", 1, true) then return nil end
  return "expected leave to mount, found: " .. found:sub(1, 200):gsub("\n", " ")
end

--- Runs a chunk in an interpreter that has these authorities as the system's, as a bundle and as a
-- directory.
-- @tparam string ca_file
-- @tparam string ca_path
-- @tparam string source
-- @tparam[opt] table environment variables to set
-- @treturn[1] string what it printed
-- @treturn[2] nil
-- @treturn[2] string why that cannot be done
function anchors.run(ca_file, ca_path, source, environment)
  local said, why
  calls.with_directory(function(dir)
    calls.copy(ca_file, dir .. "/ca-certificates.crt")
    os.execute(("cp %s/* %s"):format(helper.quoted(ca_path), helper.quoted(dir)))
    local before = MOUNT:format(helper.quoted(dir))
    why = obstacle(before)
    if not why then said = helper.child(source, environment, before) end
  end)
  return said, why
end

return anchors
