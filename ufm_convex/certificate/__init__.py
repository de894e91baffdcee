"""Certificates: what was proved, written so that a stranger can check it."""

from __future__ import annotations

from ufm_convex.certificate.certifying import certify
from ufm_convex.certificate.encoding import require_encodable
from ufm_convex.certificate.model import Certificate, Judgement

__all__ = ["Certificate", "Judgement", "certify", "require_encodable"]
