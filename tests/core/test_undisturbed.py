"""Settings of the process while rows go by."""

import gc
import sys

from core.undisturbed import undisturbed


def test_the_last_job_to_end_leaves_the_process_as_the_first_found_it():
    before = gc.get_threshold(), sys.getswitchinterval()
    first, second = undisturbed(), undisturbed()
    first.__enter__()
    quiet = gc.get_threshold(), sys.getswitchinterval()
    assert quiet != before
    second.__enter__()
    first.__exit__(None, None, None)
    assert (gc.get_threshold(), sys.getswitchinterval()) == quiet
    second.__exit__(None, None, None)
    assert (gc.get_threshold(), sys.getswitchinterval()) == before
