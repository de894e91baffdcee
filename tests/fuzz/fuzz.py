"""Fuzzing of the reader for a bounded time: whatever the bytes, a verdict or ``MalformedCertificate``, and soon.

python tests/fuzz/fuzz.py --seconds 60
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

TOKENS = [
    b"NaN", b"Infinity", b"-", b"1e999", b"null", b"true", b"{}", b"[]", b'"', b"\\", b"\\u0000", b"\xff", b"p", b"-0",
    b"99999999999999999999", b'"0p0"', b"[[[[[[[[", b'{"a":', b",", b":", b" ", b"\x00", b"0" * 5000, b"1p16384",
]  # fmt: skip


def mutated(data, generator):
    """The bytes after a few random edits."""
    data = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 3, 8))):
        place, length = generator.randrange(len(data) + 1), generator.choice((0, 1, 1, 4, 40))
        kind = generator.randrange(5)
        if kind == 0:
            data[place : place + length] = generator.choice(TOKENS)
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = data[place : place + length]
        elif kind == 3 and place < len(data):
            data[place] = generator.randrange(256)
        else:
            other = generator.randrange(len(data) + 1)
            data[place : place + length] = data[other : other + length]
    return bytes(data)


def fuzz(seconds, seed=0):
    """Number of files tried; whatever is raised but ``MalformedCertificate`` comes through, the bytes in its notes."""
    import json

    from certificate_cases import base_certificates, sha256

    from ufm_convex.verifier import MalformedCertificate, Verdict, verify

    generator = random.Random(seed)
    bases = [certificate.to_json().encode() for certificate in base_certificates().values()]
    tried, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(generator.choice(bases), generator)
        if generator.random() < 0.5:  # past the digest, where the text is still JSON
            try:
                document = json.loads(data)
                content = {key: value for key, value in document.items() if key not in ("digest", "provenance")}
                data = json.dumps({**document, "digest": sha256(content)}).encode()
            except (ValueError, AttributeError, RecursionError):
                pass
        try:
            if verify(data).verdict not in set(Verdict):
                raise RuntimeError("no verdict")
        except MalformedCertificate:
            pass
        except Exception as error:
            error.add_note(repr(data))
            raise
        tried += 1
    return tried


if __name__ == "__main__":
    from scripts import parsed, small

    parser = argparse.ArgumentParser(description="Fuzz the reader.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    small(parser, seconds=1.0)
    chosen = parsed(parser)
    tried = fuzz(chosen.seconds, chosen.seed)
    print(f"{tried} files in {chosen.seconds:g} s from seed {chosen.seed}, no uncaught exception")
