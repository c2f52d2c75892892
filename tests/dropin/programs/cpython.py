"""Runs test modules of CPython and writes a line for each test.

cpython.py RESULTS test.test_socket test.test_ssl.ThreadedTests ...
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator

LEFT_OUT = {
    "ThreadedVSOCKSocketStreamTest": "needs a host that answers on vsock; hangs without one",
    "NetworkedTests": "asks servers on the internet",
    "NetworkedNNTPTests": "the same",
}


class Result(unittest.TextTestResult):
    """Keeps what came of each test."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.found: dict[str, str] = {}

    def keep(self, test: unittest.TestCase, told: str, error: object = None) -> None:
        """The worst that came of it."""
        kind = error[0].__name__ if isinstance(error, tuple) else ""
        if told != "ok" or test.id() not in self.found:
            self.found[test.id()] = f"{told} {kind}".strip()

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().addSuccess(test)
        self.keep(test, "ok")

    def addError(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addError(test, err)  # type: ignore[arg-type]
        self.keep(test, "error", err)

    def addFailure(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addFailure(test, err)  # type: ignore[arg-type]
        self.keep(test, "failed", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.keep(test, f"skipped {reason}")

    def addSubTest(self, test: object, subtest: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)  # type: ignore[arg-type]
        if err is not None:
            self.keep(test, "failed in part", err)  # type: ignore[arg-type]

    def addExpectedFailure(self, test: unittest.TestCase, err: object) -> None:  # noqa: N802
        super().addExpectedFailure(test, err)  # type: ignore[arg-type]
        self.keep(test, "failed as expected", err)


def each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The single tests of a suite."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def main(results: str, *names: str) -> None:
    """Run them; exit status 0 whatever came of them."""
    tests = unittest.TestSuite()
    for name in names:
        for test in each(unittest.defaultTestLoader.loadTestsFromName(name)):
            if type(test).__name__ not in LEFT_OUT:
                tests.addTest(test)
    if unittest.defaultTestLoader.errors:
        sys.exit("\n".join(map(str, unittest.defaultTestLoader.errors)))
    runner = unittest.TextTestRunner(resultclass=Result)
    found = runner.run(tests)
    with open(results, "w") as file:
        lines = [f"{test} -> {told}\n" for test, told in found.found.items()]  # type: ignore[attr-defined]
        file.write("".join(lines).encode("ascii", "backslashreplace").decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
