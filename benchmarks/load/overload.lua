-- Reads of balances for wrk, each connection waiting a while between two: so many a second come,
-- however fast they are answered. Arguments: milliseconds to wait, file of tokens, client id, secret.

local threads, tokens, turn, wait = {}, {}, 0, 0
counts = {}

function setup(thread) threads[#threads + 1] = thread end

function init(args)
  wait = tonumber(args[1])
  for line in io.lines(args[2]) do tokens[#tokens + 1] = line end
  wrk.headers["x-clientID"] = args[3]
  wrk.headers["x-clientSecret"] = args[4]
end

-- Spread out, so that they do not come in waves.
function delay() return math.floor(wait * (0.5 + math.random())) end

function request()
  turn = turn % #tokens + 1
  return wrk.format("GET", "/api/v1/wallet/lazyChain/balance?token=" .. tokens[turn])
end

function response(status, headers)
  local name = tostring(status)
  if status >= 400 and not (headers["retry-after"] or headers["Retry-After"]) then name = name .. " bare" end
  counts[name] = (counts[name] or 0) + 1
end

function done(summary)
  local parts = {}
  for _, thread in ipairs(threads) do
    for name, count in pairs(thread:get("counts")) do
      parts[#parts + 1] = string.format('"%s": %d', name, count)
    end
  end
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"seconds": %.6f, "broken": %d, "late": %d, "answers": {%s}}\n',
    summary.duration / 1e6, errors.connect + errors.read + errors.write, errors.timeout,
    table.concat(parts, ", ")))
end
