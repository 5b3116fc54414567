"""What every test folder shares: where real data lies, and thread counts that suit a small machine."""

import faulthandler
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from partstream_core.convert.arrow import set_arrow_defaults
from partstream_core.privacy import keep_runtimes_silent

ROOT = Path(__file__).resolve().parents[1]

# Many tests run small networks; more threads than cores make them slower, never faster.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "2")

keep_runtimes_silent()
set_arrow_defaults()

# pytest disables faulthandler after the last test unless it was enabled before pytest_configure; a crash of a
# native library during the interpreter's shutdown would then leave exit code 139 and no traceback.
faulthandler.enable()

# A busy machine is slow: no test fails for the time it takes.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real photos, labels and clips; the test skips where there is none."""
    folder = Path(os.environ.get("PARTSTREAM_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no data folder at {folder}; name one with PARTSTREAM_DATA")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever asks for the data folder, so that -m 'not data' leaves it out."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)
