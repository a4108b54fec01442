"""From the options about a registry to what the engine wants to know."""

from __future__ import annotations

from rootless.cli.actions.lifecycle import duration_s
from rootless.errors import UsageError
from rootless.image.access import Access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class RegistryOptions(TypedDict):
        """What ``rootless.cli.options`` declares in RegistryAccess and Patience."""

        authfile: str
        cert_dir: str
        creds: str
        tls_verify: bool | None
        retry: int
        retry_delay: str


def registry_access(
    authfile: str, cert_dir: str, creds: str, tls_verify: bool | None, retry: int, retry_delay: str
) -> Access:
    """How to speak with the registry, as the options say. Raises UsageError."""
    if retry < 0:
        raise UsageError(f"--retry {retry}: must be 0 or more")
    return Access(
        authfile=authfile,
        cert_dir=cert_dir,
        creds=creds,
        tls_verify=tls_verify,
        retries=retry,
        retry_delay_s=duration_s(retry_delay, "--retry-delay") if retry_delay else 0.0,
    )
