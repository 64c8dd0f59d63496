-- What bench.lua and soak.lua have in common, for `require`: spools, logs, what policies usually do in events, maildirs.
--
-- KUMO_VAR is the folder for all of it, BENCH_KIND names the kind of spool, BENCH_FLUSH=1 makes it survive a power
-- loss.

local kumo = require 'kumo'

local VAR = assert(os.getenv 'KUMO_VAR')

local usual = {}

function usual.define_spools()
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
end

function usual.configure_local_logs(parameters)
  parameters.log_dir = VAR .. '/log'
  parameters.min_free_space = '1%'
  parameters.min_free_inodes = '1%'
  kumo.configure_local_logs(parameters)
end

function usual.note_ehlo(domain, conn_meta)
  conn_meta:set_meta('ehlo', domain)
end

function usual.check_sender(sender)
  if sender.domain == 'blocked.example' then
    kumo.reject(550, '5.7.1 not from there')
  end
end

function usual.check_recipient(recipient)
  if recipient.user == 'nobody' then
    kumo.reject(550, '5.1.1 nobody lives here')
  end
end

-- Holds the content against that many patterns, as a policy with rules of its own does; none of them is found.
function usual.filter_content(count)
  local patterns = {}
  for number = 1, count do
    patterns[number] = ('offer%d of .* for you'):format(number)
  end
  return function(msg)
    local content = msg:get_data()
    for _, pattern in ipairs(patterns) do
      if content:find(pattern) then
        kumo.reject(550, '5.7.1 not wanted here')
      end
    end
  end
end

function usual.maildirs(parameters)
  parameters.protocol = { maildir_path = VAR .. '/maildir/{{ domain_part }}/{{ local_part }}' }
  return kumo.make_queue_config(parameters)
end

return usual
