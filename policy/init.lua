-- The starting policy: take mail from this machine, keep it safe, deliver it into maildirs.
--
--   kumod --policy policy/init.lua
--   swaks -s 127.0.0.1:2025 -f a@example.com -t b@example.org
--   ls var/maildir/example.org/b/new
--
-- A policy is a Lua program. It runs once at start to say what shall exist, and its handlers are called for
-- what happens later. This one uses nothing but KumoMTA's functions, so it runs there as well.

local kumo = require 'kumo'

-- Everything that is written goes below this folder. Nothing here needs root.
local VAR = os.getenv 'KUMO_VAR' or './var'

-- `init` is called once, when the daemon starts. Spools, logs and listeners are declared here.
kumo.on('init', function()
  -- Two spools are needed: `data` keeps the messages, `meta` what is known about them. A message is
  -- in both before the client hears 250. `flush = true` makes that survive a power failure, too.
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name,
      path = VAR .. '/spool/' .. name,
      kind = 'LocalDisk',
      -- Below this the daemon answers 421 instead of taking mail. The default is 10%; a laptop's
      -- disk is often fuller than a mail server's should be.
      min_free_space = '1%',
      min_free_inodes = '1%',
    }
  end

  -- One JSON line for each thing that happens to a message, in zstd files:
  --   zstd -dc var/log/*
  kumo.configure_local_logs {
    log_dir = VAR .. '/log',
    -- A file is complete, and can be read to its end, when it is full, this old, or the daemon stops.
    max_segment_duration = '1 minute',
    headers = { 'Subject' },
    meta = { 'tenant' },
    min_free_space = '1%',
    min_free_inodes = '1%',
  }

  -- Where clients connect. Only the hosts in `relay_hosts` may send through this server. Think
  -- twice before you add any: a server that relays for everybody is an open relay.
  kumo.start_esmtp_listener {
    listen = os.getenv 'KUMO_SMTP_LISTEN' or '127.0.0.1:2025',
    relay_hosts = { '127.0.0.1', '::1' },
  }

  -- Liveness and metrics:
  --   curl http://127.0.0.1:8000/api/check-liveness/v1
  --   curl http://127.0.0.1:8000/metrics
  kumo.start_http_listener {
    listen = os.getenv 'KUMO_HTTP_LISTEN' or '127.0.0.1:8000',
  }
end)

-- Called for each message before it is stored. Change it, give it meta values, or refuse it:
--   kumo.reject(550, '5.7.1 not today')
kumo.on('smtp_server_message_received', function(msg, _conn_meta)
  -- The tenant becomes part of the queue's name, so that each tenant's mail waits in queues of its
  -- own. The header comes from the client: take it only when it looks as expected.
  local tenant = msg:get_first_named_header_value 'X-Tenant'
  if tenant and tenant:match '^[%w_-]+$' then
    msg:set_meta('tenant', tenant)
  end
end)

-- Called when a queue is needed. It says how the queue's messages are delivered and how often
-- delivery is tried again.
kumo.on('get_queue_config', function(_domain, _tenant, _campaign, _routing_domain)
  return kumo.make_queue_config {
    -- The parts in double braces are filled in for each recipient.
    protocol = {
      maildir_path = VAR .. '/maildir/{{ domain_part }}/{{ local_part }}',
    },
    retry_interval = '5 minutes',
    max_age = '1 day',
  }
end)
