"""Fetches a page by urllib from `python -m http.server`, two programs that know nothing of us."""

import signal
import subprocess
import sys
from urllib.request import urlopen

command = [sys.executable, "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
with subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
) as server:
    assert server.stdout is not None
    port = server.stdout.readline().split("port ")[1].split()[0]
    with urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        print(answer.status, answer.headers.get_content_type())
    server.send_signal(signal.SIGINT)
