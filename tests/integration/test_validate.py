"""``kumod --validate``: a whole policy's mistakes at once, for people and for CI jobs, and no trace left."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .daemon import Kumod, run_kumod

ROOT = Path(__file__).resolve().parents[2]

BAD = """
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { -- first
    listen = '127.0.0.1:%(port)d',
    relay_host = { '10.0.0.0/8' },
    client_timeout = '5 fortnights',
    peer = { ['10.0.0.1/8'] = { banner = 'x' } },
  }
  kumo.start_esmtp_listener { -- second
    listen = '127.0.0.1:0',
    invalid_line_endings = 'fix',
    peer = { ['10.0.0.0/8'] = { max_message_sise = 1 } },
  }
  kumo.start_esmtp_listener { -- third
    listen = '127.0.0.1:%(port)d',
    tls_certificate = var .. '/nowhere.crt',
    tls_private_key = var .. '/nowhere.key',
  }
  kumo.start_http_listener { listen = '127.0.0.1:%(port)d' } -- http
  kumo.configure_local_logs { log_dir = var .. '/log2', max_file_size = 'large' } -- logs
  local nothing
  nothing.happens() -- init ends
end)
kumo.on('smtp_server_mail_form', function() end) -- event
kumo.on('validate_config', function()
  kumo.validation_failed 'no such luck' -- luck
end)
kumo.on('validate_config', function()
  error 'a fault' -- fault
end)
local listener_domains = require 'policy-extras.listener_domains'
local helper = listener_domains:setup { var .. '/domains.toml', { ['x.test'] = { relay_two = 1 } } } -- setup
kumo.on('get_listener_domain', helper)
kumo.on('smtp_server_data', function() end)
kumo.on('smtp_server_data', function() end) -- twice
"""
DOMAINS = """
["example.com"]
relay_to = "yes"

["example.org"]
relay_from = ["10.0.0.1/8"]
relay_form = ["10.0.0.0/8"]
"""

MISTAKES = [
    ("first", ["`relay_host` (did you mean `relay_hosts`?)"]),
    ("first", ["`client_timeout`", '"5 fortnights", expected a duration']),
    ("first", ["`peer`", "10.0.0.1/8 is not a valid CIDR: host part of address was not zero"]),
    ("second", ["unknown variant `fix`", "did you mean `Fix`"]),
    ("second", ["`peer.10.0.0.0/8.max_message_sise`", "did you mean `max_message_size`"]),
    ("third", ["`listen`", "is taken already by the listener on 127.0.0.1"]),
    ("third", ["TLS: ", "/nowhere.crt"]),
    ("third", ["TLS: ", "/nowhere.key"]),
    ("http", ["`listen`", "is taken already by the listener on 127.0.0.1"]),
    ("logs", ["`max_file_size`", '"large", expected usize']),
    ("init ends", ["attempt to index a nil value (local 'nothing')"]),
    ("event", ["did you mean `smtp_server_mail_from`"]),
    ("luck", ["no such luck"]),
    ("fault", ["a fault"]),
    ("setup", ["`x.test`", "`relay_two`", "did you mean `relay_to`"]),
    ("twice", ["smtp_server_data event already has a handler"]),
]
"""The comment at the end of the line that is named, and what is said."""

MISTAKES_IN_FILE = [
    ["`example.com`", "`relay_to`", '"yes"'],
    ["`example.org`", "10.0.0.1/8", "Did you mean 10.0.0.0/8?"],
    ["`example.org`", "`relay_form`", "did you mean `relay_from`"],
]

GOOD = """
kumo.on('pre_init', function() print 'from the policy' end)
kumo.on('init', function()
  spools(false)
  logs()
  kumo.start_esmtp_listener { listen = '127.0.0.1:%(port)d', hostname = 'mx.test' }
  kumo.start_http_listener { listen = '127.0.0.1:0' }
end)
"""


@pytest.fixture
def port() -> Iterator[int]:
    """One that is taken: nothing may be bound."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def write(folder: Path, policy: str, port: int) -> Path:
    (folder / "domains.toml").write_text(DOMAINS)
    return Kumod(folder, policy % {"port": port}).script


def line_of(script: Path, comment: str) -> int:
    """Number of the line that ends in a comment."""
    lines = script.read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if line.endswith(f"-- {comment}"))
    return number


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_every_mistake_of_a_policy_is_reported_at_once(tmp_path: Path, port: int) -> None:
    script = write(tmp_path, BAD, port)
    before = files(tmp_path)
    done = run_kumod("--validate", "--policy", str(script), cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert files(tmp_path) == before
    *problems, verdict = done.stdout.splitlines()
    for comment, words in MISTAKES:
        place = f"{script}:{line_of(script, comment)}: "
        found = [one for one in problems if one.startswith(place) and all(word in one for word in words)]
        assert len(found) == 1, (words, problems)
    for words in MISTAKES_IN_FILE:
        place = f"{tmp_path}/domains.toml: "
        found = [one for one in problems if one.startswith(place) and all(word in one for word in words)]
        assert len(found) == 1, (words, problems)
    assert len(problems) == len(MISTAKES) + len(MISTAKES_IN_FILE)
    assert verdict == f"{len(problems)} problems"


def test_the_same_as_one_json_object(tmp_path: Path, port: int) -> None:
    script = write(tmp_path, BAD, port)
    text = run_kumod("--validate", "--policy", str(script), cwd=tmp_path)
    done = run_kumod("--validate", "--format", "json", "--policy", str(script), cwd=tmp_path)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert not report["valid"]
    assert len(report["problems"]) == len(text.stdout.splitlines()) - 1
    assert {
        "severity": "error",
        "source": str(script),
        "line": line_of(script, "first"),
        "constructor": "kumo.start_esmtp_listener",
        "key": "relay_host",
        "message": "unknown field `relay_host`",
        "hint": "did you mean `relay_hosts`?",
    } in report["problems"]


@pytest.mark.parametrize(
    ("arguments", "output"),
    [([], "policy is valid\n"), (["--format", "json"], '{"valid": true, "problems": []}\n')],
)
def test_a_good_policy_leaves_no_trace(tmp_path: Path, port: int, arguments: list[str], output: str) -> None:
    """Its port is taken, its folders are not there: both are nobody's business here."""
    script = write(tmp_path, GOOD, port)
    before = files(tmp_path)
    done = run_kumod("--validate", *arguments, "--policy", str(script), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, output)
    assert "from the policy" in done.stderr
    assert files(tmp_path) == before


def test_beside_a_daemon_that_serves(tmp_path: Path) -> None:
    with Kumod(tmp_path, GOOD % {"port": 0}) as daemon:
        before = files(tmp_path)
        done = run_kumod("--validate", "--policy", str(daemon.script), cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "policy is valid\n")
        assert files(tmp_path) == before
        with daemon.client() as client:
            assert client.noop()[0] == 250


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "policy").glob("*.lua")))
def test_the_policies_that_come_with_it_are_valid(tmp_path: Path, name: str) -> None:
    script = ROOT / "policy" / name
    done = run_kumod(
        "--validate", "--policy", str(script), cwd=tmp_path, environment={"KUMO_VAR": str(tmp_path / "var")}
    )
    assert (done.returncode, done.stdout) == (0, "policy is valid\n")
    assert files(tmp_path) == set()
