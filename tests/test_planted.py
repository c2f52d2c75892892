"""What an enemy could plant, and where: folders, links, names of files to come."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import segments

import sockfsm
from sockfsm import private
from sockfsm.errors import UsageError
from sockfsm.record import packs, room
from sockfsm.record.folder import make_folder
from sockfsm.record.packs import Packed
from sockfsm.record.thinning import Children, thin

PACKAGE = Path(sockfsm.__file__).parent
RUN = [sys.executable, "-m", "sockfsm", "run", "--no-capture"]


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(UsageError, match="is a link"):
        sockfsm.install(tmp_path / "link")
    done = subprocess.run(
        [*RUN, "-o", tmp_path / "link", "-m", "timeit"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "is a link" in done.stderr
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_folder_that_others_can_replace_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "deeper").mkdir(parents=True)
    shared.chmod(0o777)
    for folder in (shared / "trace", shared / "deeper" / "trace"):
        with pytest.raises(UsageError, match=f"others can write in {shared}, and replace"):
            make_folder(str(folder))
        assert not folder.exists()
    shared.chmod(0o1777)
    make_folder(str(shared / "deeper" / "trace"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_program_told_of_somebody_elses_folder_is_not_traced(tmp_path: Path) -> None:
    """As by `sudo -E`: root's program has the variable from a user."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    again = "import socket, subprocess, sys; socket.socket().close()"
    code = f"{again}; sys.exit(subprocess.call([sys.executable, '-c', {again!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": str(PACKAGE / "startup"),
            "SOCKFSM_TRACE": str(folder),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("sockfsm: not traced: ")
    assert "belongs to another user" in line
    assert list(folder.iterdir()) == []


def plant(folder: Path, victim: Path) -> None:
    """Links under every name that was ever used beside a file of ours."""
    for path in list(folder.iterdir()):
        for name in (f"{path.name}.new", f"{path.name}.part", f".{path.name}.{os.getpid()}"):
            (folder / name).symlink_to(victim)


def test_no_link_is_followed_by_whoever_tidies(tmp_path: Path) -> None:
    folder, victim = tmp_path / "trace", tmp_path / "victim"
    victim.write_text("precious")
    log = segments.several(folder)
    (folder / room.DROPPED).write_text("{}")
    (folder / "ended-1.packed").touch()
    plant(folder, victim)
    assert thin(log, 1, Children([]))
    packs.pack(folder / "ended-1.packed", [Packed("1-0.calls", b"x")])
    room._forget(folder, [])
    assert victim.read_text() == "precious"
    made = [log.paths[0], folder / "ended-1.packed", folder / room.DROPPED]
    assert {path.lstat().st_mode & 0o170777 for path in made} == {0o100600}


@pytest.mark.parametrize("plants", ["link", "second name", "pipe"])
def test_only_files_of_ours_are_cut(plants: str, tmp_path: Path) -> None:
    victim, log = tmp_path / "victim", tmp_path / "1-0.calls"
    victim.write_bytes(b"precious" + bytes(100))
    if plants == "link":
        log.symlink_to(victim)
    elif plants == "second name":
        log.hardlink_to(victim)
    else:
        os.mkfifo(log)
    with pytest.raises(OSError, match=r"not a file of ours|symbolic links"):
        room.cut(log)
    assert victim.read_bytes() == b"precious" + bytes(100)


def test_what_replaces_a_file_has_a_name_that_nobody_knows(tmp_path: Path) -> None:
    seen = set()
    for _ in range(2):
        with private.replacing(tmp_path / "x") as file:
            file.write(b"new")
            (name,) = {path.name for path in tmp_path.iterdir()} - {"x"}
            seen.add(name)
    assert len(seen) == 2
    with pytest.raises(KeyError), private.replacing(tmp_path / "x") as file:
        raise KeyError
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]


def test_a_lock_is_for_one_and_goes_with_him(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import sys; from sockfsm import private\n"
        "with private.locked(sys.argv[1]) as held: sys.exit(held)"
    )
    with private.locked(path) as held:
        assert held
        assert subprocess.run([sys.executable, "-c", code, path]).returncode == 0
    assert not path.exists()
    path.touch(0o600)  # of one that was killed
    assert subprocess.run([sys.executable, "-c", code, path]).returncode == 1
    assert not path.exists()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), private.locked(path):
        pass
    assert not (tmp_path / "elsewhere").exists()


MAKERS = {"private.py", "record/mapping.py", "wire/output.py"}
"""Who makes the files of a trace."""
NAMED_BY_THE_USER = {
    "cli/demo.py", "cli/explore.py", "cli/export.py", "conform/runner.py", "diagrams/committed.py",
    "diagrams/render.py", "model/__main__.py", "pages/__main__.py",
}  # fmt: skip
NO_TRACE = {
    "cli/compare.py", "cli/play.py", "sim/wires.py",
    "step/drawing.py",  # it cuts lines
    "conform/bench.py", "conform/directed.py", "conform/lives.py", "conform/methods.py",
    "conform/networks.py", "conform/stages.py", "demo/play.py",
    "record/folder.py", "sim/play.py", "tracer/block.py", "wire/namespace.py", "wire/tracefs.py",
}  # fmt: skip
"""Temporary folders, files below /proc and in the kernel; folders, made with their mode."""
_MAKE = {
    "O_CREAT", "O_TRUNC", "mkdir", "makedirs", "mkdtemp", "mkstemp", "TemporaryDirectory",
    "TemporaryFile", "NamedTemporaryFile", "write_text", "write_bytes", "touch", "truncate",
}  # fmt: skip


def makes(tree: ast.AST) -> bool:
    """Whether a module makes files, or opens them by name to be written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _MAKE:
            of_a_file = node.attr == "truncate" and "file" in ast.unparse(node.value)
            if not of_a_file:
                return True
        if isinstance(node, ast.alias) and node.name in _MAKE:
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("open"):
            modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
            wants = any(isinstance(m, str) and set("wax+") & set(m) and len(m) < 4 for m in modes)
            if wants and ast.unparse(node.func) != "os.fdopen" and "gzip" not in ast.unparse(node):
                return True
    return False


def test_files_of_a_trace_have_one_maker() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if makes(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found - NAMED_BY_THE_USER - NO_TRACE == MAKERS
