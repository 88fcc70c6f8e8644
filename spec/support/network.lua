--- A network of a script's own, where what is sent to a server may be slow to get there: for what
-- loopback, where all is acknowledged at once, does not show.
--
--     local printed, why = network.run[[ … network.slow(server.port, 2000) … ]]
-- @module spec.support.network
local helper = require "spec.helper"

local network = {}

local PATH = 'PATH="$PATH:/usr/sbin:/sbin" '
-- One segment to a packet, so that a long request comes piece by piece.
local MAKE = "ip link set lo up mtu 1500 gso_max_segs 1 && tc qdisc add dev lo root handle 1: htb default 1 && " ..
  "tc class add dev lo parent 1: classid 1:1 htb rate 10gbit quantum 60000"
local PORTS = "/proc/sys/net/ipv4/ip_local_port_range"

local function execute(command)
  local status = os.execute(PATH .. command)
  if status ~= true and status ~= 0 then error("expected this to work: " .. command, 0) end
end

--- Runs a chunk in an interpreter and a network of its own; `network` is known in it.
-- @tparam string source
-- @tparam[opt] table environment variables to set
-- @treturn[1] string what it printed
-- @treturn[2] nil
-- @treturn[2] string why there can be none
function network.run(source, environment)
  local pipe = assert(io.popen(("%s unshare -n sh -c '%s && cat %s > %s && echo made' 2>&1"):format(PATH, MAKE, PORTS, PORTS)))
  local said = pipe:read("*a")
  pipe:close()
  if said ~= "made\n" then return nil, "expected leave to make a network, found: " .. said:gsub("\n", " ") end
  source = "local network = require 'spec.support.network' network.make()\n" .. source
  return helper.child(source, environment, PATH .. "unshare -n")
end

--- The script's own first step.
function network.make() execute(MAKE) end

local classes = 1

--- Lets what is sent to a port of this machine take its time, so many bytes a second. What comes
-- from there does not.
function network.slow(port, bytes)
  classes = classes + 1
  execute(("tc class add dev lo parent 1: classid 1:%d htb rate %dbps burst 100 cburst 100 quantum 1500"):format(classes, bytes))
  execute(("tc filter add dev lo parent 1: protocol ip u32 match ip dport %d 0xffff flowid 1:%d"):format(port, classes))
end

--- From now on connections have one of so many ports at this end, the same one as long as the other
-- end tells them apart.
function network.ports(count) execute(("echo 50000 %d > %s"):format(49999 + count, PORTS)) end

return network
