"""A few seconds of the fuzzer in every run; `python tests/fuzz/fuzz.py --seconds 600` goes on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

spec = importlib.util.spec_from_file_location("fuzz_run", Path(__file__).with_name("fuzz.py"))
fuzz_run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz_run)


def test_no_bytes_crash_the_verifier():
    assert fuzz_run.fuzz(3.0) > 100
