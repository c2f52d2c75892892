"""The helpers' assertions explain themselves like a test's own."""

import signal

import pytest

pytest.register_assert_rewrite("traced")

# A background job of a shell is born with SIGINT ignored, and would hand that on to the programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
