"""A certificate is handed out only after the independent verifier has accepted its bytes.

The library and the verifier share no code, so that a fault of either shows here, before anything is said or written: as
an error that names the step, never as another way to some certificate. What the verifier is not shown are the arrays of
a candidate in a file of its own, whose second pass costs as much as the first; ``recheck`` shows them, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ufm_convex.candidate import Candidate
from ufm_convex.certificate.file import CertificateFile
from ufm_convex.errors import CertificateError

if TYPE_CHECKING:
    from ufm_convex.verifier import VerificationResult


def require_accepted(
    certificate: CertificateFile, candidate: Candidate | None = None, *, recheck: bool = False
) -> None:
    """Raise ``CertificateError`` unless the verifier proves every step of the file.

    Args:
        certificate: The certificate, as it would be written.
        candidate: The candidate that it is about. Embedded arrays are compared with it.
        recheck: Whether to show the arrays of a candidate that the certificate knows by SHA-256; else the steps about
            them stay open.
    """
    from ufm_convex.verifier import MalformedCertificate, Verdict

    about = certificate.content["candidate"]
    apart = about is not None and about["arrays"] is None
    shown = None if candidate is None or about is None or (apart and not recheck) else candidate.arrays()
    try:
        found = verify(certificate.text().encode(), shown)
    except MalformedCertificate as error:
        raise _refused(f"malformed: {error}") from error
    for step in found.steps:
        open_ = apart and not recheck and step.name == "candidate" and step.verdict is Verdict.INCONCLUSIVE
        if step.verdict is not Verdict.PROVED and not open_:
            raise _refused(f"step {step.name!r} {step.verdict}: {step.detail}")


def verify(data: bytes, arrays: Mapping[str, Any] | None) -> VerificationResult:
    """The verifier's, loaded when there is something to verify: who only makes a problem needs no python-flint."""
    from ufm_convex import verifier

    return verifier.verify(data, arrays)


def _refused(reason: str) -> CertificateError:
    return CertificateError(
        f"the independent verifier does not accept the certificate that was made, {reason}.",
        expected="a certificate of which every step is PROVED; nothing was claimed, and nothing written",
        fix="this is a fault of ufm-convex: please report the problem; ufm_convex.solve shows its bounds.",
    )
