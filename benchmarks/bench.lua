-- What kumod runs against other servers: four events that do what policies do, trace fields, logs.
--
-- BENCH_STORE says what becomes of a message: `discard` (queue null), `keep` (spooled, and kept in its queue),
-- `deliver` (spooled, then delivered into a maildir).
-- BENCH_FLUSH=1 makes the spool survive a power loss, BENCH_KIND names its kind, BENCH_EVENTS=0 leaves the
-- events out, but for the one that discards. KUMO_VAR is the folder for all of it.

local kumo = require 'kumo'

local VAR = assert(os.getenv 'KUMO_VAR')
local STORE = os.getenv 'BENCH_STORE' or 'discard'
local HAS_EVENTS = os.getenv 'BENCH_EVENTS' ~= '0'

kumo.on('init', function()
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name,
      path = VAR .. '/spool/' .. name,
      kind = os.getenv 'BENCH_KIND' or 'LocalDisk',
      flush = os.getenv 'BENCH_FLUSH' == '1',
      min_free_space = '1%',
      min_free_inodes = '1%',
    }
  end
  kumo.configure_local_logs {
    log_dir = VAR .. '/log',
    headers = { 'Subject' },
    meta = { 'tenant' },
    min_free_space = '1%',
    min_free_inodes = '1%',
  }
  kumo.start_esmtp_listener {
    listen = os.getenv 'KUMO_SMTP_LISTEN' or '127.0.0.1:0',
    hostname = 'localhost',
    relay_hosts = { '127.0.0.1' },
    tls_certificate = os.getenv 'BENCH_CERTIFICATE',
    tls_private_key = os.getenv 'BENCH_KEY',
  }
end)

if HAS_EVENTS then
  kumo.on('smtp_server_ehlo', function(domain, conn_meta)
    conn_meta:set_meta('ehlo', domain)
  end)

  kumo.on('smtp_server_mail_from', function(sender)
    if sender.domain == 'blocked.example' then
      kumo.reject(550, '5.7.1 not from there')
    end
  end)

  kumo.on('smtp_server_rcpt_to', function(recipient)
    if recipient.user == 'nobody' then
      kumo.reject(550, '5.1.1 nobody lives here')
    end
  end)
end

if HAS_EVENTS or STORE == 'discard' then
  kumo.on('smtp_server_message_received', function(msg)
    if HAS_EVENTS then
      msg:set_meta('tenant', 'bench')
    end
    if STORE == 'discard' then
      msg:set_meta('queue', 'null')
    end
  end)
end

if STORE == 'deliver' then
  kumo.on('get_queue_config', function()
    return kumo.make_queue_config {
      protocol = { maildir_path = VAR .. '/maildir/{{ domain_part }}/{{ local_part }}' },
    }
  end)
end
