"""How long properties are searched: shortly here, thoroughly with ``HYPOTHESIS_PROFILE=deep``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# The same examples on every machine, and no clock: what passes here passes there.
settings.register_profile("quick", max_examples=15, deadline=None, derandomize=True)
# Under coverage, where plain tests have to reach every line anyway.
settings.register_profile("cover", max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate])
settings.register_profile(
    "deep", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
