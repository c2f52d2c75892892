"""The pytest plugin: a thin skin over `sockfsm.tracing` and `sockfsm.testing`.

    def test_echo(sockfsm_trace):          # every socket call of the test is traced
        ...
        assert not [call for call in sockfsm_trace.calls() if call.refused]

    @pytest.mark.sockfsm(mode="enforce", capture=True)
    def test_strict(sockfsm_trace): ...

The report of a failing traced test has the timeline as a section. No other module of sockfsm is
imported before a test uses the fixture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sockfsm.trace.trace import Trace

TRACE = pytest.StashKey["Trace"]()
SHOWN = 200
"""The most lines of a timeline in a report. The last ones are kept: they led to the failure."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--sockfsm-enforce`."""
    parser.getgroup("sockfsm").addoption(
        "--sockfsm-enforce",
        action="store_true",
        help="in traced tests, stop illegal socket calls before they reach the kernel",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "sockfsm(mode='observe', capture=False): how the fixture sockfsm_trace traces this test;"
        " mode 'enforce' stops illegal calls, capture adds the packets",
    )


@pytest.fixture
def sockfsm_trace(request: pytest.FixtureRequest) -> Iterator[Trace]:
    """Trace all sockets of this test; the value is the live `Trace`."""
    import sockfsm

    marker = request.node.get_closest_marker("sockfsm")
    chosen = dict(marker.kwargs) if marker is not None else {}
    # The command line wins over the marker, so that one run can enforce everywhere.
    if request.config.getoption("--sockfsm-enforce"):
        chosen["mode"] = "enforce"
    with sockfsm.tracing(**chosen) as trace:
        trace.name = f"of {request.node.name}"  # its folder is gone when the report is read
        request.node.stash[TRACE] = trace
        yield trace


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the timeline of a failing traced test to its report."""
    report = yield
    trace = item.stash.get(TRACE, None)
    if trace is not None and report.failed and report.when == "call":
        report.sections.append(("sockfsm timeline", _timeline(trace)))
    return report


def _timeline(trace: Trace) -> str:
    from sockfsm.errors import SockfsmError
    from sockfsm.views.timeline import Timeline

    lines: deque[str] = deque(maxlen=SHOWN)
    total = 0
    try:
        for line in Timeline(trace).lines():
            total += 1
            lines.append(line)
    except SockfsmError as error:
        # Whatever happened to the trace, the test's own failure must stay readable.
        lines.append(f"the trace cannot be read: {error}")
    if total > SHOWN:
        lines.appendleft(f"... {total - SHOWN:,} lines before these are left out")
    return "\n".join(lines)
