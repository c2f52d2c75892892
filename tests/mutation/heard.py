"""Writes down which functions of ours each test calls, while `make mutants` learns that.

Every Python process of the tests begins here then, by a .pth of their copy: so little is imported.
pytest says in the environment which test runs. Nothing is kept open, so that tests of descriptors,
forks and limits are as they were.
"""

from __future__ import annotations

import os
import sys
import threading
from types import CodeType, FrameType

_OUTPUT = os.environ.get("MUTANTS_REACHED", "")
_OURS = f"{os.environ.get('MUTANTS_ROOT', '')}/sockfsm/"
known: set[CodeType] = set()
"""What is written down already for the test that runs."""


def begin() -> None:
    """Where the tests are learnt from: listen to every call from now on."""
    if _OUTPUT:
        threading.setprofile(_heard)
        sys.setprofile(_heard)


def _heard(frame: FrameType, event: str, _: object) -> None:
    code = frame.f_code
    if event != "call" or code in known:
        return
    known.add(code)
    if code.co_filename.startswith(_OURS):
        test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
        line = f"{test}\t{code.co_filename}\t{code.co_firstlineno}\n"
        try:
            output = os.open(_OUTPUT, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(output, line.encode())
            os.close(output)
        except OSError:
            known.discard(code)  # a test of processes that can open nothing: perhaps later
