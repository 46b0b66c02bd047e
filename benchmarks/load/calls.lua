-- One workload of the API for wrk: what is called is named by the first argument, who calls it is
-- read from the file that is the second. A line of it: gamer_id, token, and what the work needs more.

local callers, work, at, stride, now_ms = {}, nil, 0, 1, 0
local client = {}

local function read_callers(path)
  for line in io.lines(path) do
    local caller = {}
    for word in string.gmatch(line, "%S+") do caller[#caller + 1] = word end
    callers[#callers + 1] = caller
  end
end

local function post(path, token, body)
  local target = token and (path .. "?token=" .. token) or path
  return wrk.format("POST", target, nil, body)
end

local function get(path, token)
  return wrk.format("GET", path .. "?token=" .. token)
end

local function more(path, token, query)
  return wrk.format("GET", path .. "?token=" .. token .. "&" .. query)
end

local function event(gamer, tournament, stamp, value)
  return string.format(
    '{"timestamp": %d, "metadata": {"playerId": "%s", "tournamentId": "%s"}, "payload": {"score": {"value": %d}}}',
    stamp, gamer, tournament, value)
end

-- Each stamp is one millisecond after the last, so that no event equals another.
local function stamped()
  at = at + 1
  return now_ms + at
end

local works = {}

function works.health() return wrk.format("GET", "/healthz") end

function works.score(caller)
  local stamp = stamped()
  return post("/api/v1/eventing", caller[2], event(caller[1], caller[3], stamp, math.random(1, 1000000)))
end

function works.batch()
  local events = {}
  for place = 1, 100 do
    local caller = callers[math.random(#callers)]
    events[place] = event(caller[1], caller[3], stamped(), math.random(1, 1000000))
  end
  return post("/api/v1/eventing/_batch", nil, '{"events": [' .. table.concat(events, ",") .. "]}")
end

function works.top(caller)
  return more("/api/v1/leaderboards/_byTournament/" .. caller[3], caller[2], "limit=100")
end

function works.top_fresh(caller)
  return more("/api/v1/leaderboards/_byTournament/" .. caller[3], caller[2], "limit=100&fresh=1")
end

function works.around(caller)
  return more("/api/v1/leaderboards/_byTournament/" .. caller[3], caller[2], "around=me&limit=20")
end

function works.around_fresh(caller)
  return more("/api/v1/leaderboards/_byTournament/" .. caller[3], caller[2], "around=me&limit=20&fresh=1")
end

function works.balance(caller) return get("/api/v1/wallet/lazyChain/balance", caller[2]) end

function works.session(caller)
  return post("/api/v1/session", nil, '{"gamer_id": "' .. caller[1] .. '", "device_id": "phone"}')
end

function works.new_session()
  return post("/api/v1/session", nil, '{"gamer_id": "new-' .. stamped() .. '", "device_id": "phone"}')
end

function works.join(caller)
  return post("/api/v1/tournaments/" .. caller[3] .. "/_join", caller[2], '{"joiningStake": 1}')
end

function works.claim(caller) return post("/api/v1/rewards/_claim", caller[2], "{}") end

function works.withdraw(caller) return post("/api/v1/wallet/_withdraw", caller[2], "") end

-- As a game in play: mostly scores, then looks at the board, now and then the rest.
function works.mix(caller)
  local dice = math.random(100)
  if dice <= 60 then return works.score(caller) end
  if dice <= 75 then return works.top(caller) end
  if dice <= 85 then return works.around(caller) end
  if dice <= 95 then return works.balance(caller) end
  return works.session(caller)
end

-- Work that each caller can do once: when all have, wrk stops.
local once = { join = true, claim = true, withdraw = true }
local turn = 0

function setup(thread) end

function init(args)
  work = args[1]
  read_callers(args[2])
  client.id, client.secret, now_ms = args[3], args[4], tonumber(args[5])
  wrk.headers["x-clientID"] = client.id
  wrk.headers["x-clientSecret"] = client.secret
  wrk.headers["Content-Type"] = "application/json"
  math.randomseed(now_ms)
end

function request()
  turn = turn + 1
  if turn > #callers then
    if once[work] then wrk.thread:stop() end
    turn = 1
  end
  return works[work](callers[turn])
end

function done(summary, latency)
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %.6f, "p50": %.3f, "p99": %.3f, "refused": %d, "broken": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
