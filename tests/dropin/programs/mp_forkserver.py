"""CPython's test_multiprocessing_forkserver, which not every Python has packed."""

import unittest

import test._test_multiprocessing as tests

tests.install_tests_in_module_dict(globals(), "forkserver")

if __name__ == "__main__":
    unittest.main()
