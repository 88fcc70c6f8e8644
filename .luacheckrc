-- luacheck: the globals that every Lua from 5.1 to 5.4 and LuaJIT has, and nothing else, unless a file is listed below.
std = "min"
max_line_length = 130
exclude_files = { "build" }

-- Servers and tools for development, which always run under lua5.4.
for _, path in ipairs{
  "lua/crux/sandbox.lua", "lua/crux/sandbox/", "examples/sandbox.lua", "examples/openresty/demo.lua", "spec/support/faultd.lua",
  "spec/support/http.lua", "spec/bench/openresty.lua",
} do
  files[path].std = "lua54"
end

files["spec/**/*.lua"].read_globals = { "loadstring", "setfenv" }
files["spec/**/*.lua"].max_line_length = 150
files["examples/**/*.lua"].read_globals = { "loadstring", "setfenv" }
files["spec/**/*_spec.lua"].std = "+busted"
files["spec/sweep/oom.lua"].std = "lua54"
files["spec/fuzz"].std = "lua54"
files["lua/crux/resty.lua"].read_globals = { "ngx" }
files["examples/game_host/plugin.lua"].globals = { "start", "frame", "stop" }
files["examples/openresty/handler.lua"].globals = { "ngx" }
files["examples/openresty/metrics.lua"].globals = { "ngx" }
files["rockspec/*.rockspec"].std = "rockspec"
