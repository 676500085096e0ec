-- What wrk sends. Arguments: kind ("find", "info" or "receipt"), number of people, a number of this run (seed and
-- fiscal sign), the Authorization header. At the end one line "RESULT {json}"; times in microseconds.

local head, tail, people, kind, run, counter, moment

function init(args)
    kind, people, run = args[1], tonumber(args[2]), tonumber(args[3])
    wrk.headers["Authorization"] = args[4]
    math.randomseed(run)
    counter = 0
    if kind ~= "receipt" then
        local whole = wrk.format("GET", kind == "find" and "/v1/card?msisdn=@" or "/v1/card/@")
        local at = whole:find("@", 1, true)
        head, tail = whole:sub(1, at - 1), whole:sub(at + 1)
    else
        wrk.headers["Content-Type"] = "application/json"
        moment = os.date("!%Y%m%dT%H%M%S", os.time() + 3 * 3600)  -- the shop's clock is Moscow's
    end
end

function request()
    local person = math.random(people)
    if kind == "find" then
        return head .. string.format("%.0f", 79000000000 + person) .. tail
    end
    if kind == "info" then
        return head .. string.format("%.0f", 2900000000000 + person) .. tail
    end
    counter = counter + 1
    local qr = string.format("t=%s&s=%d.00&fn=9999078900004792&i=%d&fp=%d&n=1",
                             moment, math.random(100, 9999), counter, run)
    local card = string.format("%.0f", 2900000000000 + person)
    return wrk.format("POST", nil, nil, '{"cardNumber":"' .. card .. '","qrCode":"' .. qr .. '"}')
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'RESULT {"requests":%d,"microseconds":%d,"p50":%.1f,"p99":%.1f,"bad_status":%d,"broken":%d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
