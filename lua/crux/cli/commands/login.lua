--- crux login: asks for a user's name and password, and keeps the token.
-- @module crux.cli.commands.login
local credentials = require "crux.cli.credentials"
local exit = require "crux.cli.exit"
local flags = require "crux.cli.flags"
local output = require "crux.cli.output"
local session = require "crux.cli.session"
local system = require "crux.os"
local words = require "crux.cli.words"

local command = {
  summary = "log in, and keep the token for the other commands",
  description = "Asks at the terminal for a user's name and password, and keeps the token in "
    .. "$XDG_STATE_HOME/crux/ (or ~/.local/state/crux/), in a file that its owner alone can "
    .. "read. The service ends a token two hours after the login. $CRUX_TOKEN is used before a "
    .. "kept token.",
}

function command.configure(parser)
  parser:option("--username", "the user's name (default $CRUX_USERNAME, else asked for)")
    :argname "<name>"
  parser:flag("--password-stdin", "read the password from stdin, up to the end of the first line")
  flags.service(parser)
end

local function ask(question, with_echo)
  local answer, why, name = system.prompt(question, with_echo)
  if answer then return answer end
  local count, _, number = system.signals()
  if count > 0 then exit.fail(exit.by_signal(number)) end
  if name == "ENXIO" or name == "ENOENT" then
    exit.fail(exit.USAGE, "expected a terminal to ask at, found none",
      "give --username, and the password on stdin with --password-stdin")
  end
  exit.fail(exit.FAILED, "expected an answer: " .. why)
end

local function password_from_stdin()
  local line = io.stdin:read("*l")
  local password = line and line:gsub("\r$", "") or ""
  if password == "" then exit.fail(exit.USAGE, "expected a password on stdin, found none") end
  return password
end

local function ask_for_password()
  local password = ask("Password: ", false)
  if password == "" then exit.fail(exit.USAGE, "expected a password, found none") end
  return password
end

local function print_failure(err, out)
  out:json("error", {
    { "outcome", err.outcome }, { "kind", err.kind }, { "status", err.status },
    { "message", words.message(err) }, { "hint", words.hint(err) },
  })
  if out.is_json then return end
  out:warn("crux: " .. words.message(err))
  local hint = words.hint(err)
  if hint then out:warn("  " .. hint) end
end

-- Asks the service for a token, and returns the answer's; nil and a code, once the failure is told.
local function token_of(opened, out, username, password)
  local result, err = opened:call("login", { username = username, password = password },
    { is_safe = true })
  session.check(out)
  if not result then
    if err.kind == "invalid" then session.usage(err) end
    print_failure(err, out)
    return nil, err.kind == "auth" and exit.AUTH or exit.FAILED
  end
  local body = result.body
  if type(body) == "table" and type(body.auth_token) == "string" then return body.auth_token end
  exit.fail(exit.FAILED, "expected a token in the answer, found none")
end

function command.run(arguments)
  local out = output.new(arguments)
  local opened = session.open(arguments, { tokenless = true })
  out:note("logging in at " .. opened.base_url)
  local username = arguments.username or os.getenv "CRUX_USERNAME"
  if not username or username == "" then username = ask("Username: ", true) end
  local password = arguments.password_stdin and password_from_stdin() or ask_for_password()
  local begun, issued = credentials.begin(opened.base_url), os.time()
  local ran, token, code = pcall(token_of, opened, out, username, password)
  if not ran or not token then credentials.give_up(begun) end
  if not ran then error(token, 0) end
  if not token then return code end
  local path = credentials.keep(begun, { token = token, username = username, issued = issued })
  out:json("login", { { "username", username }, { "base_url", opened.base_url }, { "file", path } })
  out:text(("logged in as %s; the token is kept in %s"):format(output.printable(username), path))
  if os.getenv "CRUX_TOKEN" then
    out:warn("crux: CRUX_TOKEN is set, and is used before this token")
  end
  return out.broken and exit.by_signal(2) or exit.OK
end

return command
