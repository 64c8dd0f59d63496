-- A sink: accept everything that may be relayed, log it, and throw it away. For tests and benchmarks.
--
--   kumod --policy policy/sink.lua
--   smtp-source -c -s 20 -m 5000 -l 2048 -f a@example.com -t b@example.org 127.0.0.1:2025

local kumo = require 'kumo'

-- A folder of its own: the sink must not find, and throw away, what another policy has stored.
local VAR = (os.getenv 'KUMO_VAR' or './var') .. '/sink'

kumo.on('init', function()
  -- Spools must exist, though a message for the queue `null` is never written to them.
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name,
      path = VAR .. '/spool/' .. name,
      min_free_space = '1%',
      min_free_inodes = '1%',
    }
  end

  kumo.configure_local_logs {
    log_dir = VAR .. '/log',
    min_free_space = '1%',
    min_free_inodes = '1%',
  }

  kumo.start_esmtp_listener {
    listen = os.getenv 'KUMO_SMTP_LISTEN' or '127.0.0.1:2025',
    relay_hosts = { '127.0.0.1', '::1' },
  }

  -- Metrics only when asked for, so that a sink can run beside another daemon.
  local http = os.getenv 'KUMO_HTTP_LISTEN'
  if http then
    kumo.start_http_listener { listen = http }
  end
end)

-- The queue named `null` is where messages are forgotten.
kumo.on('smtp_server_message_received', function(msg, _conn_meta)
  msg:set_meta('queue', 'null')
end)
