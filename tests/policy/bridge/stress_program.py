"""Twenty thousand handlers that do what corrupts memory when tables and functions cross the bridge wrongly.

Run by ``test_stress`` in a process of its own, because what it looks for ends the process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import sys
from typing import Any

from kumo.errors import PolicyError, Rejection
from kumo.message import Connection, Message
from kumo.policy import PolicyEngine, QueueEvents, ReceptionEvents, SessionEvents
from kumo.policy.api import ALL_FUNCTIONS
from kumo.policy.registry import PolicyContext, host_function
from kumo.smtp import parse_envelope_address

POLICY = """
local kumo = require 'kumo'
local kept = setmetatable({}, { __mode = 'v' })
local caught, calls = {}, 0

-- What must not reach the host by a direct call; the errors outlive the coroutine that they were raised in.
local function stray(fn, ...)
  local ok, e = pcall(fn, ...)
  calls = calls + 1
  caught[calls % 50] = e
end
local methods, forged = {}, {}
local function strays()
  for class, named in pairs(methods) do
    for _, method in pairs(named) do
      stray(method, { {} }, 'x', {})
      stray(method, forged[class], 'x', print)
    end
  end
  local made = kumo.make_message('a@b.example', 'd@e.example', 'x')
  stray(made.get_data, made, {}, print)
  stray(kumo.make_message, {}, {}, {})
  stray(kumo.fail_directly, {}, print)
  stray(kumo.reject, {}, {})
  stray(error, io.stdout)
  if calls % 1000 < 100 then collectgarbage() end
end
kumo.on('smtp_server_ehlo', function(domain, conn)
  for class, object in pairs { message = kumo.make_message('', 'd@e.example', ''), connection = conn } do
    local meta = debug.getmetatable(object)
    forged[class] = debug.setmetatable({ {} }, meta)
    methods[class] = {}
    for name, method in pairs(meta.__index) do
      if not tostring(select(2, pcall(method, object))):find('not implemented', 1, true) then
        methods[class][name] = method
      end
    end
  end
end)
kumo.on('smtp_server_mail_from', function(sender, conn)
  kumo.keep({ sender.domain, function() return sender end })
  conn:set_meta('list', { 1, 2, { sender.email } })
  if not pcall(kumo.fail_with, { conn:get_meta('list') }) then kumo.keep(conn:get_meta('list')) end
  kept[#kept + 1] = kumo.json_parse('{"a":[1,2,3]}')
  if conn:get_meta('n') % 4 == 0 then strays() end
  if conn:get_meta('n') % 4 == 1 then coroutine.wrap(strays)() end
  if conn:get_meta('n') % 3 == 0 then kumo.sleep(0) end
  if conn:get_meta('n') % 7 == 0 then kumo.reject(550, 'seven') end
  if conn:get_meta('n') % 11 == 0 then kumo.fail_with({ conn }) end
  return kumo.keep(kumo.json_parse('[1]'))
end)
kumo.on('smtp_server_message_received', function(msg, conn)
  local wrapped = coroutine.wrap(function()
    for _, field in ipairs(msg:get_all_headers()) do coroutine.yield({ field[1] }) end
    if conn:get_meta('n') % 5 == 0 then kumo.sleep(0) end
  end)
  while true do
    local field = wrapped()
    if not field then break end
    kumo.keep(field)
  end
  coroutine.wrap(function()
    kumo.keep({ 1 }, function() return msg end)
    pcall(kumo.fail_with, { 2 })
  end)()
  local text = ('abc'):gsub('.', function(c) return kumo.json_encode({ c }) end)
  local list = { 3, 1, 2 }
  table.sort(list, function(a, b) return kumo.json_parse('[' .. a .. ']')[1] < b end)
  msg:set_meta('queue', text .. #list)
  pcall(msg.set_meta, msg, 'bad', { print })
  local made = kumo.make_message(msg:sender(), msg:recipient_list(), msg:get_data())
  made:set_meta('t', list)
end)
kumo.on('get_queue_config', function(domain)
  return kumo.make_queue_config { max_age = 60, protocol = { maildir_path = '/' .. domain } }
end)
"""

kept: list[Any] = []


@host_function("keep")
def keep(_context: PolicyContext, *values: Any) -> Any:
    kept.extend(values)
    del kept[:-50]
    return values[0] if values else None


@host_function("fail_with")
def fail_with(_context: PolicyContext, *values: Any) -> None:
    raise ValueError(f"on purpose: {len(values)}")


@host_function("fail_directly", scalar_only=True)
def fail_directly(_context: PolicyContext, *values: Any) -> None:
    raise ValueError(f"on purpose: {len(values)}")


class Run:
    def __init__(self, path: str) -> None:
        self.engine = PolicyEngine(functions=(*ALL_FUNCTIONS, keep, fail_with, fail_directly))
        self.engine.load(path)
        self.session = SessionEvents(self.engine)
        self.reception = ReceptionEvents(self.engine)
        self.queues = QueueEvents(self.engine)
        self.address = parse_envelope_address("ann@a.example")
        self.counts = {"passed": 0, "rejected": 0, "failed": 0}

    async def one(self, number: int) -> None:
        connection = Connection("192.0.2.1", 1, "192.0.2.2", 25, "s", "h", {"n": number})
        message = Message(
            id="0" * 32,
            sender=self.address,
            recipients=[self.address],
            meta={},
            body=b"A: b\r\nC: d\r\n\r\nx",
        )
        if number % 200 == 0:
            # Every fresh state learns here what its objects can do.
            self.session.on_ehlo(connection, "EHLO", "a.example", ())
        try:
            results: tuple[Any, ...] = (
                self.session.on_mail_from(connection, self.address),
                self.reception.on_message_received(message, connection),
                self.queues.get_queue_config("d.example", None, None, None),
            )
            for result in results:
                if hasattr(result, "__await__"):
                    await result
        except Rejection:
            self.counts["rejected"] += 1
        except PolicyError:
            self.counts["failed"] += 1
        else:
            self.counts["passed"] += 1

    async def all(self, handlers: int) -> None:
        for start in range(0, handlers, 200):
            await asyncio.gather(*(self.one(number) for number in range(start, start + 200)))
            if start % 2000 == 0:
                gc.collect()
                self.engine.reload()


def main() -> None:
    faulthandler.enable()
    run = Run(sys.argv[1])
    asyncio.run(run.all(int(sys.argv[2])))
    del kept[:]
    gc.collect()
    sys.stdout.write(f"{run.counts['passed']} {run.counts['rejected']} {run.counts['failed']}\n")


if __name__ == "__main__":
    main()
