"""kumod --validate: every problem at once, exit codes, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from kumo.validation import Report, ReportFormat, print_report, validate

Check = Callable[[str], Any]

SPOOLS = """
for _, name in ipairs { 'data', 'meta' } do
  kumo.define_spool { name = name, path = FOLDER .. '/spool/' .. name }
end
"""

GOOD = f"""kumo.on('init', function()
  {SPOOLS}
  kumo.configure_local_logs {{ log_dir = FOLDER .. '/log' }}
  kumo.start_esmtp_listener {{ listen = '127.0.0.1:0', hostname = 'mx.example' }}
  kumo.start_http_listener {{ listen = '127.0.0.1:0' }}
end)
"""


def init(body: str) -> str:
    """A policy of which only one thing can be wrong; the body begins in line 4."""
    spools = SPOOLS.replace("\n", " ")
    return f"kumo.on('init', function() {spools}\n\n{body}\nend)"


def write(folder: Path, text: str) -> Path:
    path = folder / "init.lua"
    path.write_text(f"local kumo = require 'kumo' local FOLDER = '{folder}'\n{text}", encoding="utf-8")
    return path


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Validate a policy text; an awaitable of the report."""
    return lambda text: validate(str(write(tmp_path, text)))


def lines(report: Report, folder: Path) -> list[str]:
    return report.as_text().replace(f"{folder}/", "").splitlines()


async def test_a_good_policy_is_valid(check: Check, tmp_path: Path) -> None:
    report = await check(GOOD)
    assert lines(report, tmp_path) == ["policy is valid"]
    assert report.is_valid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The script itself.
        ("x = = 1", ["init.lua:2: unexpected symbol near '='"]),
        ("error 'boom'", ["init.lua:2: boom"]),
        ("local x = nil\nx.y = 1", ["init.lua:3: attempt to index a nil value (local 'x')"]),
        ("require 'nowhere'", ["init.lua:2: module 'nowhere' not found:"]),
        # Declarations.
        ("", ["kumo.define_spool: No spools have been defined"]),
        (
            "kumo.on('init', function() kumo.define_spool { name = 'data', path = '/x' } end)",
            ["kumo.define_spool: No spool named `meta` has been defined"],
        ),
        (
            init("kumo.define_spool { name = 'meta', path = '/y' }"),
            ["init.lua:4: kumo.define_spool: spool `meta` has already been defined"],
        ),
        # Parameters: all of a table, and what comes after it.
        (
            init(
                "kumo.start_esmtp_listener { bannner = 'x', max_message_size = 'y' }\n"
                "kumo.start_http_listener { lissten = 'x' }"
            ),
            [
                "init.lua:4: kumo.start_esmtp_listener: unknown field `bannner` (did you mean `banner`?)",
                (
                    "init.lua:4: kumo.start_esmtp_listener: `max_message_size`: "
                    'invalid type: string "y", expected usize'
                ),
                "init.lua:5: kumo.start_http_listener: unknown field `lissten`, expected",
            ],
        ),
        (
            init("kumo.start_esmtp_listener { relay_hosts = { '10.0.0.1/8', 'x' } }"),
            [
                (
                    "init.lua:4: kumo.start_esmtp_listener: `relay_hosts`: 10.0.0.1/8: 10.0.0.1/8 is not "
                    "a valid CIDR: host part of address was not zero. Did you mean 10.0.0.0/8?, "
                    "x: x is not a valid CIDR"
                ),
            ],
        ),
        (
            init(
                "kumo.make_listener_domain { relay_too = 1, log_arf = 'x' }\nkumo.make_queue_config { x = 1 }"
            ),
            [
                "init.lua:4: kumo.make_listener_domain: unknown field `relay_too`",
                "init.lua:4: kumo.make_listener_domain: `log_arf`: invalid value",
                "init.lua:5: kumo.make_queue_config: unknown field `x`",
            ],
        ),
        # Addresses.
        (
            init(
                "kumo.start_esmtp_listener { listen = '127.0.0.1:2525' }\n"
                "kumo.start_esmtp_listener { listen = '127.0.0.1:2526' }\n"
                "kumo.start_esmtp_listener { listen = '0:2525' }\n"
                "kumo.start_http_listener { listen = '[::1]:2525' }\n"
                "kumo.start_http_listener { listen = '127.0.0.1:2526' }"
            ),
            [
                (
                    "init.lua:6: kumo.start_esmtp_listener: `listen`: 0:2525 is taken already by the "
                    "listener on 127.0.0.1:2525 at init.lua:4"
                ),
                (
                    "init.lua:8: kumo.start_http_listener: `listen`: 127.0.0.1:2526 is taken already by the "
                    "listener on 127.0.0.1:2526 at init.lua:5"
                ),
            ],
        ),
        # The default that stands in for an address clashes with nothing.
        (
            init(
                "kumo.start_esmtp_listener { listen = '127.0.0.1' }\n"
                "kumo.start_esmtp_listener { listen = ':25' }\n"
                "kumo.start_esmtp_listener { listen = '127.0.0.1:2025' }"
            ),
            [
                "init.lua:4: kumo.start_esmtp_listener: `listen`: invalid socket address syntax `127.0.0.1`",
                "init.lua:5: kumo.start_esmtp_listener: `listen`: invalid socket address syntax `:25`",
            ],
        ),
        # A key source that says nothing is not also a missing one.
        (
            init(
                "kumo.start_esmtp_listener { tls_certificate = '/x', tls_private_key = { vault_mount = 3 } }"
            ),
            ["init.lua:4: kumo.start_esmtp_listener: `tls_private_key`: data did not match any variant"],
        ),
        # A helper of KumoMTA's that has to be brought along.
        (
            f"{GOOD}require 'policy-extras.queue'",
            ["init.lua:12: module 'policy-extras.queue' is a part of KumoMTA that kumo lacks: put KumoMTA's"],
        ),
        # What is to come yet hides nothing.
        (
            init("kumo.configure_log_hook { name = 'x' }\nkumo.start_esmtp_listener { bannner = 'x' }"),
            [
                "init.lua:4: kumo.configure_log_hook is not implemented in kumo",
                "init.lua:5: kumo.start_esmtp_listener: unknown field `bannner`",
            ],
        ),
        # Events.
        (
            f"{GOOD}kumo.on('smtp_server_mail_form', function() end)",
            [
                (
                    "init.lua:12: kumo.on: a handler is registered for `smtp_server_mail_form`, which is no "
                    "event of KumoMTA (did you mean `smtp_server_mail_from`?)"
                ),
            ],
        ),
        (
            f"{GOOD}kumo.on('init', function() end)",
            ["init.lua:12: init event already has a handler defined at init.lua:2"],
        ),
        # Handlers: the next ones run all the same.
        (
            (
                f"{GOOD}kumo.on('pre_init', function() error 'one' end)\n"
                "kumo.on('pre_init', function() error 'two' end)\n"
                "kumo.on('validate_config', function() error 'three' end)\n"
                "kumo.on('validate_config', function() kumo.sleep(0) error 'four' end)\n"
                "kumo.on('validate_config', function() kumo.validation_failed() end)"
            ),
            [
                "init.lua:12: one",
                "init.lua:13: two",
                "init.lua:14: three",
                "init.lua:15: four",
                "init.lua:16: kumo.validation_failed: the policy says that it is not valid",
            ],
        ),
        # What a handler has not come to is not missed.
        ("kumo.on('init', function() error 'early' end)", ["init.lua:2: early"]),
    ],
)
async def test_problems(check: Check, tmp_path: Path, text: str, expected: list[str]) -> None:
    report = await check(text)
    *problems, verdict = lines(report, tmp_path)
    shown = [problem[: len(start)] for problem, start in zip(problems, expected, strict=False)]
    assert (shown, len(problems)) == (expected, len(expected))
    assert verdict == ("1 problem" if len(expected) == 1 else f"{len(expected)} problems")
    assert not report.is_valid


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "kumo.on('make.webhook', function() end)",
            (
                "init.lua:12: warning: kumo.on: a handler is registered for `make.webhook`, which is no "
                "event of KumoMTA (only the policy's own calls can fire it)"
            ),
        ),
        # Like an event's, and yet it may be the policy's own.
        (
            "kumo.on('get_egress_key', function() end)",
            (
                "init.lua:12: warning: kumo.on: a handler is registered for `get_egress_key`, which is no "
                "event of KumoMTA (did you mean `get_egress_source`?)"
            ),
        ),
        (
            "kumo.on('get_egress_pool', function() end)",
            (
                "init.lua:12: warning: kumo.on: a handler is registered for `get_egress_pool`, which this "
                "version does not fire yet"
            ),
        ),
        (
            "kumo.on('pre_init', function() kumo.define_spool { name = 'dat', path = '/x' } end)",
            (
                "init.lua:12: warning: spool `dat` is not used; the names are `data` and `meta`; "
                "did you mean `data`?"
            ),
        ),
    ],
)
async def test_warnings_leave_a_policy_valid(check: Check, tmp_path: Path, text: str, expected: str) -> None:
    report = await check(f"{GOOD}{text}")
    assert lines(report, tmp_path) == [expected, "policy is valid, 1 warning"]
    assert report.is_valid


async def test_events_that_declarations_name_are_nobodys_mistake(check: Check, tmp_path: Path) -> None:
    report = await check(
        init(
            "kumo.configure_local_logs { log_dir = FOLDER, filter_event = 'smtp_server_mail_form' }\n"
            "kumo.start_esmtp_listener { listen = '127.0.0.1:0', peer = { ['10.0.0.0/8'] = {\n"
            "  tls_certificate = { event_name = 'init_key', event_args = { 'c' } },\n"
            "  tls_private_key = { event_name = 'init_key', event_args = { 'k' } } } } }"
        )
        + "\nkumo.on('smtp_server_mail_form', function() end)"
        + "\nkumo.on('init_key', function(what) return 'no ' .. what end)"
    )
    assert not any("kumo.on" in line for line in lines(report, tmp_path))


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths of keys and certificates."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    paths: dict[str, str] = {}
    for name in ("one", "two"):
        issued = authority.issue_cert("mx.example")
        issued.private_key_pem.write_to_path(folder / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(folder / f"{name}.crt")
        paths |= {f"{name}_key": str(folder / f"{name}.key"), f"{name}_crt": str(folder / f"{name}.crt")}
    return paths


@pytest.mark.parametrize(
    ("parameters", "problems"),
    [
        ("tls_certificate = '{one_crt}', tls_private_key = '{one_key}'", 0),
        ("tls_certificate = '{one_crt}', tls_private_key = '{two_key}'", 1),
        ("tls_certificate = '/nowhere.crt', tls_private_key = '/nowhere.key'", 2),
        ("tls_certificate = '{one_crt}'", 1),
        ("tls_required_client_ca = '/nowhere.ca'", 1),
        # Blocks count, together with what is around them.
        (
            (
                "tls_certificate = '{one_crt}', tls_private_key = '{one_key}',"
                "peer = {{ ['10.0.0.0/8'] = {{ tls_private_key = '{two_key}' }} }}"
            ),
            1,
        ),
        (
            (
                "via = {{ ['10.0.0.1'] = {{ peer = {{ ['10.0.0.0/8'] = {{ tls_certificate = '/nowhere.crt',"
                " tls_private_key = '/nowhere.key' }} }} }} }}"
            ),
            2,
        ),
        # What no text shows tells keys apart all the same.
        (
            (
                "tls_certificate = {{ key_data = 'no' }}, tls_private_key = '{one_key}',"
                "peer = {{ any = {{ tls_certificate = {{ key_data = '-----BEGIN CERTIFICATE-----' }} }} }}"
            ),
            2,
        ),
    ],
)
async def test_keys_are_tried(
    check: Check, tmp_path: Path, pem: dict[str, str], parameters: str, problems: int
) -> None:
    report = await check(
        init(f"kumo.start_esmtp_listener {{ listen = '127.0.0.1:0', {parameters.format(**pem)} }}")
    )
    *shown, _ = lines(report, tmp_path)
    assert len(shown) == problems, shown
    assert all(line.startswith("init.lua:4: kumo.start_esmtp_listener: TLS: ") for line in shown)


async def test_a_key_that_is_an_event_is_asked_for(check: Check, tmp_path: Path) -> None:
    report = await check(
        init(
            "kumo.start_esmtp_listener { listen = '127.0.0.1:0',\n"
            "  tls_required_client_ca = { event_name = 'my_ca', event_args = {} } }"
        )
        + "\nkumo.on('my_ca', function() return 'nothing' end)"
    )
    (problem, _) = lines(report, tmp_path)
    assert "my_ca" in problem


async def test_a_missing_policy_is_a_problem(tmp_path: Path) -> None:
    report = await validate(str(tmp_path / "absent.lua"))
    assert lines(report, tmp_path) == ["no policy at absent.lua (name one with --policy FILE)", "1 problem"]


async def test_the_report_as_json(check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = await check(init("kumo.start_esmtp_listener { peer = { ['10.0.0.0/8'] = { bannner = 1 } } }"))
    assert print_report(report, ReportFormat.JSON) == 1
    shown = json.loads(capsys.readouterr().out)
    assert shown["valid"] is False
    (problem,) = shown["problems"]
    assert problem.pop("message").startswith("unknown field `bannner`, expected one of `hostname`")
    assert problem == {
        "severity": "error",
        "source": str(tmp_path / "init.lua"),
        "line": 4,
        "constructor": "kumo.start_esmtp_listener",
        "key": "peer.10.0.0.0/8.bannner",
        "hint": "did you mean `banner`?",
    }


def kumod(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kumo", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


NOISE = "print 'printed' io.write 'written' os.execute 'echo executed'\n"


@pytest.mark.parametrize(
    ("text", "arguments", "code"),
    [(GOOD, [], 0), (GOOD, ["--format", "text"], 0), ("", [], 1), ("", ["--format", "json"], 1)],
)
def test_exit_codes_and_streams(tmp_path: Path, text: str, arguments: list[str], code: int) -> None:
    policy = write(tmp_path, NOISE + text)
    before = sorted(tmp_path.rglob("*"))
    ran = kumod(
        "--validate",
        "--policy",
        str(policy),
        "--diag-log-dir",
        str(tmp_path / "diag"),
        *arguments,
        folder=tmp_path,
    )
    assert ran.returncode == code, ran.stderr
    assert ran.stdout.count("\n") == (2 if code and not arguments else 1), "nothing but the report"
    assert {word for word in ("printed", "written", "executed") if word in ran.stderr} == {
        "printed",
        "written",
        "executed",
    }
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


@pytest.mark.parametrize("arguments", [["--format", "json"], ["--validate", "--format", "xml"]])
def test_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    assert kumod(*arguments, folder=tmp_path).returncode == 2


POLICIES = Path(__file__).resolve().parent.parent / "policy"


@pytest.mark.parametrize("name", ["init.lua", "sink.lua"])
async def test_shipped_policies_are_valid(name: str) -> None:
    report = await validate(str(POLICIES / name))
    assert report.as_text() == "policy is valid"
