"""The pytest plugin: a thin skin over `sockfsm.tracing` and `sockfsm.testing`.

    def test_echo(sockfsm_trace):          # every socket call of the test is traced
        ...
        assert not [call for call in sockfsm_trace.calls() if call.refused]

    @pytest.mark.sockfsm(mode="enforce", capture=True)
    def test_strict(sockfsm_trace): ...

A failing test that was traced gets its timeline as a section of its report. Nothing of sockfsm is
imported before a test asks for it.
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
"""Lines of a timeline in a report; the last ones say what led to the failure."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--sockfsm-enforce`."""
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
    """Trace all sockets of this test; gives the live Trace."""
    import sockfsm

    marker = request.node.get_closest_marker("sockfsm")
    chosen = dict(marker.kwargs) if marker is not None else {}
    if request.config.getoption("--sockfsm-enforce"):
        chosen["mode"] = "enforce"
    with sockfsm.tracing(**chosen) as trace:
        request.node.stash[TRACE] = trace
        yield trace


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the timeline of a failing traced test into its report."""
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
        # The test's own failure must stay readable whatever happened to its trace.
        lines.append(f"the trace cannot be read: {error}")
    if total > SHOWN:
        lines.appendleft(f"... {total - SHOWN:,} lines before these are left out")
    return "\n".join(lines)
