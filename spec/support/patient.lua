--- Calls of a process that waits for the server's next action before its own next step, so that the
-- order of events, elsewhere a race, is certain.
--
--     local said = patient.run("connect", "blocking", [[ call(fault.serve{ … }) … ]])
--
-- In the script, `call(server, more)` makes a call and prints its outcome, kind or status,
-- attempts and sends. `seen(server)` compares the calls with the server's record, prints how many
-- connections there were and whether any byte of a request arrived (`some` or `none`), and
-- returns the record.
-- @module spec.support.patient
local forks = require "spec.support.forks"
local helper = require "spec.helper"

local patient = {}

local PREAMBLE = [[
local calls, fault = require "spec.support.calls", require "spec.support.fault"
local client, answers, way = calls.client(nil, { timeout = 20 }), {}, nil
for _, one in ipairs(calls.WAYS) do
  if one.name == os.getenv "CARRIER" then way = one end
end

local function call(server, more)
  local arguments = { base_url = server.base_url, ca_file = fault.ca_file }
  for name, value in pairs(more or {}) do arguments[name] = value end
  local answer = way.call(client, arguments)
  answers[server] = answers[server] or {}
  table.insert(answers[server], answer)
  print(answer.outcome, answer.kind or answer.status, answer.meta.attempts, answer.meta.sends)
  return answer
end

local function seen(server, lost)
  local record = server:audit(answers[server], lost)
  print(record.connections, record.bytes > 0 and "some" or "none")
  return record
end
]]

local EPILOGUE = "\nclient:close() fault.stop()"

local object

--- Runs a script in a new process.
-- @tparam string step after which the process waits until it can read: `"connect"`, `"handshake"`
--   (each flight of one), or `"count"` (of what the server has not acknowledged). `"before"`: it
--   waits before it writes its second request in plain text, and makes the file PATIENT_FLAG (fault
--   scripts have its name in their environment)
-- @tparam string carrier the name of one of `calls.WAYS`
-- @tparam string script
-- @treturn string what it printed, with single blanks for tabs
function patient.run(step, carrier, script)
  object = object or forks.compile("patient.c")
  local flag = os.tmpname()
  os.remove(flag)
  local said = helper.child(PREAMBLE .. script .. EPILOGUE, {
    LD_PRELOAD = object, PATIENT = step, CARRIER = carrier, PATIENT_FLAG = flag,
    ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0",
  }, "timeout 60")
  os.remove(flag)
  return (said:gsub("\t", " ")) .. "\n"
end

--- Removes the compiled library.
function patient.stop()
  if object then os.remove(object) end
  object = nil
end

return patient
