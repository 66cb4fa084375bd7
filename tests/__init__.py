"""The tests: one `test_<module>.py` a module."""
