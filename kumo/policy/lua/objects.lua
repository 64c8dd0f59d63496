-- The objects that handlers get: tables of ours with a metatable, never Python objects. A method call
-- through such a table costs a tenth of one through the binding's own proxies, and a message's body
-- does not live on until Lua happens to collect garbage: an object only knows a number, which the
-- host forgets when the event is over.
local host, bridge = ...
local type, error, tostring, setmetatable = type, error, tostring, setmetatable
local rawget, next, ipairs, max, math_type = rawget, next, ipairs, math.max, math.type
local getmetatable, format, unpack, move = debug.getmetatable, string.format, table.unpack, table.move
local match, byte = string.match, string.byte
local kumo, wrap, fail = bridge.kumo, bridge.wrap, bridge.fail

local function read_only(name)
  return function(_, key) error(format('%s is read-only: cannot set `%s`', name, tostring(key)), 2) end
end

-- EnvelopeAddress ------------------------------------------------------------------------------

local EMAIL = {}
local QUOTE = byte('"')
local Address = { __name = 'EnvelopeAddress', __metatable = false, __newindex = read_only('EnvelopeAddress') }

local function address(email) return setmetatable({ [EMAIL] = email }, Address) end

local parsed, user, domain -- the address that was taken apart last, and its parts: they are asked for one by one

local function take_apart(email)
  user, domain = match(email, '^(.*)@([^@]*)$')
  parsed = email
  if not user then
    user, domain = email:lower(), ''
  elseif byte(user) == QUOTE then
    user = user:sub(2, -2):gsub('\\(.)', '%1')
  end
end

function Address.__index(self, key)
  local email = rawget(self, EMAIL)
  if key == 'email' then return email end
  if email ~= parsed then take_apart(email) end
  if key == 'domain' then return domain end
  if key == 'user' then return user end
end

function Address.__tostring(self) return rawget(self, EMAIL) end

function Address.__eq(a, b)
  return getmetatable(a) == Address and getmetatable(b) == Address and rawget(a, EMAIL) == rawget(b, EMAIL)
end

local function is_address(value) return getmetatable(value) == Address end

-- The text of an address given as text or object, nil for anything else.
local function address_text(value)
  if getmetatable(value) == Address then value = rawget(value, EMAIL) end
  if type(value) == 'string' then return value end
end

local function need_address(value, who, level)
  local text = address_text(value)
  if text then return text end
  error(format('%s expects an address (string or EnvelopeAddress), not a %s', who, type(value)), level or 3)
end

bridge.address, bridge.is_address, bridge.address_text = address, is_address, address_text

-- AddressHeader --------------------------------------------------------------------------------

local PARTS = {}
local AddressHeader = { __name = 'AddressHeader', __metatable = false, __newindex = read_only('AddressHeader') }
local single = { user = true, domain = true, email = true, name = true }

function AddressHeader.__index(self, key)
  local parts = rawget(self, PARTS)
  if single[key] and parts.problem then error(parts.problem, 2) end
  if single[key] or key == 'list' then return parts[key] end
end

function AddressHeader.__tostring(self) return rawget(self, PARTS).json end

local function address_header(parts)
  return parts and setmetatable({ [PARTS] = parts }, AddressHeader)
end

-- Numbers --------------------------------------------------------------------------------------

local Connection = { __name = 'ConnectionMeta', __metatable = false, __newindex = read_only('ConnectionMeta') }
local Message = { __name = 'Message', __metatable = false, __newindex = read_only('Message') }
local OwnedMessage = { __name = 'Message', __metatable = false, __newindex = read_only('Message') }

local function refuse_self(self, class, method)
  local noun = class == Connection and 'conn_meta' or 'msg'
  fail(format('bad self: use %s:%s(); %s expects a %s before its arguments, not a %s: call it with a colon',
    noun, method, method, class.__name, type(self)))
end

-- The objects made last and their numbers: nearly every method is called on one of them, and asks for it in line,
-- as a call would take as long as the method's own work. `values` is what was read of their meta since Lua was entered.
local latest_connection, latest_message = { object = {}, values = {} }, { object = {}, values = {} }
local kept = 0 -- values in both
local MOST_KEPT = 64 -- bounds what has to be forgotten for each handler

-- Forgets the values; called whenever Lua is entered or has waited for the host, as others write meta meanwhile.
function bridge.forget()
  if kept == 0 then return end
  kept = 0
  -- The same keys come again: in a table that had them they need no new memory.
  for key in next, latest_connection.values do latest_connection.values[key] = nil end
  for key in next, latest_message.values do latest_message.values[key] = nil end
end

-- The number of the object that a method was called on. Methods call the host directly, and there nothing but
-- scalars may arrive: policy can call a method with any `self`, and write into a table of ours.
local function connection_number(self, method)
  if self == latest_connection.object then return latest_connection.number end
  local number = getmetatable(self) == Connection and self[1]
  if math_type(number) == 'integer' then return number end
  refuse_self(self, Connection, method)
end

local function message_number(self, method)
  if self == latest_message.object then return latest_message.number end
  local class = getmetatable(self)
  local number = (class == Message or class == OwnedMessage) and self[1]
  if math_type(number) == 'integer' then return number end
  refuse_self(self, Message, method)
end

function bridge.connection(frame)
  local connection = setmetatable({ frame }, Connection)
  latest_connection.object, latest_connection.number = connection, frame
  return connection
end

function bridge.message(frame)
  local message = setmetatable({ frame }, Message)
  latest_message.object, latest_message.number = message, frame
  return message
end

-- Meta -----------------------------------------------------------------------------------------

local storable = { ['nil'] = true, boolean = true, number = true, string = true }

local function refuse_key(key, method)
  error(format('%s expects a string as key, not a %s', method, type(key)), 3)
end

-- get_meta and set_meta over two pairs of host functions: scalars go straight, tables by the detour. A call into
-- the host takes five times as long as all else here, so what was read once is not asked for again.
local function give_meta(methods, latest, number_of, get, set, get_table, set_table)
  local values = latest.values

  function methods.get_meta(self, key)
    local is_latest = self == latest.object
    if is_latest then
      local value = values[key]
      if value ~= nil then return value end
    end
    local number = is_latest and latest.number or number_of(self, 'get_meta')
    if type(key) ~= 'string' then refuse_key(key, 'get_meta') end
    local value, is_table = get(number, key)
    if is_table then return get_table(number, key) end
    if is_latest and value ~= nil and kept < MOST_KEPT then
      kept = kept + 1
      values[key] = value
    end
    return value
  end

  function methods.set_meta(self, key, value)
    local number = self == latest.object and latest.number or number_of(self, 'set_meta')
    if type(key) ~= 'string' then refuse_key(key, 'set_meta') end
    local kind = type(value)
    if storable[kind] then
      -- What is written is hardly ever read again by the same handler: to keep it would cost every other one.
      if kept > 0 then values[key] = nil end
      set(number, key, value)
    elseif kind == 'table' and (getmetatable(value) == nil or bridge.is_view(value)) then
      set_table(number, key, value)
    else
      local mt = getmetatable(value)
      kind = type(mt) == 'table' and type(mt.__name) == 'string' and mt.__name or kind
      error(format('set_meta expects a value that JSON can hold, not a %s', kind), 2)
    end
  end
end

-- Connection -----------------------------------------------------------------------------------

local connection_methods = {}
Connection.__index = connection_methods

give_meta(connection_methods, latest_connection, connection_number, host.connection_get_meta, host.connection_set_meta,
  wrap(host.connection_get_table), wrap(host.connection_set_table))

local auth_info = wrap(host.connection_auth_info)
function connection_methods.auth_info(self) return auth_info(connection_number(self, 'auth_info')) end

-- Message --------------------------------------------------------------------------------------

local message_methods = {}
local latest = latest_message
Message.__index, OwnedMessage.__index = message_methods, message_methods

-- Objects that Lua owns; the host learns from `dead` what it can forget. The collector must not
-- call it: it may run while the state is being closed.
local dead, told = {}, {}
local MOST_AT_ONCE = 10000 -- numbers; many more results would overflow Lua's stack

function OwnedMessage.__gc(self) dead[#dead + 1] = self[1] end

-- Some numbers of dead objects, nothing when there are none left.
function bridge.take_dead()
  -- The collector may run at any line and add to `dead`, so what is taken apart is a table of our own.
  if #told == 0 then told, dead = dead, {} end
  local count = #told
  local first = max(1, count - MOST_AT_ONCE + 1)
  local some = move(told, first, count, 1, {})
  for index = first, count do told[index] = nil end
  return unpack(some)
end

give_meta(message_methods, latest_message, message_number, host.message_get_meta, host.message_set_meta,
  wrap(host.message_get_table), wrap(host.message_set_table))

for _, name in ipairs { 'id', 'queue_name', 'num_attempts', 'increment_num_attempts' } do
  local fn = host['message_' .. name]
  message_methods[name] = function(self)
    return fn(self == latest.object and latest.number or message_number(self, name))
  end
end

local sender_of, set_sender = host.message_sender, host.message_set_sender

function message_methods.sender(self)
  return address(sender_of(self == latest.object and latest.number or message_number(self, 'sender')))
end

function message_methods.set_sender(self, sender)
  local number = message_number(self, 'set_sender')
  set_sender(number, need_address(sender, 'set_sender'))
end

local only_recipient, recipients_of = host.message_only_recipient, host.message_recipients
local AT_ONCE = 1000 -- recipients; many more results would overflow Lua's stack

local function recipients(number, count)
  local list = {}
  for first = 1, count, AT_ONCE do
    for _, email in ipairs { recipients_of(number, first, AT_ONCE) } do list[#list + 1] = address(email) end
  end
  return list
end

function message_methods.recipient_list(self)
  local number = self == latest.object and latest.number or message_number(self, 'recipient_list')
  local email, count = only_recipient(number)
  if email then return { address(email) } end
  return recipients(number, count)
end

function message_methods.recipient(self)
  local number = self == latest.object and latest.number or message_number(self, 'recipient')
  local email, count = only_recipient(number)
  if email then return address(email) end
  if count > 0 then return recipients(number, count) end
end

local function address_texts(value, who)
  if type(value) ~= 'table' or is_address(value) then return { need_address(value, who, 4) } end
  local texts = {}
  for index, item in ipairs(value) do texts[index] = need_address(item, who, 4) end
  if next(value) ~= nil and #texts == 0 then
    error(who .. ' expects an address or an array of addresses, not a table with other keys', 3)
  end
  return texts
end

function message_methods.set_recipient(self, value)
  local number = message_number(self, 'set_recipient')
  host.message_set_recipients(number, unpack(address_texts(value, 'set_recipient')))
end

-- Methods that need the content. When it is on the spool only, the host function gives true as
-- second result; then it is loaded, which waits, and asked again.
local load_content = wrap(host.message_load_content)

local function content_method(name, fn)
  message_methods[name] = function(self, a, b, c)
    local number = self == latest.object and latest.number or message_number(self, name)
    local value, is_absent = fn(number, a, b, c)
    if not is_absent then return value end
    load_content(number)
    return (fn(number, a, b, c))
  end
end

local function need_string(who, index, value, level)
  local kind = type(value)
  if kind == 'number' then return tostring(value) end
  if kind ~= 'string' then
    error(format("bad argument #%d to '%s' (string expected, got %s)", index, who, kind), level or 4)
  end
  return value
end

local get_data = host.message_get_data
content_method('get_data', function(frame) return get_data(frame) end)

for _, name in ipairs { 'set_data', 'remove_all_named_headers', 'get_first_named_header_value' } do
  local fn = host['message_' .. name]
  content_method(name, function(frame, text) return fn(frame, need_string(name, 1, text)) end)
end

-- In one piece, as policies call these for every message.
for _, name in ipairs { 'prepend_header', 'append_header' } do
  local fn = host['message_' .. name]
  message_methods[name] = function(self, field, value, encode)
    local number = self == latest.object and latest.number or message_number(self, name)
    if type(field) ~= 'string' then field = need_string(name, 1, field, 3) end
    if type(value) ~= 'string' then value = need_string(name, 2, value, 3) end
    local _, is_absent = fn(number, field, value, encode == true)
    if is_absent then
      load_content(number)
      fn(number, field, value, encode == true)
    end
  end
end

-- Where names are a list or nothing; the host gets whether there is a list, then its items. One of them writes meta.
local function names_method(name)
  local fn = host['message_' .. name]
  content_method(name, function(frame, names)
    bridge.forget()
    if names == nil then return fn(frame, false) end
    if type(names) ~= 'table' then
      error(format("bad argument #1 to '%s' (array of strings expected, got %s)", name, type(names)), 3)
    end
    local texts = {}
    for index, text in ipairs(names) do texts[index] = need_string(name, 1, text) end
    return fn(frame, true, unpack(texts))
  end)
end

names_method('import_x_headers')
names_method('remove_x_headers')

-- Methods whose result is a table; the host loads the content itself.
local all_values = wrap(host.message_get_all_named_header_values)
local all_headers = wrap(host.message_get_all_headers)
local get_address_header = wrap(host.message_get_address_header)

function message_methods.get_all_named_header_values(self, name)
  local number = message_number(self, 'get_all_named_header_values')
  return all_values(number, need_string('get_all_named_header_values', 1, name, 3))
end

function message_methods.get_all_headers(self) return all_headers(message_number(self, 'get_all_headers')) end

function message_methods.get_address_header(self, name)
  local number = message_number(self, 'get_address_header')
  return address_header(get_address_header(number, need_string('get_address_header', 1, name, 3)))
end

function message_methods.from_header(self)
  return address_header(get_address_header(message_number(self, 'from_header'), 'From'))
end

function message_methods.to_header(self)
  return address_header(get_address_header(message_number(self, 'to_header'), 'To'))
end

function bridge.message_stub(name, fn) message_methods[name] = message_methods[name] or fn end

function kumo.make_message(sender, recipient, content)
  sender = need_address(sender, 'kumo.make_message')
  local texts = address_texts(recipient, 'kumo.make_message')
  if type(content) ~= 'string' then
    error(format("bad argument #3 to 'kumo.make_message' (string expected, got %s)", type(content)), 2)
  end
  return setmetatable({ host.make_message(sender, content, unpack(texts)) }, OwnedMessage)
end

-- Objects made by constructors -----------------------------------------------------------------

local NUMBER, KIND, FIELDS = {}, {}, {}
local Object = { __name = 'KumoObject', __metatable = false, __newindex = read_only('the object') }

function Object.__index(self, key) return rawget(self, FIELDS)[key] end

function Object.__pairs(self) return next, rawget(self, FIELDS), nil end

function Object.__len(self) return #rawget(self, FIELDS) end

function Object.__tostring(self) return rawget(self, KIND) end

function Object.__gc(self) dead[#dead + 1] = rawget(self, NUMBER) end

function bridge.new_object(kind, number, fields)
  return setmetatable({ [NUMBER] = number, [KIND] = kind, [FIELDS] = fields }, Object)
end

function bridge.is_object(value) return getmetatable(value) == Object end

-- Kind, number and fields of any such object; nothing for anything else.
function bridge.object_parts(candidate)
  if getmetatable(candidate) == Object then
    return rawget(candidate, KIND), rawget(candidate, NUMBER), rawget(candidate, FIELDS)
  end
end

-- The host's number of an object of that kind; nil for anything else.
function bridge.object_number(kind, candidate)
  if type(candidate) == 'table' and getmetatable(candidate) == Object and rawget(candidate, KIND) == kind then
    return rawget(candidate, NUMBER)
  end
end
