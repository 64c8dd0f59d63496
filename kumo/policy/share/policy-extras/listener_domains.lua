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

local NAME = 'policy-extras.listener_domains'

-- Where the caller of setup stands.
local function caller()
  local info = debug.getinfo(3, 'Sl')
  if not info or info.currentline < 1 then return NAME end
  return info.source:gsub('^@', '') .. ':' .. info.currentline
end

-- Reads the files and gives the handler of `get_listener_domain`.
function mod:setup(files)
  if type(files) ~= 'table' then
    error(('%s: setup expects a list of files, not a %s; call it with a colon'):format(NAME, type(files)), 2)
  end
  local opened = kumo.policy_extras.open_listener_domains(files, caller())
  local find = kumo.policy_extras.find_listener_domain

  return function(domain, listener, conn_meta)
    return find(opened, domain, listener, conn_meta:get_meta 'authz_id', conn_meta:get_meta 'received_from')
  end
end

return mod
