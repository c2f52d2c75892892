"""The pytest plugin, run by pytest itself."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

ECHO = """
    import socket
    import pytest

    def connected():
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        conn, _ = server.accept()
        return server, client, conn

    def close(*sockets):
        for sock in sockets:
            sock.close()
"""


def run(pytester: pytest.Pytester, code: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(ECHO + code)
    return pytester.runpytest("-p", "no:cacheprovider", *options)


def test_the_fixture_traces_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_it(sockfsm_trace):
        close(*connected())
        calls = [call.method for call in sockfsm_trace.calls()]
        assert calls.count("close") == 3
        assert {"bind", "listen", "accept", "connect"} <= set(calls)

    def test_only_its_own_calls(sockfsm_trace):
        assert list(sockfsm_trace.calls()) == []
    """,
    )
    result.assert_outcomes(passed=2)


def test_a_failing_traced_test_shows_its_timeline(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_it(sockfsm_trace):
        ends = connected()
        try:
            ends[2].listen()
        except OSError:
            pass
        close(*ends)
        assert 0

    def test_untraced():
        assert 0
    """,
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*sockfsm timeline*", "*listen()*REFUSED EINVAL*CONNECTED*py:*", "*refused*listen*"]
    )
    assert str(result.stdout).count("sockfsm timeline") == 1


def test_a_passing_test_shows_none(pytester: pytest.Pytester) -> None:
    result = run(pytester, "    def test_it(sockfsm_trace): close(*connected())\n", "-rA")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*sockfsm timeline*")


def test_a_long_timeline_is_cut(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
    def test_it(sockfsm_trace):
        for _ in range(200):
            socket.socket().close()
        assert 0
    """,
    )
    result.stdout.fnmatch_lines(["... 2?? lines before these are left out"])


STRICT = """
    def test_it(sockfsm_trace):
        import sockfsm
        ends = connected()
        with pytest.raises(OSError) as caught:
            ends[2].listen()
        close(*ends)
        assert isinstance(caught.value, sockfsm.IllegalCall)
"""


def test_the_option_enforces(pytester: pytest.Pytester) -> None:
    run(pytester, STRICT).assert_outcomes(failed=1)
    run(pytester, STRICT, "--sockfsm-enforce").assert_outcomes(passed=1)


def test_the_marker_enforces(pytester: pytest.Pytester) -> None:
    code = "\n    @pytest.mark.sockfsm(mode='enforce')" + STRICT
    run(pytester, code, "--strict-markers").assert_outcomes(passed=1)


def test_a_wrong_marker_is_one_clear_error(pytester: pytest.Pytester) -> None:
    code = "\n    @pytest.mark.sockfsm(mode='observed')" + STRICT
    result = run(pytester, code)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*UsageError: no mode 'observed': choose observe or enforce*"])


def test_illegal_inside_the_fixture(pytester: pytest.Pytester) -> None:
    code = """
    import errno
    from sockfsm.testing import illegal

    def test_it(sockfsm_trace):
        server, client, conn = connected()
        with illegal("listen", state="CONNECTED", errno=errno.EINVAL):
            conn.listen()
        close(server, client, conn)
        assert [call.method for call in sockfsm_trace.calls() if call.refused] == ["listen"]
    """
    run(pytester, code).assert_outcomes(passed=1)
    run(pytester, code, "--sockfsm-enforce").assert_outcomes(passed=1)


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    result = run(pytester, "    def test_it(): close(*connected())\n", "-p", "no:sockfsm")
    result.assert_outcomes(passed=1)


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
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stdout
