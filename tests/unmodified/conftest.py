"""The helpers' assertions explain themselves like a test's own."""

import pytest

pytest.register_assert_rewrite("traced")
