#!/bin/sh
# A fleet on one machine: `make fleet-demo`. Starts a Redis and a sandbox of its own, puts 300 orders into a queue, has four
# workers send them, kills two of these, and prints the report. TEST_LUA names the Lua; ends with 1 if an order is lost.
set -eu

LUA=${TEST_LUA:-lua5.4}
here=$(cd "$(dirname "$0")/../.." && pwd)
directory=$(mktemp -d)
pids=

crux() { "$LUA" "$here/bin/crux" "$@"; }

stop() {
  for pid in $pids; do kill -9 "$pid" 2>/dev/null || :; done
  wait 2>/dev/null || :
  rm -rf "$directory"
}
trap stop EXIT
trap 'exit 1' INT TERM HUP

port=$("$LUA" -e 'print((select(2, require("socket").bind("127.0.0.1", 0):getsockname())))')
# appendfsync always: what Redis has confirmed is on the disk
redis-server --bind 127.0.0.1 --port "$port" --dir "$directory" --save '' --appendonly yes --appendfsync always \
  --maxmemory-policy noeviction >"$directory/redis.log" &
pids="$pids $!"
lua5.4 "$here/examples/sandbox.lua" --machine --plain --orders 300 >"$directory/sandbox" &
pids="$pids $!"
until grep -q '^$' "$directory/sandbox" 2>/dev/null; do sleep 0.05; done
value() { sed -n "s/^$1=//p" "$directory/sandbox"; }

# each answer takes 20 ms
CRUX_BASE_URL=$(value base_url)/~delay=20 CRUX_TOKEN=$(value token_retailer) CRUX_REDIS=redis://127.0.0.1:$port
export CRUX_BASE_URL CRUX_TOKEN CRUX_REDIS
value orders | tr , '\n' >"$directory/orders.txt"
until crux fleet status >/dev/null 2>&1 || [ $? -ne 1 ]; do sleep 0.05; done

crux fleet enqueue "$directory/orders.txt" --yes
worker() {
  "$LUA" "$here/bin/crux" fleet work --until-empty --timeout 1 --concurrency 2 --rate 100 --quiet &
  last=$!
  pids="$pids $last"
}
worker; first=$last
worker; second=$last
worker; third=$last
worker; fourth=$last
sleep 1
echo 'killing two of four workers with SIGKILL; their claims run out after 11 s'
kill -9 "$first" "$second"
wait "$third" || :
wait "$fourth" || :
crux fleet status || :
crux fleet reconcile || :
crux fleet report --json | tail -n 1
# 0: all accepted; 1: some were looked at; 3: some are unknown, and still open
code=0
crux fleet status >/dev/null || code=$?
[ "$code" -le 3 ]
