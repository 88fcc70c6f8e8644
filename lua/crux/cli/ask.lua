--- What is shown before a bulk run, and the question.
-- @module crux.cli.ask
local crux = require "crux"
local exit = require "crux.cli.exit"
local system = require "crux.os"

local ask = {}

-- What an order takes about, for telling whether a run may outlive its token, in seconds.
local ABOUT = 0.5

local function service(base_url)
  if base_url == crux.PRODUCTION then return base_url .. " (production)" end
  if base_url == crux.SANDBOX then return base_url .. " (sandbox)" end
  return base_url
end

local function account_text(account)
  if account.name then return account.name end
  return ("not known: the token is from %s"):format(account.source)
end

--- Shows whom a run reaches, as whom, and what it cancels.
-- @tparam table out
-- @tparam table facts `base_url`, `account`, `count`, `first` (UUIDs), `journal`
-- @tparam boolean is_asked whether a question follows: then it is shown with `--quiet` too
function ask.show(out, facts, is_asked)
  local say = is_asked and out.warn or out.note
  say(out, "service   " .. service(facts.base_url))
  say(out, "account   " .. account_text(facts.account))
  say(out, "orders    " .. facts.count)
  for i, uuid in ipairs(facts.first) do
    say(out, (i == 1 and "first     " or "          ") .. uuid)
  end
  say(out, "journal   " .. facts.journal)
end

--- Tells that a run may take longer than its token lasts.
-- @tparam table out
-- @tparam table account
-- @tparam number count of orders
-- @tparam number concurrency
-- @tparam ?number rate
function ask.warn_of_expiry(out, account, count, concurrency, rate)
  if not account.expires then return end
  local left = account.expires - os.time()
  local needed = math.max(rate and count / rate or 0, count * ABOUT / concurrency)
  if left <= 0 then
    out:warn("crux: the token is more than two hours old: run crux login first")
  elseif needed > left then
    out:warn(("crux: the token expires in %d min, and the run may take %d min:"):format(
      math.floor(left / 60), math.ceil(needed / 60)))
    out:warn("  crux login in another terminal renews it while the run goes on")
  end
end

--- Asks whether to go on. Any answer but yes, and having nobody to ask, ends the command.
-- @tparam string question
function ask.confirm(question)
  local answer, why, name = system.prompt(question .. " [y/N] ", true)
  if answer then
    answer = answer:lower():gsub("%s", "")
    if answer == "y" or answer == "yes" then return end
    exit.fail(exit.USAGE, "nothing was sent")
  end
  local count, _, number = system.signals()
  if count > 0 then exit.fail(exit.by_signal(number), "nothing was sent") end
  if name == "ENXIO" or name == "ENOENT" then
    exit.fail(exit.USAGE, "expected a terminal to ask at, found none; nothing was sent",
      "--yes goes on without a question")
  end
  exit.fail(exit.USAGE, why .. "; nothing was sent")
end

return ask
