-- Values that live longer than one call: views of what kumo.memoize keeps, and maps by domain.
--
-- A kept table must not change, and to copy it at each look would cost more than what it saves. So policy gets a
-- view: it reads from the kept table and becomes an ordinary table, one level deep, when it is written to.
local host, bridge = ...
local type, error, tostring, select = type, error, tostring, select
local rawget, next, setmetatable, math_type = rawget, next, setmetatable, math.type
local getmetatable, make_bare, format, globals = debug.getmetatable, debug.setmetatable, string.format, _G
local VIEW, MAP = host.view_mark, host.map_mark

local fail = bridge.fail

local MAX_DEPTH = 128

local View = { __metatable = false }
local DomainMap = { __name = 'DomainMap', __metatable = false }

local function add(root, domain, value)
  local node = root
  local last = #domain
  while true do
    local dot = last
    while dot > 0 and domain:byte(dot) ~= 46 do dot = dot - 1 end
    local label = domain:sub(dot + 1, last)
    local below = node[2]
    if not below then
      below = {}
      node[2] = below
    end
    node = below[label]
    if not node then
      node = {}
      below[label] = node
    end
    if dot == 0 then break end
    last = dot - 1
  end
  node[1] = value
end

-- Nodes are { value, nodes by label }, from the last label of the name to its first.
local function root_of(kept)
  local root = kept.root
  if not root then
    root = {}
    for domain, value in next, kept.entries do add(root, domain, value) end
    kept.root = root
  end
  return root
end

-- A map that reads from the same entries until one of the two is written to.
local function shared(map)
  local kept = rawget(map, MAP)
  kept.is_shared = true
  return setmetatable({ [MAP] = { entries = kept.entries, root = root_of(kept), is_shared = true } }, DomainMap)
end

-- What policy gets for a kept value.
local function shown(value)
  if type(value) ~= 'table' then return value end
  local class = getmetatable(value)
  if class == nil then return setmetatable({ [VIEW] = { value } }, View) end
  if class == DomainMap then return shared(value) end
  return value
end

bridge.shown = shown

function bridge.is_view(value) return getmetatable(value) == View end

-- Views ----------------------------------------------------------------------------------------

function View.__index(self, key)
  local kept = rawget(self, VIEW)
  local value = kept[1][key]
  if type(value) ~= 'table' then return value end
  local made = kept[2]
  if not made then
    made = {}
    kept[2] = made
  end
  -- The same one each time: what policy writes into it, it finds there.
  local child = made[key]
  if child == nil then
    child = shown(value)
    made[key] = child
  end
  return child
end

local function become_table(view)
  local kept = rawget(view, VIEW)
  local made = kept[2] or {}
  make_bare(view, nil)
  view[VIEW] = nil
  for key, value in next, kept[1] do
    local child = made[key]
    if child == nil then child = shown(value) end
    view[key] = child
  end
end

function View.__newindex(self, key, value)
  become_table(self)
  self[key] = value
end

function View.__len(self) return #rawget(self, VIEW)[1] end

function View.__pairs(self)
  become_table(self)
  return next, self, nil
end

function globals.next(...)
  local subject = ...
  if getmetatable(subject) == View then become_table(subject) end
  return next(...)
end

-- Maps by domain -------------------------------------------------------------------------------

local function refuse(value)
  local class = getmetatable(value)
  local kind = type(class) == 'table' and type(class.__name) == 'string' and class.__name or type(value)
  fail(format('a domain map cannot hold a %s', kind))
end

-- A copy that nobody else can change.
local function kept_copy(value, depth)
  local kind = type(value)
  if kind ~= 'table' then
    if kind == 'function' or kind == 'thread' or kind == 'userdata' then refuse(value) end
    return value
  end
  local class = getmetatable(value)
  if class == DomainMap then return shared(value) end
  if bridge.is_object(value) then return value end
  if class == View then
    local kept = rawget(value, VIEW)
    -- Nobody looked into its tables, so nobody wrote there.
    if not kept[2] then return kept[1] end
    become_table(value)
  elseif class ~= nil then
    refuse(value)
  end
  if depth >= MAX_DEPTH then
    fail(format('table is nested deeper than %d levels, or contains itself', MAX_DEPTH))
  end
  local copy = {}
  for key, item in next, value do
    if type(key) ~= 'string' and math_type(key) ~= 'integer' then
      fail(format('a table key must be a string or an integer, not a %s', type(key)))
    end
    copy[key] = kept_copy(item, depth + 1)
  end
  return copy
end

-- Once a label matches there is no way back to a wildcard above it.
local function find(root, domain)
  local node = root
  local last = #domain
  while true do
    local dot = last
    while dot > 0 and domain:byte(dot) ~= 46 do dot = dot - 1 end
    local below = node[2]
    local child = below and below[domain:sub(dot + 1, last)]
    if not child then
      local wildcard = below and below['*']
      return wildcard and wildcard[1]
    end
    node = child
    if dot == 0 then return node[1] end
    last = dot - 1
  end
end

local function new_map(entries) return setmetatable({ [MAP] = { entries = entries } }, DomainMap) end

-- A map of entries that were kept already and are lower case.
bridge.new_map = new_map

function DomainMap.__index(self, domain)
  if type(domain) ~= 'string' then return nil end
  return shown(find(root_of(rawget(self, MAP)), domain:lower()))
end

local function need_domain(domain)
  if type(domain) == 'string' then return domain:lower() end
  error(format('a domain map expects a domain (string) as key, not a %s', type(domain)), 3)
end

function DomainMap.__newindex(self, domain, value)
  domain = need_domain(domain)
  value = kept_copy(value, 0)
  local kept = rawget(self, MAP)
  if kept.is_shared then
    local entries = {}
    for name, item in next, kept.entries do entries[name] = item end
    kept.entries, kept.root, kept.is_shared = entries, nil, false
  end
  kept.entries[domain] = value
  if value == nil then
    kept.root = nil
  elseif kept.root then
    add(kept.root, domain, value)
  end
end

function DomainMap.__len(self)
  local count = 0
  for _ in next, rawget(self, MAP).entries do count = count + 1 end
  return count
end

function DomainMap.__pairs(self)
  local entries = rawget(self, MAP).entries
  return function(_, domain)
    local name, value = next(entries, domain)
    return name, shown(value)
  end, self, nil
end

bridge.kumo.domain_map = bridge.kumo.domain_map or {}

function bridge.kumo.domain_map.new(...)
  local map = new_map({})
  local entries = ...
  if entries == nil then return map end
  if type(entries) ~= 'table' then
    error(format("bad argument #1 to 'kumo.domain_map.new' (table expected, got %s)",
      select('#', ...) == 0 and 'no value' or type(entries)), 2)
  end
  local values = rawget(map, MAP).entries
  for domain, value in globals.pairs(entries) do
    if type(domain) ~= 'string' then
      error(format("bad argument #1 to 'kumo.domain_map.new' (domains (string) as keys expected, got %s)",
        tostring(domain)), 2)
    end
    values[domain:lower()] = kept_copy(value, 0)
  end
  return map
end
