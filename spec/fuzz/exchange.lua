-- exchange.lua DIR: writes the seeds of spec/fuzz/exchange.c, one for each way in which a peer may behave.
-- The actions are those of `act` there.
local directory = assert(arg[1], "usage: exchange.lua DIR")

local ONE, TWO, THREE, LARGE = 0, 1, 2, 128 -- the first byte: how many calls, and whether they are large
local READ_ALL, TURN = "\1", "\5"
local function read(hundreds) return "\0" .. string.char(hundreds) end
local function write(text) return "\2" .. string.char(#text) .. text end
local function answer(index) return "\3" .. string.char(index) end
-- Before the next call, while the connection is idle.
local function idle(action) return string.char(action:byte() + 128) .. action:sub(2) end
local SHUTDOWN, CLOSE, RESET = "\4\0", "\4\1", "\4\2"
local TURNS = TURN:rep(4)
local NO_CONTENT, SIZED, CHUNKED, INTERIM, THROTTLED, TOO_LARGE, CLOSING, OLD, SHORT = 0, 1, 2, 3, 4, 5, 6, 7, 8

local whole = TURNS .. READ_ALL .. answer(NO_CONTENT) .. TURN
local seeds = {
  -- three answered calls on one connection, of each framing
  { THREE, whole:rep(3) },
  { THREE, TURNS, READ_ALL, answer(SIZED), TURNS, READ_ALL, answer(CHUNKED), TURNS, READ_ALL, answer(INTERIM),
    answer(THROTTLED) },
  -- it speaks first, on a fresh and on a kept connection
  { TWO, TURN, answer(NO_CONTENT), TURNS }, { TWO, answer(NO_CONTENT), TURNS },
  { TWO, TURNS, READ_ALL, answer(NO_CONTENT), answer(THROTTLED), TURNS },
  { TWO, whole, idle(answer(NO_CONTENT)), whole },
  { TWO, TURNS, READ_ALL, write("HTTP/1.1 204 X\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), TURNS, READ_ALL, answer(SIZED) },
  -- it closes at each point
  { TWO, TURN, CLOSE }, { TWO, TURN, RESET }, { TWO, TURNS, CLOSE }, { TWO, TURNS, READ_ALL, RESET },
  { TWO, TURNS, READ_ALL, write("HTTP/1.1 2"), SHUTDOWN, TURNS },
  { TWO, TURNS, READ_ALL, answer(SHORT), CLOSE, TURNS, whole },
  { TWO, whole, idle(CLOSE), whole }, { TWO, whole, idle(SHUTDOWN), whole }, { TWO, whole, idle(RESET), whole },
  -- it keeps no connection
  { TWO, TURNS, READ_ALL, answer(CLOSING), TURNS, CLOSE, whole },
  { TWO, TURNS, READ_ALL, answer(OLD), TURNS, CLOSE, whole },
  -- it answers in the middle of a large request
  { LARGE + TWO, TURNS, read(3), answer(TOO_LARGE), TURNS, CLOSE, whole },
  { LARGE + TWO, TURNS, read(3), answer(CLOSING), TURNS, RESET },
  { LARGE + TWO, TURNS, read(3), RESET, whole },
  { LARGE + ONE, (TURN .. READ_ALL):rep(20), answer(NO_CONTENT) },
  { LARGE + TWO, TURNS, answer(NO_CONTENT), (TURN .. READ_ALL):rep(20) },
  { LARGE + TWO, TURNS, read(3), answer(NO_CONTENT), (TURN .. READ_ALL):rep(20), answer(NO_CONTENT) },
  { LARGE + TWO, (TURN .. READ_ALL):rep(12), answer(NO_CONTENT), TURNS, read(3), RESET, TURNS },
}

for i, seed in ipairs(seeds) do
  local file = assert(io.open(("%s/%03d"):format(directory, i), "wb"))
  file:write(string.char(table.remove(seed, 1)), table.concat(seed))
  file:close()
end
