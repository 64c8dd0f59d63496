-- Which domains a listener takes mail for, and from whom, out of TOML or JSON files:
--
--   local listener_domains = require 'policy-extras.listener_domains'
--   kumo.on('get_listener_domain', listener_domains:setup { '/opt/kumomta/etc/listener_domains.toml' })
--
-- A file maps domains to the parameters of kumo.make_listener_domain, and to `relay_from_authz`, the
-- authorisation ids that may relay with a sender of the domain:
--
--   ["example.com"]
--   relay_to = true
--
--   ["*.example.net"]
--   relay_from = ["10.0.0.0/24"]
--   relay_from_authz = ["john"]
--
--   [listener."10.0.0.1:25"."example.org"]
--   log_oob = true
--
-- Tables may stand in place of file names. Where several name a domain, the later one's values count, key by
-- key. A changed file is read again when the configuration epoch changes, or after five minutes.
local kumo = require 'kumo'

local mod = {}
local setups = 0

local NAME = 'policy-extras.listener_domains'
local EVERY = '*'

-- Files ----------------------------------------------------------------------------------------

local function read(source, index)
  if type(source) == 'table' then return source, 'table #' .. index end
  if type(source) ~= 'string' then
    error(('%s: file #%d must be a file name or a table, not a %s'):format(NAME, index, type(source)), 0)
  end
  local is_json = source:lower():match '%.json$'
  return (is_json and kumo.json_load or kumo.toml_load)(source), source
end

local function each_of_scope(listener, domains, place, visit, complain)
  if type(domains) ~= 'table' then
    complain(place, ('listener `%s` must be a table of domains, not a %s'):format(listener, type(domains)))
    return
  end
  for domain, entry in pairs(domains) do
    if type(domain) ~= 'string' or type(entry) ~= 'table' then
      complain(place, ('domain `%s` must be a table with a name, not a %s'):format(domain, type(entry)))
    else
      visit(place, listener, domain:lower(), entry)
    end
  end
end

-- Calls `visit(place, listener, domain, entry)` for each entry of all files, in their order, and
-- `complain(place, text)` for what cannot be one.
local function each_entry(files, visit, complain)
  for index, source in ipairs(files) do
    local content, place = read(source, index)
    local domains = {}
    for name, value in pairs(content) do
      if name ~= 'listener' then domains[name] = value end
    end
    each_of_scope(EVERY, domains, place, visit, complain)
    local listeners = content.listener
    if listeners ~= nil and type(listeners) ~= 'table' then
      complain(place, ('`listener` must be a table of listeners, not a %s'):format(type(listeners)))
    elseif listeners then
      for listener, scope in pairs(listeners) do each_of_scope(listener, scope, place, visit, complain) end
    end
  end
end

-- How an entry is called in messages.
local function entry_name(listener, domain)
  if listener == EVERY then return ('domain `%s`'):format(domain) end
  return ('listener `%s`, domain `%s`'):format(listener, domain)
end

local function merge(listeners, place, listener, domain, entry)
  local domains = listeners[listener]
  if not domains then
    domains = {}
    listeners[listener] = domains
  end
  local merged = domains[domain]
  if not merged then
    merged = { parameters = {}, domain = domain }
    domains[domain] = merged
  end
  merged.place = place
  for key, value in pairs(entry) do
    if key == 'relay_from_authz' then merged.authz = value else merged.parameters[key] = value end
  end
end

-- Listener -> map of domains. `complaints` takes what is wrong; nil: nobody wants to know.
local function load(files, complaints)
  local function complain(place, text)
    if complaints then complaints[#complaints + 1] = { place, text } end
  end
  local listeners = {}
  each_entry(files, function(place, listener, domain, entry)
    if complaints then
      for _, problem in ipairs(kumo.policy_extras.listener_domain_problems(entry)) do
        complain(place, entry_name(listener, domain) .. ': ' .. problem)
      end
    end
    merge(listeners, place, listener, domain, entry)
  end, complain)
  local maps = {}
  for listener, domains in pairs(listeners) do maps[listener] = kumo.domain_map.new(domains) end
  return maps
end

-- The event --------------------------------------------------------------------------------------

local function find(maps, domain, listener)
  local own, every = maps[listener], maps[EVERY]
  local entry = own and own[domain]
  if entry then return entry, listener end
  if every then return every[domain] or every[EVERY], EVERY end
end

local function holds(list, wanted)
  if wanted == nil or type(list) ~= 'table' then return false end
  for _, item in ipairs(list) do
    if item == wanted then return true end
  end
  return false
end

-- An address without its port.
local function ip_of(address)
  return address:match '^%[(.*)%]:%d+$' or address:match '^(.*):%d+$' or address
end

local function parameters_for(entry, conn_meta)
  local peer = conn_meta:get_meta 'received_from'
  if not peer or not holds(entry.authz, conn_meta:get_meta 'authz_id') then return entry.parameters end
  local parameters = {}
  for key, value in pairs(entry.parameters) do parameters[key] = value end
  parameters.relay_from = { ip_of(peer) }
  return parameters
end

local function refuse(entry, listener, problem)
  local problems = kumo.policy_extras.listener_domain_problems(entry.parameters)
  error(('%s: %s: %s'):format(entry.place, entry_name(listener, entry.domain),
    #problems > 0 and table.concat(problems, '; ') or tostring(problem)), 0)
end

-- Where the caller of setup stands.
local function caller()
  local info = debug.getinfo(3, 'Sl')
  if not info or info.currentline < 1 then return NAME end
  return info.source:gsub('^@', '') .. ':' .. info.currentline
end

local function report(complaints, setup_place)
  for _, complaint in ipairs(complaints) do
    local place, text = complaint[1], complaint[2]
    if place:match '^table #%d+$' then place, text = setup_place, place .. ': ' .. text end
    if _VALIDATING_CONFIG then
      kumo.validation_failed(text, place)
    else
      kumo.log_error(('%s: %s'):format(place, text))
    end
  end
end

-- Reads the files and gives the handler of `get_listener_domain`.
function mod:setup(files)
  if type(files) ~= 'table' then
    error(('%s: setup expects a list of files, not a %s; call it with a colon'):format(NAME, type(files)), 2)
  end
  setups = setups + 1
  local id, complaints, last = setups, {}, nil

  local get_maps = kumo.memoize(function()
    local ok, maps = pcall(load, files, complaints)
    if ok then
      last = maps
    elseif last then
      -- What was right a minute ago serves better than none.
      kumo.log_error(('%s: the files are not read again: %s'):format(NAME, tostring(maps)))
    else
      error(maps, 0)
    end
    return last
  end, { name = NAME, ttl = '5 minutes', capacity = 10, invalidate_with_epoch = true })

  get_maps(id)
  report(complaints, caller())
  complaints = nil

  return function(domain, listener, conn_meta)
    local entry, scope = find(get_maps(id), domain, listener)
    if not entry then return nil end
    local ok, result = pcall(kumo.make_listener_domain, parameters_for(entry, conn_meta))
    if not ok then refuse(entry, scope, result) end
    return result
  end
end

return mod
