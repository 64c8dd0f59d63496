-- kumo.on, and the functions that the host calls for each event.
local host, bridge = ...
local type, error, tostring, pairs, ipairs = type, error, tostring, pairs, ipairs
local tonumber, tointeger, math_type, format = tonumber, math.tointeger, math.type, string.format
local getinfo = debug.getinfo
local kumo = bridge.kumo
local current_event, lines, defined_at = bridge.current_event, bridge.lines, bridge.defined_at
local fail = bridge.fail

-- Event -> list of { fn, lines where it was registered }.
local registered = {}
bridge.registered = registered

function kumo.on(name, fn)
  if type(name) ~= 'string' then
    error(format("bad argument #1 to 'kumo.on' (string expected, got %s)", type(name)), 2)
  end
  if type(fn) ~= 'function' then
    error(format("bad argument #2 to 'kumo.on' (function expected, got %s)", type(fn)), 2)
  end
  local event = current_event()
  if event and event ~= 'main' then
    error(format("Attempting to register an event handler via `kumo.on('%s', ...)` from within the event handler"
      .. " '%s'. Move it to the top level of the script: the file is evaluated anew for every Lua state, a"
      .. " registration inside a handler would be forgotten", name, event), 2)
  end
  local handlers = registered[name]
  if not handlers then
    registered[name] = { { fn, lines() } }
  elseif host.is_multiple(name) then
    handlers[#handlers + 1] = { fn, lines() }
  else
    error(format('%s event already has a handler defined at %s', name, defined_at(handlers[1][1])), 2)
  end
end

-- Verdicts -------------------------------------------------------------------------------------

local starting = { pre_init = true, init = true }

local function check_verdict(who, code, text)
  local number = tointeger(tonumber(code))
  if not number then
    error(format("bad argument #1 to '%s' (integer expected, got %s)", who, type(code)), 3)
  end
  if type(text) ~= 'string' and type(text) ~= 'number' then
    error(format("bad argument #2 to '%s' (string expected, got %s)", who, type(text)), 3)
  end
  text = tostring(text)
  local event = current_event()
  if not event or starting[event] then
    fail(format("%s(%d, '%s') called %s, where there is no peer to answer; `error` stops the start", who, number,
      text:gsub('%c', ' '), event and 'in ' .. event or 'at the top level of the script'))
  end
  return number, text
end

function kumo.reject(code, text)
  code, text = check_verdict('kumo.reject', code, text)
  error(host.make_verdict(code, text, 'If421'), 0)
end

function kumo.disconnect(code, text, mode)
  code, text = check_verdict('kumo.disconnect', code, text)
  if mode == nil then mode = 'ForceDisconnect' end
  if mode ~= 'ForceDisconnect' and mode ~= 'FollowWith421' and mode ~= 'If421' then
    error(format("bad argument #3 to 'kumo.disconnect' (expected one of `ForceDisconnect`, `FollowWith421`,"
      .. " `If421`, got `%s`)", tostring(mode)), 2)
  end
  error(host.make_verdict(code, text, mode), 0)
end

-- Entries --------------------------------------------------------------------------------------

local address, message = bridge.address, bridge.message

-- Batches of addresses as tables of texts, so that the host sees no object.
local function batches(result)
  if result == nil then return nil end
  local function fail(what)
    error('smtp_server_split_transaction must return nil or an array of arrays of addresses, not ' .. what, 0)
  end
  if type(result) ~= 'table' then fail('a ' .. type(result)) end
  local copy = {}
  for key in pairs(result) do
    if math_type(key) ~= 'integer' or key < 1 or key > #result then fail('a table with key ' .. tostring(key)) end
  end
  for index, batch in ipairs(result) do
    if type(batch) ~= 'table' or bridge.is_address(batch) then fail('an array of single addresses') end
    local texts = {}
    for position, recipient in ipairs(batch) do
      local text = bridge.address_text(recipient)
      if not text then fail('an array with a ' .. type(recipient) .. ' in place of an address') end
      texts[position] = text
    end
    copy[index] = texts
  end
  return copy
end

-- What each event's handler gets; the host passes a frame number, which objects refer to, and scalars.
local function shapes_with(connection)
  local shapes = {
    smtp_server_connection_accepted = function(frame) return connection(frame) end,
    smtp_server_get_dynamic_parameters = function(frame, via) return via, connection(frame) end,
    smtp_server_auth_plain = function(frame, authz, authc, password)
      return authz, authc, password, connection(frame)
    end,
    get_listener_domain = function(frame, domain, via) return domain, via, connection(frame) end,
    smtp_server_ehlo = function(frame, is_extended, domain, ...)
      if is_extended then return domain, connection(frame), { ... } end
      return domain, connection(frame)
    end,
    smtp_server_mail_from = function(frame, email) return address(email), connection(frame) end,
    smtp_server_data = function(frame) return message(frame), connection(frame) end,
    smtp_server_rewrite_response = function(frame, code, text, command)
      return code, text, command, connection(frame)
    end,
    spool_message_enumerated = function(frame) return message(frame) end,
  }
  shapes.smtp_server_rcpt_to = shapes.smtp_server_mail_from
  shapes.smtp_server_split_transaction = shapes.smtp_server_data
  shapes.smtp_server_message_received = shapes.smtp_server_data
  shapes.smtp_server_message_deferred_inject = shapes.smtp_server_data
  return shapes
end

-- Which argument the connection is, where it is not the second. For handlers that do not take it none is made: to
-- make it, and to remember it on both sides, costs a tenth of a small handler.
local position = {
  smtp_server_connection_accepted = 1, get_listener_domain = 3, smtp_server_auth_plain = 4,
  smtp_server_rewrite_response = 4,
}
local shapes, unconnected = shapes_with(bridge.connection), shapes_with(function() end)

local function plain(_, ...) return ... end

local UNBOUNDED = 255 -- more than any event has

-- How many arguments a function can tell from nil.
local function arity(fn)
  local info = getinfo(fn, 'u')
  return info.isvararg and UNBOUNDED or info.nparams
end

-- What the host gets in place of what a handler returns.
local results = {
  smtp_server_split_transaction = function(fn)
    return function(...) return batches(fn(...)) end
  end,
}

-- Asks one handler after the other until one answers; nil is no answer.
local function chain(handlers)
  return function(...)
    for _, handler in ipairs(handlers) do
      local answer = handler[1](...)
      if answer ~= nil then return answer end
    end
  end
end

-- Calls every handler, whatever they return.
local function each(handlers)
  return function(...)
    for _, handler in ipairs(handlers) do handler[1](...) end
  end
end

-- The host's function for an event, how many arguments the handler takes, and whether the connection is one of
-- them; nil without a handler. `as` names the event whose arguments it gets, `index` one handler of several.
function bridge.entry_for(event, as, index)
  local handlers = registered[event]
  if not handlers then return nil end
  local fn
  if index then
    fn = handlers[index][1]
  elseif event == 'pre_init' or event == 'validate_config' then
    fn = each(handlers)
  elseif host.is_multiple(event) then
    fn = chain(handlers)
  else
    fn = handlers[1][1]
  end
  as = as or event
  if results[as] then fn = results[as](fn) end
  local taken = arity(fn)
  local is_connected = taken >= (position[as] or 2)
  return bridge.entry(event, fn, (is_connected and shapes or unconnected)[as] or plain), taken, is_connected
end

-- Where the only handler of an event begins.
function bridge.place_of_handler(event)
  local handlers = event and registered[event]
  if handlers and #handlers == 1 then return defined_at(handlers[1][1]) end
end

function bridge.event_names()
  local names = {}
  for name in pairs(registered) do names[#names + 1] = name end
  return names
end

function bridge.registrars(name)
  local all = {}
  for index, handler in ipairs(registered[name] or {}) do all[index] = handler[2] end
  return all
end
