-- What wrk sends in one workload: wrk -s requests.lua URL -- WORKLOAD TAG
-- The ids are those of seed.sql; TOKEN is an admin's, from the environment. TAG keeps the addresses of new users apart from an earlier run's.

local rows = 1000
local threads = 0

local function id(kind, number)
    return string.format("be4c0000-0000-4000-%s-%012d", kind, number)
end

-- Formatted once: the generator shares the machine with what it measures.
local function gets(format, kind, headers)
    local texts = {}
    for number = 1, rows do
        texts[number] = wrk.format("GET", string.format(format, id(kind, number)), headers)
    end
    return function()
        return texts[math.random(rows)]
    end
end

local function post(path, body)
    return wrk.format("POST", path, nil, body)
end

local function creates_user(tag)
    local count = 0
    return function()
        count = count + 1
        return post("/api/users", string.format('{"email":"%s-%d-%d@bench.example","name":"Bench User"}', tag, number, count))
    end
end

local function creates_order()
    return post("/api/orders", string.format('{"user_id":"%s","product_id":"%s","quantity":1}',
        id("8000", math.random(rows)), id("9000", math.random(rows))))
end

-- choices: {share in percent, request}, of 100 together.
local function mix(choices)
    return function()
        local draw = math.random(100)
        for _, choice in ipairs(choices) do
            draw = draw - choice[1]
            if draw <= 0 then
                return choice[2]()
            end
        end
    end
end

local function health()
    local text = wrk.format("GET", "/health")
    return function()
        return text
    end
end

local workloads = {
    ["health"] = health,
    ["get-user"] = function() return gets("/api/users/%s", "8000") end,
    ["get-user-token"] = function()
        return gets("/api/users/%s", "8000", {["Authorization"] = "Bearer " .. os.getenv("TOKEN")})
    end,
    ["get-inventory"] = function() return gets("/api/inventory/%s", "9000") end,
    ["create-user"] = creates_user,
    ["create-order"] = function() return creates_order end,
    ["mixed"] = function(tag)
        return mix({
            {25, gets("/api/users/%s", "8000")},
            {25, gets("/api/inventory/%s", "9000")},
            {10, gets("/api/orders/%s", "a000")},
            {10, gets("/api/orders?user_id=%s", "8000")},
            {20, creates_order},
            {10, creates_user(tag)},
        })
    end,
}

function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end

function init(arguments)
    math.randomseed(number)
    wrk.headers["Content-Type"] = "application/json"
    request = workloads[arguments[1]](arguments[2])
end

-- wrk looks for it before init.
function request() end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("result %d %.3f %.2f %.2f %d %d\n", summary.requests, summary.duration / 1e6,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, errors.status,
        errors.connect + errors.read + errors.write + errors.timeout))
end
