"""Settings shared by all tests: Hypothesis repeats itself, so a red run can be run again."""

from hypothesis import settings

settings.register_profile("millicert", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("millicert")
