-- What kumod runs against other servers: four events that do what policies do, trace fields, logs.
--
-- BENCH_STORE says what becomes of a message: `discard` (queue null), `keep` (spooled, and kept in its queue),
-- `deliver` (spooled, then delivered into a maildir).
-- BENCH_EVENTS=0 leaves the events out, but for the one that discards. BENCH_PATTERNS is how many patterns each
-- content is held against. The other variables are those of usual.lua.

local kumo = require 'kumo'
local usual = require 'usual'

local STORE = os.getenv 'BENCH_STORE' or 'discard'
local PATTERNS = tonumber(os.getenv 'BENCH_PATTERNS')
local HAS_EVENTS = os.getenv 'BENCH_EVENTS' ~= '0'

kumo.on('init', function()
  usual.define_spools()
  usual.configure_local_logs { headers = { 'Subject' }, meta = { 'tenant' } }
  kumo.start_esmtp_listener {
    listen = os.getenv 'KUMO_SMTP_LISTEN' or '127.0.0.1:0',
    hostname = 'localhost',
    relay_hosts = { '127.0.0.1' },
    tls_certificate = os.getenv 'BENCH_CERTIFICATE',
    tls_private_key = os.getenv 'BENCH_KEY',
  }
end)

if HAS_EVENTS then
  kumo.on('smtp_server_ehlo', usual.note_ehlo)
  kumo.on('smtp_server_mail_from', usual.check_sender)
  kumo.on('smtp_server_rcpt_to', usual.check_recipient)
end

local filter = PATTERNS and usual.filter_content(PATTERNS)

if HAS_EVENTS or filter or STORE == 'discard' then
  kumo.on('smtp_server_message_received', function(msg)
    if filter then
      filter(msg)
    end
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
    return usual.maildirs {}
  end)
end
