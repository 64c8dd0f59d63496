-- Between Lua and the host: how handlers run, how they call the host and wait, how they are stopped.
--
-- The Python binding remembers the Lua thread of whoever called. If that was a coroutine, a table or
-- function that Python kept would later be read from freed memory. So nothing but scalars is ever handed
-- over by a direct call: everything else is yielded to the main thread, or parked in a table where
-- Lua cannot yield, and Python fetches it from the main thread.
local host, bridge = ...

local yield, resume, create = coroutine.yield, coroutine.resume, coroutine.create
local running, status, close = coroutine.running, coroutine.status, coroutine.close
local isyieldable = coroutine.isyieldable
local traceback, sethook, getinfo = debug.traceback, debug.sethook, debug.getinfo
local pack, unpack, concat, rawequal = table.pack, table.unpack, table.concat, rawequal
local type, error, select, xpcall, pcall, tostring = type, error, select, xpcall, pcall, tostring
local next, loadfile, collectgarbage, clock, globals = next, loadfile, collectgarbage, os.clock, _G
local overdue, is_verdict, note_trace = host.overdue, host.is_verdict, host.note_trace
local blocking, note_line = host.blocking, host.note_line
local memory = host.memory / 1024

-- Marks in front of what a coroutine yields to us; policy has no way to these tables.
local CALLS, DONE = {}, {}
local SLICE = 10000 -- instructions between two looks at the clock
local SPARE = 64 -- idle coroutines kept
local OWN = '=[kumo]'

local hot -- the idle coroutine that ended last: most of the time it is the only one
local workers, idle = {}, 0
local suspended, last_suspended = {}, 0
local parked, last_parked = {}, 0
local caller -- the thread that called the host last
local problem, stopped -- why the running handler was stopped, the same with its traceback
local current_event
local worker = OWN -- the coroutine of the running handler; OWN while the script is evaluated
local flights = {} -- worker -> what kumo.memoize makes in its handler just now, by number

-- Where we are ---------------------------------------------------------------------------------

local function is_policy(info) return info.what ~= 'C' and info.source ~= OWN end

local function place(info, line)
  local source = info.source
  if source:sub(1, 1) == '@' then source = source:sub(2) else source = info.short_src end
  return source .. ':' .. line
end

-- The innermost policy line of a thread. `return kumo.f(...)` is a tail call, which leaves no frame: then
-- the line where the event's handler begins has to do.
local function line_of(thread)
  for level = 0, 100 do
    local info = getinfo(thread, level, 'Sl')
    if not info then break end
    if is_policy(info) then return place(info, info.currentline) end
  end
  return bridge.place_of_handler(current_event)
end

-- Has an exception of the host remember the policy line that it comes from; the first one counts.
local function located(e, thread)
  if type(e) == 'userdata' and not is_verdict(e) then note_line(e, line_of(thread)) end
  return e
end

-- An error of ours about what policy does.
function bridge.fail(text)
  local line = line_of(running())
  error(line and line .. ': ' .. text or text, 0)
end

-- Tracebacks -----------------------------------------------------------------------------------

local DEEP, TOP = 200, 12

-- debug.traceback, but for a stack that overflowed: Lua walks that anew for each level it prints, which takes
-- a second; its top says where it is.
local function trace(text, level)
  if not getinfo(DEEP, 'l') then return traceback(text, level + 1) end
  local lines = { text, 'stack traceback:' }
  for i = level + 1, level + TOP do
    local info = getinfo(i, 'Sl')
    lines[#lines + 1] = ('\t%s:%d:'):format(info.short_src, info.currentline)
  end
  lines[#lines + 1] = ('\t... (more than %d levels)'):format(DEEP)
  return concat(lines, '\n')
end

-- Limits -------------------------------------------------------------------------------------

local next_collection = 0 -- by the clock of the processor

local function is_over_memory()
  if collectgarbage('count') <= memory then return false end
  if clock() < next_collection then return true end
  collectgarbage()
  if collectgarbage('count') <= memory then return false end
  -- Until the state is replaced every handler that gets here would collect for nothing.
  next_collection = clock() + 1
  return true
end

local function look_at_clock()
  if not stopped then
    problem = overdue() or is_over_memory() and 'not enough memory'
    if not problem then
      sethook(look_at_clock, '', SLICE)
      return
    end
    stopped = trace(problem, 2)
  end
  -- Every further instruction fails too: no pcall in a loop can swallow this.
  sethook(look_at_clock, '', 1)
  error(problem, 0)
end

-- What is raised by look_at_clock runs message handlers with the clock off: policy's own must not, they
-- could go on for ever.
function globals.xpcall(fn, handler, ...)
  if type(handler) ~= 'function' then return xpcall(fn, handler, ...) end
  return xpcall(fn, function(e)
    if stopped then return e end
    return handler(e)
  end, ...)
end

-- Handlers -------------------------------------------------------------------------------------

local function explain(e)
  local kind = type(e)
  if kind == 'string' then return trace(e, 2) end
  if kind == 'userdata' then
    if not is_verdict(e) then note_trace(trace('', 2)) end
    return located(e, running())
  end
  local ok, text = pcall(tostring, e)
  return trace(ok and text or 'an error object that has no text', 2)
end

-- A coroutine that runs one handler after the other: making one costs more than most handlers.
local function serve(fn, ...)
  return serve(yield(DONE, xpcall(fn, explain, ...)))
end

-- Gives up what a handler that has ended left unfinished, so that nobody waits for it.
local function abandon_flights(co, reason)
  local unfinished = flights[co]
  if not unfinished then return end
  flights[co] = nil
  for number in next, unfinished do host.memo_abandon(number, reason) end
end

-- The flights of the running handler.
function bridge.flights()
  local own = flights[worker]
  if not own then
    own = {}
    flights[worker] = own
  end
  return own
end

local function settle(co, alive, mark, ...)
  if mark == DONE then
    if flights[co] then abandon_flights(co, stopped) end
    if not hot then
      hot = co
    elseif idle < SPARE then
      idle = idle + 1
      workers[idle] = co
    end
    return ...
  end
  if mark == CALLS then
    last_suspended = last_suspended + 1
    suspended[last_suspended] = co
    return last_suspended, ...
  end
  if alive then
    close(co)
    mark = 'attempt to yield from outside a coroutine'
  end
  abandon_flights(co, stopped or mark)
  return false, stopped or mark
end

local function take_worker()
  if idle == 0 then
    local co = create(serve)
    sethook(co, look_at_clock, '', SLICE)
    return co
  end
  local co = workers[idle]
  workers[idle] = nil
  idle = idle - 1
  return co
end

-- A function for the host that runs `fn` as the handler of `event`. It gives true and the handler's
-- results, or false and the problem, or the number of a suspended handler and the call it waits for.
-- What `fn` gets is made by `shape` of what the host gives: out here, as in a coroutine with a hook every
-- instruction takes more than twice as long.
function bridge.entry(event, fn, shape)
  local forget = bridge.forget
  return function(...)
    local co = hot
    if co then hot = nil else co = take_worker() end
    worker = co
    current_event = event
    stopped = nil
    globals._KUMO_CURRENT_EVENT = event
    forget()
    return settle(co, resume(co, fn, shape(...)))
  end
end

function bridge.resume(number, event, ...)
  local co = suspended[number]
  suspended[number] = nil
  worker = co
  current_event = event
  stopped = nil
  globals._KUMO_CURRENT_EVENT = event
  bridge.forget()
  return settle(co, resume(co, ...))
end

function bridge.drop(number)
  local co = suspended[number]
  suspended[number] = nil
  close(co)
  abandon_flights(co)
end

function bridge.raise_again(problem) error(problem, 0) end

function bridge.load_script(path)
  local chunk, reason = loadfile(path, 't')
  if not chunk then return false, reason end
  sethook(look_at_clock, '', SLICE)
  -- Here, where an error of the hook cannot meet its next one: what follows must not be stopped as well.
  local function explain_end(e)
    sethook()
    return explain(e)
  end
  local function done(ok, ...)
    sethook()
    abandon_flights(OWN, stopped)
    if not ok and stopped then return false, stopped end
    return ok, ...
  end
  return done(xpcall(chunk, explain_end))
end

function bridge.current_event() return current_event end

-- Calls of the host ------------------------------------------------------------------------------

local function results(ok, ...)
  if ok then return ... end
  error(located((...), running()), 0)
end

local function park(...)
  last_parked = last_parked + 1
  parked[last_parked] = pack(...)
  return last_parked
end

function bridge.take(number)
  local arguments = parked[number]
  parked[number] = nil
  return arguments.n, unpack(arguments, 1, arguments.n)
end

-- Where Lua cannot yield. What the host did meanwhile is not known.
local function block(fn, ...)
  bridge.forget()
  return pcall(blocking, fn, park(...))
end

-- For host functions that may see a table or function, give one back, or wait.
function bridge.wrap(fn)
  return function(...)
    caller = running()
    if isyieldable() then return results(yield(CALLS, fn, ...)) end
    return results(block(fn, ...))
  end
end

local scalar = { ['nil'] = true, boolean = true, number = true, string = true }

-- For host functions that see and give nothing but scalars; a wrong call that passes something else takes the
-- detour, where an error about it does no harm.
function bridge.direct(fn)
  local detour = bridge.wrap(fn)
  return function(...)
    for index = 1, select('#', ...) do
      if not scalar[type((select(index, ...)))] then return detour(...) end
    end
    return fn(...)
  end
end

-- Coroutines that policy makes ---------------------------------------------------------------------

local function pass(co, ok, mark, ...)
  if ok and rawequal(mark, CALLS) then
    if isyieldable() then return pass(co, resume(co, yield(CALLS, ...))) end
    return pass(co, resume(co, block(...)))
  end
  if not ok then located(mark, co) end
  return ok, mark, ...
end

local function wrapped(co, ok, ...)
  if ok then return ... end
  if status(co) == 'dead' then close(co) end
  error((...), 0)
end

function coroutine.create(fn)
  local co = create(fn)
  sethook(co, look_at_clock, '', SLICE)
  return co
end

function coroutine.resume(co, ...) return pass(co, resume(co, ...)) end

function coroutine.wrap(fn)
  local co = coroutine.create(fn)
  return function(...) return wrapped(co, pass(co, resume(co, ...))) end
end

-- Questions of the host --------------------------------------------------------------------------

-- The policy line that called the host last.
function bridge.source() return caller and line_of(caller) end

-- All policy lines above the function of ours that asks, the innermost first.
function bridge.lines()
  local lines = {}
  for level = 2, 100 do
    local info = getinfo(level, 'Sl')
    if not info then break end
    if is_policy(info) then lines[#lines + 1] = info.short_src .. ':' .. info.currentline end
  end
  return lines
end

function bridge.defined_at(fn)
  local info = getinfo(fn, 'S')
  return place(info, info.linedefined)
end

-- The call stack above the host call; level 1 is the policy function that made it.
function bridge.frames(level)
  local frames, depth = {}, 0
  for raw = 0, 200 do
    local info = caller and getinfo(caller, raw, 'nSlt')
    if not info then break end
    if depth > 0 or is_policy(info) then
      if info.source == OWN then break end
      depth = depth + 1
      if depth >= level then
        frames[#frames + 1] = {
          event = current_event, name = info.name, name_what = info.namewhat,
          source = info.source, short_src = info.short_src,
          line_defined = info.linedefined, last_line_defined = info.lastlinedefined,
          what = info.what, curr_line = info.currentline, is_tail_call = info.istailcall,
        }
      end
    end
  end
  return frames
end
