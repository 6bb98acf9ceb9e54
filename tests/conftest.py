"""What holds for all tests: profiles of Hypothesis, and no definitions of the developer's.

Choose a profile with ``HYPOTHESIS_PROFILE``.
"""

from __future__ import annotations

import os
import signal
import tempfile

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("dev", max_examples=50, deadline=None, suppress_health_check=SLOW)
settings.register_profile(
    "ci", max_examples=100, derandomize=True, deadline=None, suppress_health_check=SLOW
)
settings.register_profile("nightly", max_examples=2000, deadline=None, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# A shell that runs tests in the background has them ignore Ctrl-C, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Before any test module is imported: some load the definitions as they are imported.
_CONFIGURATION = tempfile.TemporaryDirectory(prefix="khotool-tests-")
os.environ["XDG_CONFIG_HOME"] = _CONFIGURATION.name
os.environ.pop("KHOTOOL_FORMATS", None)
