-- Responses that are truncated after any of their bytes: to blocking calls, submitted calls and
-- calls inside nginx.
local crux = require "crux"
local core = require "crux.core"
local truncation = require "spec.support.truncation"
local fault = require "spec.support.fault"
local helper = require "spec.helper"
local nginx = require "spec.support.nginx"

local LANES = 16 -- calls at once

teardown(fault.stop)

describe("a blocking call:", function()
  truncation.describe_lengths(it, function(groups)
    local answers = {}
    for _, group in ipairs(groups) do
      local result, err = helper.check(core.cancel_order(group[1]))
      answers[#answers + 1] = result or err
    end
    return answers
  end, 1)
end)

describe("a submitted call:", function()
  local client = assert(crux.new{ token = helper.TOKEN, retries = 0, max_connections = LANES })

  teardown(function() client:close() end)

  truncation.describe_lengths(it, function(groups)
    local answers = {}
    for _, group in ipairs(groups) do
      local pendings = {}
      for i, arguments in ipairs(group) do
        pendings[i] = assert(client:submit("cancel_order", arguments))
      end
      for _, pending in ipairs(pendings) do
        local _, result, err = pending:wait()
        helper.check(result, err)
        answers[#answers + 1] = result or err
      end
    end
    return answers
  end, LANES)
end)

-- Runs in the handler; `groups` is put in front.
local HANDLER = [[
  local answers = {}
  for _, group in ipairs(groups) do
    local threads = {}
    for i, arguments in ipairs(group) do
      arguments.retries = 0
      threads[i] = ngx.thread.spawn(crux.cancel_order, arguments)
    end
    for _, thread in ipairs(threads) do
      local _, result, err = ngx.thread.wait(thread)
      answers[#answers + 1] = result or err
    end
  end
  return answers
]]

local function quote(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = ("[%s]=%s"):format(quote(key), quote(item))
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

describe("a call inside nginx: #tree #stock", function()
  local missing = nginx.missing()
  if missing then
    it("needs nginx", function() pending(missing) end)
    return
  end
  local server

  setup(function() server = nginx.start() end)

  teardown(function() server:close() end)

  truncation.describe_lengths(it, function(groups)
    return server:run("local groups = " .. quote(groups) .. "\n" .. HANDLER)
  end, LANES, "boundaries")
end)
