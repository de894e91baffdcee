"""Whether Coq can be asked here: ``coqc`` is on the path, and finds CoqInterval. One word on it for all that skip."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SKIPPED = "coqc is not installed, or not with CoqInterval: apt-get install coq libcoq-interval"


@cache
def coq_is_here():
    """Whether a file of one line about CoqInterval compiles."""
    coqc = shutil.which("coqc")
    if coqc is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.v"
        probe.write_text("From Interval Require Basic.\n")
        return subprocess.run([coqc, "-q", str(probe)], capture_output=True, timeout=300, check=False).returncode == 0
