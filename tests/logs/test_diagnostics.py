from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kumo.errors import ConfigError
from kumo.logs import DiagnosticsFormat, configure_diagnostics, set_diagnostics_filter
from kumo.logs.diagnostics import TRACE

TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"


class Terminal:
    """All that went to stderr during one test."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._seen = ""

    def getvalue(self) -> str:
        self._seen += self._capsys.readouterr().err
        return self._seen


@pytest.fixture(autouse=True)
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """Diagnostics as somebody at a terminal sees them; pytest's own logging is back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Terminal(capsys)
    set_diagnostics_filter("")
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def raised(error: Exception) -> Exception:
    """The same exception with a traceback."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        fail()
    return error


def log_once(text: str = "text", level: int = logging.INFO, name: str = "kumod.listener") -> None:
    logging.getLogger(name).log(level, text)


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (logging.CRITICAL, "ERROR"),
        (logging.ERROR, "ERROR"),
        (logging.WARNING, " WARN"),
        (logging.INFO, " INFO"),
        (logging.DEBUG, "DEBUG"),
        (TRACE, "TRACE"),
    ],
)
def test_a_line_has_time_level_target_and_text(stderr: Terminal, level: int, name: str) -> None:
    configure_diagnostics("trace")
    log_once("smtp listener on 127.0.0.1:2025", level)
    assert re.fullmatch(
        rf"{TIME}\.[0-9]{{6}}Z {name} kumod\.listener: smtp listener on 127\.0\.0\.1:2025\n",
        stderr.getvalue(),
    )


def test_the_time_of_a_line_is_utc(stderr: Terminal) -> None:
    configure_diagnostics()
    record = logging.LogRecord("kumod", logging.INFO, "", 1, "text", None, None)
    record.created = 1_795_416_478.25
    logging.getLogger().handle(record)
    assert stderr.getvalue() == "2026-11-23T06:47:58.250000Z  INFO kumod: text\n"


def test_compact_leaves_fractions_out(stderr: Terminal) -> None:
    configure_diagnostics(format=DiagnosticsFormat.COMPACT)
    log_once()
    assert re.fullmatch(rf"{TIME}Z  INFO kumod\.listener: text\n", stderr.getvalue())


def test_pretty_names_the_place_in_the_code(stderr: Terminal) -> None:
    configure_diagnostics(format=DiagnosticsFormat.PRETTY)
    log_once()
    first, second = stderr.getvalue().splitlines()
    assert first.endswith("INFO kumod.listener: text")
    assert re.fullmatch(r"    at .*test_diagnostics\.py:[0-9]+", second)


def test_json_is_one_object_a_line(stderr: Terminal) -> None:
    configure_diagnostics(format=DiagnosticsFormat("json"))
    log_once("a\nb \u2028\udcff")
    logging.getLogger("lua").error("failed", exc_info=ValueError("x\ny"))
    first, second = map(json.loads, stderr.getvalue().splitlines())
    assert first | {"timestamp": ""} == {
        "timestamp": "",
        "level": "INFO",
        "fields": {"message": "a\nb \u2028\udcff"},
        "target": "kumod.listener",
    }
    assert re.fullmatch(rf"{TIME}\.[0-9]{{6}}Z", first["timestamp"])
    assert (second["level"], second["target"], second["fields"]["message"]) == ("ERROR", "lua", "failed")
    assert second["fields"]["exception"] == "ValueError: x\ny"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gr\u00fc\u00dfe \u4f60\u597d", "gr\u00fc\u00dfe \u4f60\u597d"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x1b[2J\x00\x7f", "\\x1b[2J\\x00\\x7f"),
        ("\x85\x9b", "\\x85\\x9b"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("no-break\u00a0space", "no-break\u00a0space"),
    ],
)
@pytest.mark.parametrize("format", [DiagnosticsFormat.FULL, DiagnosticsFormat.COMPACT])
def test_a_text_cannot_begin_another_line(
    stderr: Terminal,
    text: str,
    shown: str,
    format: DiagnosticsFormat,  # noqa: A002 - the parameter's name
) -> None:
    configure_diagnostics(format=format)
    log_once(text)
    assert stderr.getvalue().endswith(f" kumod.listener: {shown}\n")
    assert stderr.getvalue().count("\n") == 1


def test_a_traceback_follows_indented(stderr: Terminal) -> None:
    configure_diagnostics()
    error = raised(ValueError("2026-11-23T06:00:00Z\n2026-11-23T06:00:00Z  INFO kumod: forged\x1b"))
    logging.getLogger("kumod").error("failed", exc_info=error, stack_info=True)
    first, *others = stderr.getvalue().splitlines()
    assert first.endswith("ERROR kumod: failed")
    assert "    Traceback (most recent call last):" in others
    assert "    2026-11-23T06:00:00Z  INFO kumod: forged\\x1b" in others
    assert "    Stack (most recent call last):" in others
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize(
    ("filter_text", "shown"),
    [
        (None, ["kumod.a info", "kumod.b info", "lua info"]),
        ("", ["kumod.a info", "kumod.b info", "lua info"]),
        (
            "debug",
            ["kumod.a debug", "kumod.a info", "kumod.b debug", "kumod.b info", "lua debug", "lua info"],
        ),
        ("ERROR", []),
        ("off", []),
        ("kumod.a=debug", ["kumod.a debug", "kumod.a info", "kumod.b info", "lua info"]),
        ("kumod::a=debug,lua=off", ["kumod.a debug", "kumod.a info", "kumod.b info"]),
        (" warn , kumod = info , kumod.b=error,", ["kumod.a info"]),
        ("off,lua=trace", ["lua debug", "lua info"]),
    ],
)
def test_the_filter_chooses_by_target_and_level(
    stderr: Terminal, filter_text: str | None, shown: list[str]
) -> None:
    configure_diagnostics(filter_text)
    for name in ("kumod.a", "kumod.b", "lua"):
        log_once(f"{name} debug", logging.DEBUG, name)
        log_once(f"{name} info", logging.INFO, name)
    assert [line.split(": ")[1] for line in stderr.getvalue().splitlines()] == shown


@pytest.mark.parametrize(
    ("filter_text", "part"),
    [
        ("loud", "loud"),
        ("kumod=loud", "kumod=loud"),
        ("info,kumod=", "kumod="),
        ("=info", "=info"),
        ("kumod info", "kumod info"),
    ],
)
def test_a_bad_filter_is_refused_by_name_and_changes_nothing(
    stderr: Terminal, filter_text: str, part: str
) -> None:
    configure_diagnostics("warn")
    expected = (
        f"invalid log filter {part!r}: expected target=level or a level, "
        "where the level is one of trace, debug, info, warn, error, off"
    )
    for refused in (configure_diagnostics, set_diagnostics_filter):
        with pytest.raises(ConfigError) as caught:
            refused(filter_text)
        assert caught.value.detail == expected
    log_once("hidden")
    log_once("shown", logging.WARNING)
    assert [line.split(": ")[1] for line in stderr.getvalue().splitlines()] == ["shown"]


def test_a_new_filter_forgets_the_old_one(stderr: Terminal) -> None:
    configure_diagnostics("kumod=error,lua=debug")
    set_diagnostics_filter("lua=error")
    log_once("kumod", logging.INFO, "kumod")
    log_once("lua", logging.WARNING, "lua")
    assert [line.split(": ")[1] for line in stderr.getvalue().splitlines()] == ["kumod"]


def test_configuring_again_does_not_double_lines(stderr: Terminal) -> None:
    configure_diagnostics()
    configure_diagnostics(format=DiagnosticsFormat.COMPACT)
    log_once()
    assert stderr.getvalue().count("text") == 1


def test_diagnostics_go_into_a_folder(stderr: Terminal, tmp_path: Path) -> None:
    configure_diagnostics(directory=str(tmp_path / "made" / "diag"))
    log_once("surrogate \udcff")
    assert stderr.getvalue() == ""
    content = (tmp_path / "made" / "diag" / "kumod.log").read_text(encoding="utf-8")
    assert content.endswith(" INFO kumod.listener: surrogate \\udcff\n")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cannot write diagnostics to .*/file/diag: Not a directory"):
        configure_diagnostics(directory=str(tmp_path / "file" / "diag"))


def test_a_worker_is_named_in_each_line(stderr: Terminal, tmp_path: Path) -> None:
    configure_diagnostics(None, worker=2)
    logging.getLogger("kumod").warning("text")
    assert re.fullmatch(rf"{TIME}\.[0-9]{{6}}Z  WARN kumod: worker 2: text\n", stderr.getvalue())
    configure_diagnostics(None, DiagnosticsFormat.JSON, str(tmp_path), worker=2)
    logging.getLogger("kumod").warning("text")
    line = json.loads((tmp_path / "kumod-worker-2.log").read_text())
    assert (line["worker"], line["fields"]) == (2, {"message": "text"})
