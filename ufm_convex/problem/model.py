"""What problems of every kind share: content, digest, equality, pickling, TOML, each written once.

A kind of problem says what it is made of (``content``, ``arguments``, ``from_content``); the rest follows. A problem
is frozen, validated when it is made, compares and hashes by content, and reads and writes TOML without losing a bit.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self

from ufm_convex._arrays import IntArray
from ufm_convex._files import parse_toml, read_text, write_atomically


class Model(ABC):
    """One problem, of whatever kind."""

    MODEL: ClassVar[str | None] = None
    """The value of the key ``model`` that tells the TOML file from that of another kind; None without such a key."""
    KEYS: ClassVar[tuple[str, ...]]
    """Keys of the TOML file."""
    HELP: ClassVar[str]
    """What to do about a file that is no such problem."""
    LACKS: ClassVar[str] = ""
    """Why what is written for ``Problem`` has no form for this kind, in words; empty for ``Problem`` itself."""

    class_counts: IntArray

    @property
    def floor(self) -> float:
        """What no model can go below, whatever its size: the entropy of soft targets; 0 for hard ones."""
        return 0.0

    # -- content --------------------------------------------------------------------------------------------

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """The defining data as plain values, in the layout of the TOML file."""

    @abstractmethod
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the constructor makes an equal problem of: positional arguments, keywords."""

    @classmethod
    @abstractmethod
    def from_content(cls, data: Mapping[str, Any], *, source: str = "the problem") -> Self:
        """The problem with the given content; raises as ``from_toml``."""

    def theorems(self) -> tuple[Any, ...] | None:
        """The theorems about this kind of problem alone; None where those of ``ufm_convex.theory`` are."""
        return None

    @property
    def mark(self) -> str:
        """What tells the problem from another with the same content; empty wherever the content tells all."""
        return ""

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content as canonical JSON (sorted keys, no white space), then of ``mark``."""
        canonical = json.dumps(self.content(), sort_keys=True, separators=(",", ":")) + self.mark
        return hashlib.sha256(canonical.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Model) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and unpickle through the constructor: an array alone would lose its read-only flag."""
        positional, keywords = self.arguments()
        return partial(type(self), **keywords), positional

    # -- TOML -----------------------------------------------------------------------------------------------

    def to_toml(self) -> str:
        """The problem as TOML; ``from_toml`` of its class gives it back exactly."""
        import tomli_w

        return tomli_w.dumps(self.content())

    def save(self, path: str | Path) -> None:
        """Write the TOML file, whole or not at all. Raises ``FileFormatError`` when it cannot be written."""
        write_atomically(Path(path), self.to_toml())

    @classmethod
    def from_toml(cls, text: str, *, source: str = "the TOML text") -> Self:
        """Read a problem from TOML, whose keys are the arguments of the class.

        Raises:
            FileFormatError: the text is not TOML, lacks a key, or has one that is not known.
            UFMError: as the class for values out of range.
        """
        return cls.from_content(parse_toml(text, source, cls.KEYS, cls.HELP), source=source)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a problem from a TOML file; raises as ``from_toml``."""
        return cls.from_toml(read_text(path), source=str(path))
