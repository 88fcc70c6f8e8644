-- Counts calls in a shared dictionary, for all worker processes together, and shows them to
-- Prometheus in its text format. The labels have few values, so there are few keys.
local dict = ngx.shared.crux_metrics

local HEAD = "# HELP %s %s\n# TYPE %s counter\n"
local FAMILIES = {
  { "crux_calls_total", "Calls, by outcome, kind of error and HTTP status" },
  { "crux_call_seconds_total", "Seconds that calls took, by outcome" },
}

local metrics = {}

function metrics.count(answer, seconds)
  local outcome, kind, status = answer.outcome, answer.kind or "", answer.status or ""
  local calls = 'crux_calls_total{outcome="%s",kind="%s",status="%s"}'
  dict:incr(calls:format(outcome, kind, status), 1, 0)
  dict:incr(('crux_call_seconds_total{outcome="%s"}'):format(outcome), seconds, 0)
end

function metrics.show()
  local keys, parts = dict:get_keys(0), {}
  table.sort(keys)
  for _, family in ipairs(FAMILIES) do
    parts[#parts + 1] = HEAD:format(family[1], family[2], family[1])
    for _, key in ipairs(keys) do
      local is_member = key:find(family[1] .. "{", 1, true) == 1
      if is_member then parts[#parts + 1] = ("%s %s\n"):format(key, dict:get(key)) end
    end
  end
  ngx.header["Content-Type"] = "text/plain; version=0.0.4"
  ngx.print(parts)
end

return metrics
