"""Certificates: what was proved, written so that a stranger can check it."""

from __future__ import annotations

from ufm_convex.certificate.certifying import certify, encoded, require_certifiable
from ufm_convex.certificate.contrastive import ContrastiveCertificate
from ufm_convex.certificate.encoding import require_encodable
from ufm_convex.certificate.model import Certificate, Judgement

__all__ = [
    "Certificate",
    "ContrastiveCertificate",
    "Judgement",
    "certify",
    "encoded",
    "require_certifiable",
    "require_encodable",
]
