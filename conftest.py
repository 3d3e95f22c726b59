"""Child processes of the tests see the installed package too, and not the sources in the current folder."""

import os

import pytest

os.environ.setdefault("PYTHONSAFEPATH", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """All cores for the whole suite; for chosen files none but this process, since workers take seconds to start."""
    return None if config.args_source == config.ArgsSource.TESTPATHS else 0
