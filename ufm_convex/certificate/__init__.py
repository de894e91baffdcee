"""Certificates: what was proved, written so that a stranger can check it."""

from __future__ import annotations

from ufm_convex.certificate.certifying import certify, encoded, require_certifiable
from ufm_convex.certificate.contrastive import ContrastiveCertificate
from ufm_convex.certificate.encoding import require_encodable
from ufm_convex.certificate.model import Certificate, Judgement
from ufm_convex.certificate.unwritten import Judged, is_written, judged, proved_gap

__all__ = [
    "Certificate",
    "ContrastiveCertificate",
    "Judged",
    "Judgement",
    "certify",
    "encoded",
    "is_written",
    "judged",
    "proved_gap",
    "require_certifiable",
    "require_encodable",
]
