"""The soak test: a busy server and its clients, plain and traced, for SOAK seconds (600).

Every second connections come and go, threads are born, code is generated, UNIX paths are bound,
children are forked. The traced process may not grow on and on: its memory, the plain one's taken
away, is measured when it has warmed up and at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SECONDS = float(os.environ.get("SOAK", "600"))
PAGE = os.sysconf("SC_PAGE_SIZE") // 1024
GROWTH = 16 * 1024
"""KiB that the traced process may grow by, beyond the plain one, after its first quarter."""
BOUND = 64
"""MiB that the calls are given, and the packets as much again, where `sockfsm run` takes a size."""
BESIDE = 32
"""MiB for the kernel's states, 200,000 at most, and the newest segment of each process on top."""


def resident() -> int:
    """KiB of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def serve(server: socket.socket) -> None:
    """Answer connections until the server is closed."""
    with contextlib.suppress(OSError):
        while True:
            data, _ = server.accept()
            with data:
                while piece := data.recv(4096):
                    data.sendall(piece)


def turn(number: int, port: int, folder: str) -> None:
    """A little of everything."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"x" * 100)
            client.recv(100)
    thread = threading.Thread(target=socket.socketpair, name=f"thread {number}")
    thread.start()
    thread.join()
    space: dict[str, object] = {"socket": socket}
    body = "one, two = socket.socketpair(); one.send(b'x'); two.recv(1)"
    code = f"def f{number}(): {body}\nf{number}()"
    exec(compile(code, f"generated {number}", "exec"), space)
    path = f"{folder}/{number}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    os.unlink(path)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"x", sock.getsockname())
        sock.recvfrom(1)
    if number % 10 == 0:
        pid = os.fork()
        if not pid:
            one, two = socket.socketpair()
            one.send(b"x")
            os._exit(two.recv(1) != b"x")
        assert os.waitpid(pid, 0)[1] == 0


def program() -> None:
    """What is traced: prints its memory after a quarter and at the end."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    began, number, early = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while (elapsed := time.monotonic() - began) < SECONDS:
            turn(number, server.getsockname()[1], folder)
            number += 1
            if not early and elapsed > SECONDS / 4:
                early = resident()
            time.sleep(0.01)
    print(number, early, resident(), flush=True)


def main() -> int:
    """Both side by side; exit status 1 when the traced one grows."""
    folder = Path(tempfile.mkdtemp(prefix="soak-")) / "trace"
    command = [sys.executable, "-W", "ignore", __file__, "program"]
    run = [sys.executable, "-m", "sockfsm", "run"]
    takes = "--max-size" in subprocess.run([*run, "--help"], capture_output=True, text=True).stdout
    size = ["--max-size", f"{BOUND}M"] if takes else []
    under = [*run, *size, "-o", str(folder), *command]
    running = [
        subprocess.Popen(each, stdout=subprocess.PIPE, text=True) for each in (command, under)
    ]
    answers = [process.communicate()[0] for process in running]
    numbers = [list(map(int, answer.split())) for answer in answers if answer]
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) >> 20
    shutil.rmtree(folder.parent)
    if len(numbers) < 2:
        print("soak: a program ended early:", [process.returncode for process in running])
        return 1
    (_, *plain), (turns, *traced) = numbers
    growth = (traced[1] - traced[0]) - (plain[1] - plain[0])
    print(
        f"soak: {SECONDS:.0f} s, {turns:,} turns, resident {traced[0]:,} to {traced[1]:,} KiB,"
        f" {growth:+,} KiB beyond plain, {disk:,} MiB on disk"
    )
    return int(growth > GROWTH or (takes and disk > 2 * BOUND + BESIDE))


if __name__ == "__main__":
    if sys.argv[1:]:
        program()
    else:
        sys.exit(main())
