--- The exit codes of the command, and errors that end it with one of them.
-- @module crux.cli.exit
local exit = {
  OK = 0,
  FAILED = 1, -- some orders were rejected, or the one call failed
  USAGE = 2, -- wrong arguments, bad input; a journal that exists, is locked or is bad
  UNKNOWN = 3, -- what came of an order is not known
  AUTH = 4, -- nobody is logged in
  STOPPED = 5, -- a run ended early and can be resumed
  CRASH = 70, -- EX_SOFTWARE of sysexits.h
}

--- What `crux --help` and the manual say about the codes.
exit.DOC = {
  { "0", "all accepted; status: all cancelled; get, list: all read" },
  { "1", "some rejected or failed; status: not all cancelled" },
  { "2", "wrong arguments or input; a journal exists or is bad" },
  { "3", "what came of some orders is not known" },
  { "4", "not logged in" },
  { "5", "ended early; crux resume continues" },
  { "70", "a fault of this program" },
  { "129, 130, 143", "SIGHUP; Ctrl-C or a closed output; SIGTERM" },
}

--- The code of a program that a signal ended.
function exit.by_signal(number) return 128 + number end

--- Ends the command: raises an error that `crux.cli` catches.
-- @tparam number code
-- @tparam[opt] string message for stderr
-- @tparam[opt] string advice a second line: what to do
function exit.fail(code, message, advice)
  error({ exit_code = code, message = message, advice = advice }, 0)
end

--- The code of a single call's error.
-- @tparam crux.err err
function exit.of_error(err)
  if err.kind == "invalid" then return exit.USAGE end
  if err.outcome == "unknown" then return exit.UNKNOWN end
  if err.kind == "auth" then return exit.AUTH end
  return exit.FAILED
end

return exit
