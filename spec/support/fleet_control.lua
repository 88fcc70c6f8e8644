--- Takes the rule away from the script `claim`: an order goes again once its claim ran out, as in a
-- queue without crux's rule. For the controls of storms; run before a worker starts.
-- @module spec.support.fleet_control
local scripts = require "crux.fleet.scripts"

local RULE = "if record.state == 'queued' then"

local from, to = scripts.claim:find(RULE, 1, true)
scripts.claim = scripts.claim:sub(1, from - 1)
  .. "if record.state == 'queued' or record.state == 'sending' and record.claim ~= id then"
  .. scripts.claim:sub(to + 1)
