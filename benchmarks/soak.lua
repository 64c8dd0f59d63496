-- What kumod runs in the soak: TLS, AUTH, refusals, a handler that waits, one that fails, maildirs.

local kumo = require 'kumo'

local VAR = assert(os.getenv 'KUMO_VAR')

kumo.on('init', function()
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name,
      path = VAR .. '/spool/' .. name,
      kind = os.getenv 'BENCH_KIND' or 'LocalDisk',
      min_free_space = '1%',
      min_free_inodes = '1%',
    }
  end
  kumo.configure_local_logs {
    log_dir = VAR .. '/log',
    max_segment_duration = '1 minute',
    min_free_space = '1%',
    min_free_inodes = '1%',
  }
  kumo.start_esmtp_listener {
    listen = os.getenv 'KUMO_SMTP_LISTEN',
    hostname = 'mx.test',
    relay_hosts = { '127.0.0.1' },
    max_message_size = 3000000,
    client_timeout = '20 seconds',
  }
  kumo.start_http_listener { listen = os.getenv 'KUMO_HTTP_LISTEN' }
end)

kumo.on('smtp_server_ehlo', function(domain, conn_meta)
  conn_meta:set_meta('ehlo', domain)
end)

kumo.on('smtp_server_mail_from', function(sender)
  if sender.user == 'blocked' then
    kumo.reject(550, '5.7.1 not from there')
  end
end)

kumo.on('smtp_server_rcpt_to', function(recipient)
  if recipient.user == 'nobody' then
    kumo.reject(550, '5.1.1 nobody lives here')
  elseif recipient.user == 'slow' then
    kumo.sleep(0.05)
  elseif recipient.user == 'fault' then
    error 'a fault of the policy'
  end
end)

kumo.on('smtp_server_auth_plain', function(_, authc, password)
  return authc == 'app' and password == 'sesame'
end)

kumo.on('smtp_server_message_received', function(msg)
  msg:set_meta('tenant', 'soak')
end)

kumo.on('get_queue_config', function()
  return kumo.make_queue_config {
    protocol = { maildir_path = VAR .. '/maildir/{{ domain_part }}/{{ local_part }}' },
    retry_interval = '2 seconds',
  }
end)
