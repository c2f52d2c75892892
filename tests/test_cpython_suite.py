"""CPython's own `test.test_socket` gives the same result, test by test, with and without us."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RUNNER = Path(__file__).parent / "cpython_suite.py"
_RESULT = re.compile(
    r"^(\w+ \(.*\)).* \.\.\. (ok|FAIL|ERROR|skipped.*|expected failure)$", re.MULTILINE
)


def results(prefix: list[str]) -> dict[str, str]:
    """Test -> result, of one run of the suite."""
    done = subprocess.run(
        [*prefix, str(RUNNER)], capture_output=True, text=True, timeout=200, check=False
    )
    return dict(_RESULT.findall(done.stderr))


def test_the_same_result_test_by_test(tmp_path):
    folder = tmp_path / "trace"
    run = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", str(folder)]
    # Side by side: each spends most of its time asleep.
    with ThreadPoolExecutor() as pool:
        plain, traced = pool.map(results, ([sys.executable], run))
    assert len(plain) > 500
    assert {name: result for name, result in traced.items() if result != plain.get(name)} == {}
    assert traced.keys() == plain.keys()

    from sockfsm.trace.trace import Trace

    trace = Trace.open(folder)
    strange = [
        (c.socket.kind, c.before, c.method, c.outcome)
        for c in trace.calls()
        if not c.explained and c.socket is not None
    ]
    assert strange == []
    assert trace.problems == []
