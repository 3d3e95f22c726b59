"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: nothing in a test is timed.
settings.register_profile("fastkd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastkd")

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with recorded candles: FASTKD_DATA, or ../shared/data beside the project.

    Without it the test is skipped; with FASTKD_REQUIRE_DATA=1 it fails.
    """
    folder = Path(os.environ.get("FASTKD_DATA") or PROJECT.parent / "shared" / "data")
    if not any(folder.glob("*.csv.gz")):
        reason = f"no recorded candles (*.csv.gz) in {folder}; set FASTKD_DATA"
        if os.environ.get("FASTKD_REQUIRE_DATA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
