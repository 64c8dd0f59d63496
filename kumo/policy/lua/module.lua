-- The module `kumo`: where policy finds the host's functions.
local host, bridge = ...
local kumo, direct, wrap, fail = bridge.kumo, bridge.direct, bridge.wrap, bridge.fail
local loaded = package.loaded

kumo.version = host.version
loaded.kumo = kumo

-- Exceptions of the host are userdata; their own text may hold what Lua strings cannot.
bridge.set_text = function(sample) debug.getmetatable(sample).__tostring = function(e) return host.text_of_error(e) end end

local function put(name, fn)
  local module, path, place = name:match('^([^:]*):(.*)$')
  if module then
    loaded[module] = loaded[module] or {}
    place, name = loaded[module], path
  else
    place, module = kumo, 'kumo'
  end
  for part, rest in name:gmatch('([^.]+)(%.?)') do
    if rest == '' then
      place[part] = place[part] or fn
    else
      place[part] = place[part] or {}
      place = place[part]
      module = module .. '.' .. part
      loaded[module] = place
    end
  end
end

function bridge.install(name, fn, is_scalar_only) put(name, (is_scalar_only and direct or wrap)(fn)) end

-- A name that KumoMTA has and we do not, yet: an error when it is called, not when it is read. Validating goes
-- on behind one that only declares: it hides no other mistake.
function bridge.install_missing(name, problem)
  local only_declares = name:find '^configure_' or name:find '^start_'
  put(name, function()
    if only_declares and _VALIDATING_CONFIG then kumo.validation_failed(problem) else fail(problem) end
  end)
end

function bridge.install_missing_method(name, problem)
  bridge.message_stub(name, function() fail(problem) end)
end

-- `share` has kumo's own helper modules; KumoMTA's, where they are installed, come first.
function bridge.set_search_path(folder, share)
  local path = '/opt/kumomta/share/?.lua;/opt/kumomta/share/?/init.lua;'
    .. '/opt/kumomta/etc/policy/?.lua;/opt/kumomta/etc/policy/?/init.lua;'
    .. share .. '/?.lua;' .. share .. '/?/init.lua;' .. package.path
  package.path = folder .. '/?.lua;' .. folder .. '/?/init.lua;' .. path

  -- Asked last, when no folder has the module. Level 3 is whoever called `require`.
  table.insert(package.searchers, function(name)
    if name:find('policy-extras.', 1, true) == 1 then
      local text = "module '%s' is a part of KumoMTA that kumo lacks: put KumoMTA's share folder at /opt/kumomta/share"
      error(text:format(name), 3)
    end
  end)
end
