-- What kumod runs in the soak: TLS, AUTH, refusals, a handler that waits, one that fails, maildirs.

local kumo = require 'kumo'
local usual = require 'usual'

kumo.on('init', function()
  usual.define_spools()
  usual.configure_local_logs { max_segment_duration = '1 minute' }
  kumo.start_esmtp_listener {
    listen = os.getenv 'KUMO_SMTP_LISTEN',
    hostname = 'mx.test',
    relay_hosts = { '127.0.0.1' },
    max_message_size = 3000000,
    client_timeout = '20 seconds',
  }
  kumo.start_http_listener { listen = os.getenv 'KUMO_HTTP_LISTEN' }
end)

kumo.on('smtp_server_ehlo', usual.note_ehlo)
kumo.on('smtp_server_mail_from', usual.check_sender)

kumo.on('smtp_server_rcpt_to', function(recipient)
  usual.check_recipient(recipient)
  if recipient.user == 'slow' then
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
  return usual.maildirs { retry_interval = '2 seconds' }
end)
