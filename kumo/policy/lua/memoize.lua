-- kumo.memoize. The host keeps the values, for all states of the process; a state keeps what it made of them.
--
-- Whoever asks first for a value that is not there makes it, which is called a flight here; others wait
-- for it to land. A flight that does not land is abandoned, also when its handler is dropped or stopped.
local host, bridge = ...
local type, error, tostring, select, next = type, error, tostring, select, next
local setmetatable, isyieldable = setmetatable, coroutine.isyieldable
local format, concat, unpack, math_type = string.format, table.concat, table.unpack, math.type
local kumo, wrap, shown, fail = bridge.kumo, bridge.wrap, bridge.shown, bridge.fail
local flights_of_handler, address_text = bridge.flights, bridge.address_text
local find, abandon = host.memo_find, host.memo_abandon
local declare, begin, store = wrap(host.memo_declare), wrap(host.memo_begin), wrap(host.memo_store)
local fetch, json = wrap(host.memo_fetch), wrap(host.memo_json)

local TURNS = 100 -- times that a value may vanish between two looks at it

-- Cache -> { count, most, values = key -> { number, n, values... } }.
local made = {}

-- Keys ---------------------------------------------------------------------------------------

local function part(value)
  local kind = type(value)
  if kind == 'string' then return 's', value end
  if kind == 'number' then
    if math_type(value) == 'integer' then return 'i', tostring(value) end
    return 'f', format('%.17g', value)
  end
  if kind == 'nil' or kind == 'boolean' then return 'b', tostring(value) end
  local text = address_text(value)
  if text then return 's', text end
  return 't', json(value)
end

-- Arguments are part of the key: one text is as it is, anything else has types and lengths in front.
local function key_of(...)
  local count = select('#', ...)
  if count == 0 then return '' end
  local first = ...
  if count == 1 and type(first) == 'string' then return '=' .. first end
  local parts = {}
  for index = 1, count do
    local kind, text = part((select(index, ...)))
    parts[index] = kind .. #text .. ':' .. text
  end
  return concat(parts)
end

-- Values -------------------------------------------------------------------------------------

local function give(value)
  if value.n == 1 then return shown(value[1]) end
  local views = {}
  for index = 1, value.n do views[index] = shown(value[index]) end
  return unpack(views, 1, value.n)
end

-- Remembers what the host made of a kept value, so that it is made once in each state.
local function remember(name, key, number, count, ...)
  local cache = made[name]
  local value = { number = number, n = count, ... }
  if not cache.values[key] then
    cache.count = cache.count + 1
    -- The host drops values without telling; nothing tells them apart here, and few are made twice.
    if cache.count > cache.most then cache.count, cache.values = 1, {} end
  end
  cache.values[key] = value
  return value
end

local function value_of(name, key, number)
  local value = made[name].values[key]
  if value and value.number == number then return value end
  return remember(name, key, number, fetch(name, key, number))
end

-- Flights ------------------------------------------------------------------------------------

local Flight = { __metatable = false }

function Flight.__close(flight, problem)
  flight.others[flight.number] = nil
  local kind = type(problem)
  if kind == 'table' or kind == 'function' or kind == 'thread' then problem = tostring(problem) end
  abandon(flight.number, problem)
end

local function land(number, ...) return store(number, select('#', ...), ...) end

local function populate(name, key, number, fn, ...)
  local others = flights_of_handler()
  others[number] = name .. '\0' .. key
  local flight <close> = setmetatable({ others = others, number = number }, Flight)
  return remember(name, key, land(number, fn(...)))
end

local function refuse_own_flight(name, key)
  local place = name .. '\0' .. key
  for _, other in next, flights_of_handler() do
    if other == place then
      fail(format('the function memoized as `%s` asks for the value that it is about to make', name))
    end
  end
end

-- The function ---------------------------------------------------------------------------------

local function look_up(name, fn, ...)
  local key = key_of(...)
  for _ = 1, TURNS do
    local number = find(name, key)
    if not number then
      refuse_own_flight(name, key)
      local is_flight
      number, is_flight = begin(name, key, isyieldable())
      if is_flight then return give(populate(name, key, number, fn, ...)) end
    end
    if number then return give(value_of(name, key, number)) end
  end
  fail(format('the value memoized as `%s` was dropped again and again before it could be used', name))
end

function kumo.memoize(fn, options)
  if type(fn) ~= 'function' then
    error(format("bad argument #1 to 'kumo.memoize' (function expected, got %s)", type(fn)), 2)
  end
  if type(options) ~= 'table' then
    error(format("bad argument #2 to 'kumo.memoize' (table expected, got %s)", type(options)), 2)
  end
  local name, capacity = declare(options)
  made[name] = { count = 0, most = 2 * capacity + 16, values = {} }
  return function(...) return look_up(name, fn, ...) end
end
