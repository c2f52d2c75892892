"""The command line itself: help, errors, exit statuses; each command has tests of its own."""

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE

from sockfsm.cli import main as cli
from sockfsm.cli.fitting import fitted
from sockfsm.errors import TraceError
from sockfsm.trace.trace import Trace


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A command `probe` whose `run` a test may replace."""
    module = types.ModuleType("sockfsm_probe")
    module.__spec__ = types.SimpleNamespace(name="sockfsm_probe")  # type: ignore[assignment]
    module.run = lambda args: 0  # type: ignore[attr-defined]

    def add(subparsers: Any) -> None:
        parser = subparsers.add_parser("probe")
        parser.set_defaults(func=lambda args: module.run(args))

    module.add = add  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sockfsm_probe", module)
    monkeypatch.setitem(cli.COMMANDS, "probe", ("sockfsm_probe", "a probe"))
    return module


def test_help_lists_the_commands_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    for name in ("show", "blocked"):
        assert f"\n    {name} " in text


def test_commands_that_do_not_exist_are_not_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "absent", ("sockfsm.cli.absent", "not there"))
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "absent" not in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(cli.commands()))
def test_every_command_declares_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([name, "--help"])
    assert exit_.value.code == 0
    assert f"usage: sockfsm {name}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith("sockfsm ")


def test_the_status_is_the_commands_own(command: types.ModuleType) -> None:
    command.run = lambda args: 7  # type: ignore[attr-defined]
    assert cli.main(["probe"]) == 7


def test_bad_input_is_one_line_and_status_2(
    command: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        raise TraceError("here: no such trace")

    command.run = fail  # type: ignore[attr-defined]
    assert cli.main(["probe"]) == 2
    assert capsys.readouterr().err == "sockfsm: here: no such trace\n"


def test_an_interrupt_is_130(command: types.ModuleType) -> None:
    def interrupt(args: object) -> int:
        raise KeyboardInterrupt

    command.run = interrupt  # type: ignore[attr-defined]
    assert cli.main(["probe"]) == 130


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["--nonsense"], ["show"]])
def test_wrong_usage_is_one_line_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("sockfsm: ")
    assert error.endswith("--help\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["show", "blocked"])
def test_a_missing_trace_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name, str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sockfsm: ")
    assert error.count("\n") == 1
    assert "none" in error


def sockfsm(*arguments: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "sockfsm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_python_m_sockfsm() -> None:
    process = sockfsm("--version")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("sockfsm ")


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "sockfsm", "--version"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writer)
    assert process.stderr == ""
    assert process.returncode == 141


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys\nfrom sockfsm.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'scapy', 'graphviz', 'transitions', 'pytest', 'aalpy'} & set(sys.modules)\n"
        "ours = [name for name in sys.modules if name.startswith('sockfsm.cli.')]\n"
        "print(sorted(heavy), ours, file=sys.stderr)\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert process.stderr == "[] ['sockfsm.cli.main', 'sockfsm.cli.fitting']\n"


def test_letters_that_the_terminal_does_not_have_are_escaped(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    name = str(tmp_path / "caf\u00e9.sock")
    program.write_text(f"import socket\nsocket.socket(socket.AF_UNIX).bind({name!r})\n")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (["run", "--no-capture", "-o", "trace", program], ["show", "trace"]):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "sockfsm", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=True,
        )
    assert done.stdout.isascii()
    assert b"caf\\xe9.sock" in done.stdout
    assert b" + #1     BOUND" in done.stdout


def test_an_output_that_is_full_is_one_line() -> None:
    command = [sys.executable, "-m", "sockfsm", "machine", "tcp"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "sockfsm: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("command", ["show", "handshake", "diagram", "lint", "blocked", "run"])
def test_a_path_that_cannot_even_be_looked_at_is_told_in_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "x" * 300
    assert cli.main([command, name]) == cli.BAD_INPUT
    assert capsys.readouterr().err == f"sockfsm: {name}: File name too long\n"


@pytest.mark.parametrize(
    "command", ["show", "handshake", "blocked", "export --form csv", "diagram"]
)
def test_a_closed_standard_output_is_no_error(command: str) -> None:
    trace = Path(__file__).parent.parent / "traces" / "tcp-echo"
    line = f'exec "$0" -m sockfsm {command} "$1" >&-'
    ended = subprocess.run(
        ["sh", "-c", line, sys.executable, trace], stderr=subprocess.PIPE, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.skipif(os.getuid() != 0, reason="gives up root")
def test_a_folder_that_may_not_be_read_is_not_called_empty(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    pid = os.fork()
    if pid == 0:
        # The folders above may be root's alone: the name is looked up from here.
        os.chdir(tmp_path)
        os.setuid(65534)
        try:
            Trace.open("closed")
        except TraceError as error:
            os._exit(0 if str(error) == "closed: Permission denied" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_help_fits_a_terminal_of_80_columns(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but commands, which cannot be broken, and pictures."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    wide = [line for line in lines if len(line) > 80 and line.isascii()]
    assert [line for line in wide if not line.startswith("  sockfsm ")] == []


def test_what_fits_is_left_as_it_is_and_paragraphs_are_filled() -> None:
    text = (
        "examples:\n  sockfsm x   does it\n  sockfsm long   " + "word " * 12 + "\n\n" + "ab " * 30
    )
    fits, broken = text.split("sockfsm long")[0].splitlines()[:2], list(fitted(text, 60))
    assert broken[:2] == fits
    assert broken[2:4] == [
        "  sockfsm long   word word word word word word word word",
        " " * 17 + "word word word word",
    ]
    assert broken[4:] == ["", "ab " * 19 + "ab", ("ab " * 10).strip()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show x --nosuch", "unrecognized arguments: --nosuch; see: sockfsm show --help"),
        ("run --no-capture --payload x.py", "not allowed with argument --no-capture"),
        ("conform tcp --random 0", "--random 0 is none"),
        ("learn tcp --calls ,", "--calls names none: the words are bind"),
        ("show {trace} --from 2 --to 1", "--from 2 is after --to 1"),
        ("simulate lost-sin", "scenario that ships: did you mean lost-syn?"),
        ("simulate {trace}", "tcp-echo: not a regular file\n"),
    ],
)
def test_what_asks_for_nothing_or_for_two_things_is_told(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = Path(__file__).parent.parent / "traces" / "tcp-echo"
    assert cli.main([word.format(trace=trace) for word in arguments.split()]) == cli.BAD_INPUT
    assert message in capsys.readouterr().err
