-- The objects that handlers get: tables of ours with a metatable, never Python objects. A method call
-- through such a table costs a tenth of one through the binding's own proxies, and a message's body
-- does not live on until Lua happens to collect garbage: an object only knows a number, which the
-- host forgets when the event is over.
local host, bridge = ...
local type, error, tostring, setmetatable = type, error, tostring, setmetatable
local rawget, next, ipairs, min = rawget, next, ipairs, math.min
local getmetatable, format, unpack = debug.getmetatable, string.format, table.unpack
local kumo, wrap = bridge.kumo, bridge.wrap

local function read_only(name)
  return function(_, key) error(format('%s is read-only: cannot set `%s`', name, tostring(key)), 2) end
end

-- EnvelopeAddress ------------------------------------------------------------------------------

local EMAIL = {}
local Address = { __name = 'EnvelopeAddress', __metatable = false, __newindex = read_only('EnvelopeAddress') }

local function address(email) return setmetatable({ [EMAIL] = email }, Address) end

function Address.__index(self, key)
  local email = rawget(self, EMAIL)
  if key == 'email' then return email end
  local user, domain = email:match('^(.*)@([^@]*)$')
  if key == 'domain' then return domain or '' end
  if key == 'user' then
    if not user then return email:lower() end
    if user:sub(1, 1) == '"' then user = user:sub(2, -2):gsub('\\(.)', '%1') end
    return user
  end
end

function Address.__tostring(self) return rawget(self, EMAIL) end

function Address.__eq(a, b)
  return getmetatable(a) == Address and getmetatable(b) == Address and rawget(a, EMAIL) == rawget(b, EMAIL)
end

local function is_address(value) return getmetatable(value) == Address end

-- The text of an address given as text or object, nil for anything else.
local function address_text(value)
  if type(value) == 'string' then return value end
  if getmetatable(value) == Address then return rawget(value, EMAIL) end
end

local function need_address(value, who)
  local text = address_text(value)
  if text then return text end
  error(format('%s expects an address (string or EnvelopeAddress), not a %s', who, type(value)), 3)
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

-- Meta -----------------------------------------------------------------------------------------

local storable = { ['nil'] = true, boolean = true, number = true, string = true }

local function need_key(key, who)
  if type(key) ~= 'string' then error(format('%s expects a string as key, not a %s', who, type(key)), 3) end
end

-- get_meta and set_meta over two pairs of host functions: scalars go straight, tables by the detour.
local function give_meta(methods, get, set, get_table, set_table)
  function methods.get_meta(self, key)
    need_key(key, 'get_meta')
    local value, is_table = get(self[1], key)
    if is_table then return get_table(self[1], key) end
    return value
  end
  function methods.set_meta(self, key, value)
    need_key(key, 'set_meta')
    if storable[type(value)] then
      set(self[1], key, value)
    elseif type(value) == 'table' and getmetatable(value) == nil then
      set_table(self[1], key, value)
    else
      local mt = getmetatable(value)
      local kind = type(mt) == 'table' and type(mt.__name) == 'string' and mt.__name or type(value)
      error(format('set_meta expects a value that JSON can hold, not a %s', kind), 2)
    end
  end
end

-- Connection -----------------------------------------------------------------------------------

local connection_methods = {}
local Connection = {
  __name = 'ConnectionMeta', __metatable = false, __index = connection_methods,
  __newindex = read_only('ConnectionMeta'),
}

function bridge.connection(frame) return setmetatable({ frame }, Connection) end

give_meta(connection_methods, host.connection_get_meta, host.connection_set_meta,
  wrap(host.connection_get_table), wrap(host.connection_set_table))

local auth_info = wrap(host.connection_auth_info)
function connection_methods.auth_info(self) return auth_info(self[1]) end

-- Message --------------------------------------------------------------------------------------

local message_methods = {}
local Message = {
  __name = 'Message', __metatable = false, __index = message_methods, __newindex = read_only('Message'),
}
-- Objects that Lua owns; the host learns from `dead` what it can forget. The collector must not
-- call it: it may run while the state is being closed.
local dead = {}
local OwnedMessage = {
  __name = 'Message', __metatable = false, __index = message_methods, __newindex = read_only('Message'),
  __gc = function(self) dead[#dead + 1] = self[1] end,
}

function bridge.message(frame) return setmetatable({ frame }, Message) end

function bridge.take_dead()
  local all = dead
  dead = {}
  return unpack(all, 1, min(#all, 200000))
end

give_meta(message_methods, host.message_get_meta, host.message_set_meta,
  wrap(host.message_get_table), wrap(host.message_set_table))

for _, name in ipairs { 'id', 'queue_name', 'num_attempts', 'increment_num_attempts' } do
  local fn = host['message_' .. name]
  message_methods[name] = function(self) return fn(self[1]) end
end

function message_methods.sender(self) return address(host.message_sender(self[1])) end

function message_methods.set_sender(self, sender)
  host.message_set_sender(self[1], need_address(sender, 'set_sender'))
end

function message_methods.recipient_list(self)
  local list = {}
  for index = 1, host.message_recipient_count(self[1]) do
    list[index] = address(host.message_recipient(self[1], index))
  end
  return list
end

function message_methods.recipient(self)
  local count = host.message_recipient_count(self[1])
  if count == 0 then return nil end
  if count == 1 then return address(host.message_recipient(self[1], 1)) end
  return message_methods.recipient_list(self)
end

local function address_texts(value, who)
  if type(value) ~= 'table' or is_address(value) then return { need_address(value, who) } end
  local texts = {}
  for index, item in ipairs(value) do texts[index] = need_address(item, who) end
  if next(value) ~= nil and #texts == 0 then
    error(who .. ' expects an address or an array of addresses, not a table with other keys', 3)
  end
  return texts
end

function message_methods.set_recipient(self, value)
  host.message_set_recipients(self[1], unpack(address_texts(value, 'set_recipient')))
end

-- Methods that need the content. When it is on the spool only, the host function gives true as
-- second result; then it is loaded, which waits, and asked again.
local load_content = wrap(host.message_load_content)

local function content_method(name, fn)
  message_methods[name] = function(self, ...)
    local value, is_absent = fn(self[1], ...)
    if not is_absent then return value end
    load_content(self[1])
    return (fn(self[1], ...))
  end
end

local function need_string(who, index, value)
  local kind = type(value)
  if kind == 'number' then return tostring(value) end
  if kind ~= 'string' then
    error(format("bad argument #%d to '%s' (string expected, got %s)", index, who, kind), 4)
  end
  return value
end

content_method('get_data', host.message_get_data)

for _, name in ipairs { 'set_data', 'remove_all_named_headers', 'get_first_named_header_value' } do
  local fn = host['message_' .. name]
  content_method(name, function(frame, text) return fn(frame, need_string(name, 1, text)) end)
end

for _, name in ipairs { 'prepend_header', 'append_header' } do
  local fn = host['message_' .. name]
  content_method(name, function(frame, field, value, encode)
    return fn(frame, need_string(name, 1, field), need_string(name, 2, value), encode == true)
  end)
end

-- The same, where names are a list or nothing; the host gets whether there is a list, then its items.
local function names_method(name)
  local fn = host['message_' .. name]
  content_method(name, function(frame, names)
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
  return all_values(self[1], need_string('get_all_named_header_values', 1, name))
end

function message_methods.get_all_headers(self) return all_headers(self[1]) end

function message_methods.get_address_header(self, name)
  return address_header(get_address_header(self[1], need_string('get_address_header', 1, name)))
end

function message_methods.from_header(self) return address_header(get_address_header(self[1], 'From')) end

function message_methods.to_header(self) return address_header(get_address_header(self[1], 'To')) end

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

-- The host's number of an object of that kind; nil for anything else.
function bridge.object_number(kind, candidate)
  if type(candidate) == 'table' and getmetatable(candidate) == Object and rawget(candidate, KIND) == kind then
    return rawget(candidate, NUMBER)
  end
end
