-- soak_submit.lua [COUNT [SEED]]: 100,000 submissions against a server that fails at random; its
-- record and the answers must agree item by item. `make soak`.
local crux = require "crux"
local core = require "crux.core"
local ledger = require "spec.support.ledger"
local process = require "spec.support.process"

local count, seed = tonumber(arg[1]) or 100000, tonumber(arg[2]) or math.floor(core.random() * 1e6)
print(("%d orders, seed %d"):format(count, seed))
local sandbox = process.sandbox{ orders = count, random = seed, plain = true }
local client = assert(crux.new{ base_url = sandbox.base_url, token = sandbox.tokens.retailer, timeout = 60 })
local before = core.now()
local ok, counts = pcall(ledger.cancel, sandbox, client, {
  concurrency = 32,
  on_progress = function(done) if done % 10000 == 0 then print(("%6d done"):format(done)) end end,
})
client:close()
sandbox:close()
if not ok then error(counts, 0) end
for outcome, number in pairs(counts) do print(outcome, number) end
print(("%.1f s; the server's record agrees, item by item"):format(core.now() - before))
