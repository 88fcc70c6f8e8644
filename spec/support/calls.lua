--- One attempt of a client, made in each of two ways: blocking on the caller's thread, and
-- submitted to the worker.
--
--     for _, way in ipairs(calls.WAYS) do
--       it("…, " .. way.name, function() assert.equal("accepted", way.call(client).outcome) end)
--     end
-- @module spec.support.calls
local crux = require "crux"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local libcurl = require "spec.support.libcurl"

local calls = {}

--- The two ways: a name, and a function that calls `cancel_order` with further arguments, checks
-- what it returns, and returns the result or the err.
calls.WAYS = {
  { name = "blocking", call = function(client, more)
    local result, err = helper.call(client.cancel_order, client, calls.order(more))
    return result or err
  end },
  { name = "submitted", call = function(client, more)
    local pending, why = client:submit("cancel_order", calls.order(more))
    if not pending then
      helper.check(nil, why)
      return why
    end
    local done, result, err = pending:wait()
    if not done then error "expected a call that was waited for to be done" end
    helper.check(result, err)
    return result or err
  end },
}

--- Arguments of a call, with further ones.
function calls.order(more)
  local made = { order_uuid = helper.ORDER, skus = { { supplier_uuid = helper.SUPPLIER } } }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

--- A TLS listener that answers every request with 204, unless these options of `fault.serve` say
-- otherwise (`tls = false` for none).
function calls.serve(more)
  local options = {
    tls = "good", script = helper.ANSWER, shared = { answer = helper.response(204) },
  }
  for name, value in pairs(more or {}) do options[name] = value end
  options.tls = options.tls or nil
  return fault.serve(options)
end

--- An answer in short: its outcome, and its status or kind.
function calls.brief(answer) return answer.outcome .. " " .. (answer.kind or answer.status) end

--- The fields of an answer that decide about a retry.
function calls.facts(answer)
  return { answer.outcome, answer.kind, answer.retryable, answer.meta.attempts }
end

--- A client of a server's.
-- @tparam ?table server
-- @tparam[opt] table more options
function calls.client(server, more)
  local made = {
    token = helper.TOKEN, base_url = server and server.base_url, retries = 0,
    timeout = 60, connect_timeout = 60,
  }
  for name, value in pairs(more or {}) do made[name] = value end
  return assert(crux.new(made))
end

--- One call of a client that is made for it and closed after it.
function calls.once(way, server, more)
  local client = calls.client(server, more)
  local answer = way.call(client)
  client:close()
  return answer
end

--- Whether libcurl resumes sessions of this version of TLS. With GnuTLS and below 8.8 it stores a
-- session before the tickets of TLS 1.3 have arrived.
function calls.resumes(version)
  local number, library = libcurl.here()
  return version ~= "1.3" or library ~= "GnuTLS" or number >= 0x080800
end

--- A script that answers one request, and closes the connection with Connection: close.
calls.CLOSING = [[
if not conn:request() then return end
conn:write("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
]]

--- A copy of a file.
function calls.copy(from, to)
  local source = assert(io.open(from, "rb"))
  local target = assert(io.open(to, "wb"))
  target:write((source:read("*a")))
  source:close()
  target:close()
end

--- Runs a function with a directory that is empty and is removed afterwards.
function calls.with_directory(fn)
  local made = assert(io.popen('mktemp -d "${TMPDIR:-/tmp}/crux-spec.XXXXXX"'))
  local dir = made:read("*l")
  made:close()
  local ok, why = pcall(fn, dir)
  os.execute("rm -rf " .. helper.quoted(dir))
  if not ok then error(why, 0) end
end

return calls
