"""The pytest plugin, run by pytest itself. Each run costs seconds, so few runs look at much."""

import subprocess
import sys

import pytest
from patience import PATIENCE

pytest_plugins = ["pytester"]

CODE = """
    import errno
    import socket
    import pytest
    import sockfsm
    from sockfsm.testing import illegal

    def connected():
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        conn, _ = server.accept()
        return server, client, conn

    def close(*sockets):
        for sock in sockets:
            sock.close()

    def wrong():
        ends = connected()
        try:
            with pytest.raises(OSError) as caught:
                ends[2].listen()
        finally:
            close(*ends)
        return caught.value

    def test_traced(sockfsm_trace):
        close(*connected())
        calls = [call.method for call in sockfsm_trace.calls()]
        assert calls.count("close") == 3
        assert {"bind", "listen", "accept", "connect"} <= set(calls)

    def test_only_its_own_calls(sockfsm_trace):
        assert list(sockfsm_trace.calls()) == []

    def test_failing(sockfsm_trace):
        wrong()
        assert 0

    def test_failing_untraced():
        assert 0

    def test_failing_long(sockfsm_trace):
        for _ in range(200):
            socket.socket().close()
        assert 0

    def test_observing(sockfsm_trace):
        assert not isinstance(wrong(), sockfsm.IllegalCall)

    @pytest.mark.sockfsm(mode="enforce")
    def test_marked(sockfsm_trace):
        assert isinstance(wrong(), sockfsm.IllegalCall)

    def test_illegal(sockfsm_trace):
        server, client, conn = connected()
        with illegal("listen", state="CONNECTED", errno=errno.EINVAL):
            conn.listen()
        close(server, client, conn)
        assert [call.method for call in sockfsm_trace.calls() if call.refused] == ["listen"]

    @pytest.mark.sockfsm(mode="observed")
    def test_wrong_marker(sockfsm_trace):
        pass
"""


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    pytester.makepyfile(CODE)
    return pytester.runpytest("-p", "no:cacheprovider", "--strict-markers", *options)


def test_tracing_marking_and_reporting(pytester: pytest.Pytester) -> None:
    result = run(pytester)
    result.assert_outcomes(passed=5, failed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_failing _*",
            "*sockfsm timeline*",
            "trace     of test_failing",
            "*listen()*REFUSED EINVAL*CONNECTED*py:*",
            "refused*listen in CONNECTED: EINVAL",
            "*_ test_failing_untraced _*",
            "*_ test_failing_long _*",
            "*sockfsm timeline*",
            "... 2?? lines before these are left out",
        ]
    )
    assert str(result.stdout).count("sockfsm timeline") == 2
    result.stdout.fnmatch_lines(["*UsageError: no mode 'observed': choose observe or enforce*"])


def test_the_option_enforces(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--sockfsm-enforce", "-k", "observing or marked or illegal")
    result.assert_outcomes(passed=2, failed=1, deselected=6)
    result.stdout.fnmatch_lines(["FAILED *::test_observing*"])


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest("-p", "no:sockfsm").assert_outcomes(passed=1)


def test_an_unused_plugin_imports_nothing_of_sockfsm(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys
        def test_it():
            names = {name for name in sys.modules if name.split(".")[0] == "sockfsm"}
            assert names == {"sockfsm", "sockfsm.pytest_plugin"}
        """
    )
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=pytester.path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert process.returncode == 0, process.stdout


def test_an_installed_plugin_under_run(pytester: pytest.Pytester) -> None:
    """pytest wants to rewrite an installed plugin's package, which `run` has imported by then."""
    info = pytester.mkdir("sockfsm-0.0.0.dist-info")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sockfsm\nVersion: 0.0.0\n")
    (info / "RECORD").write_text("sockfsm/__init__.py,,\nsockfsm/pytest_plugin.py,,\n")
    (info / "entry_points.txt").write_text("[pytest11]\nsockfsm = sockfsm.pytest_plugin\n")
    pytester.makepyfile("def test_nothing(): pass")
    run = [sys.executable, "-m", "sockfsm", "run", "--no-capture", "-o", "trace"]
    done = subprocess.run(
        [*run, "-m", "pytest", "-W", "error"], cwd=pytester.path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RewriteWarning" not in done.stdout
