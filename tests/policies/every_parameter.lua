-- Every parameter of kumo.start_esmtp_listener, at each place where it is legal, as a KumoMTA policy
-- would give it. tests/policy/test_every_parameter.py knows what must come out.
local kumo = require 'kumo'

-- What may differ by connection. `salt` makes the values of one block tell from those of another.
local function overrides(salt)
  return {
    hostname = 'mx' .. salt .. '.example.com',
    banner = 'banner ' .. salt,
    relay_hosts = { '10.0.' .. salt .. '.0/24', '2001:db8::' .. salt },
    client_timeout = '1 minute ' .. salt .. ' seconds',
    data_processing_timeout = 300 + salt,
    data_buffer_size = 65536 + salt,
    max_message_size = 20 * 1024 * 1024 + salt,
    max_recipients_per_message = 100 + salt,
    max_messages_per_connection = 1000 + salt,
    line_length_hard_limit = 2000 + salt,
    invalid_line_endings = 'Fix',
    deferred_spool = true,
    deferred_queue = true,
    batch_handling = 'BatchByDomain',
    trace_headers = {
      received_header = false,
      supplemental_header = false,
      header_name = 'X-Ref-' .. salt,
      include_meta_names = { 'tenant', 'campaign' },
    },
    tls_certificate = '/etc/kumo/' .. salt .. '.pem',
    tls_private_key = { key_data = 'octets \0\xff of ' .. salt },
    tls_required_client_ca = {
      vault_mount = 'secret',
      vault_path = 'tls/ca' .. salt,
      vault_key = 'bundle',
      vault_address = 'http://127.0.0.1:8200',
      vault_token = 'token ' .. salt,
    },
    allow_xclient = true,
    require_proxy_protocol = true,
    meta = { tenant = 'tenant ' .. salt, tags = { 'a', 'b' }, nested = { deep = { salt } } },
  }
end

local function with(fields, more)
  for key, value in pairs(more) do fields[key] = value end
  return fields
end

kumo.on('init', function()
  kumo.define_spool { name = 'data', path = './var/spool/data' }
  kumo.define_spool { name = 'meta', path = './var/spool/meta' }

  kumo.start_esmtp_listener(with(overrides(1), {
    listen = '127.0.0.1:2525',
    max_connections = 12,
    peer = {
      ['192.0.2.0/24'] = with(overrides(2), {
        peer = { ['192.0.2.128/25'] = { banner = 'upper half' } },
        via = { ['any'] = with(overrides(3), { via = { ['::1'] = {} } }) },
      }),
      ['192.0.2.7'] = { banner = 'one peer' },
    },
    via = {
      ['10.0.0.0/8'] = {
        tls_private_key = { event_name = 'get_key', event_args = { 'mx', 4 } },
      },
    },
  }))
end)

kumo.on('get_key', function(name, number) return name .. number end)

kumo.on('smtp_server_get_dynamic_parameters', function(via, conn_meta)
  conn_meta:set_meta('asked_for', via)
  return with(overrides(5), { peer = { ['192.0.2.7'] = { banner = 'dynamic' } } })
end)
