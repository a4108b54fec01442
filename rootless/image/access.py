"""How a registry is spoken to and what is asked of a pull: what the command line says about it."""

from __future__ import annotations

DEFAULT_RETRIES = 3


class Credentials:
    """A user name and a password, or (``identity_token``) what a token service takes in their place."""

    __slots__ = ("identity_token", "password", "user")

    def __init__(self, user: str, password: str, identity_token: str = "") -> None:
        self.user = user
        self.password = password
        self.identity_token = identity_token

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return f"Basic {self.encoded}"

    @property
    def encoded(self) -> str:
        """USER:PASSWORD in base64, as headers and files of credentials have it."""
        import base64

        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Access:
    """Credentials, certificates and patience; the defaults are those of a command without options.

    ``creds`` is USER:PASSWORD, ``authfile`` replaces every file of credentials, ``cert_dir`` every
    directory of certificates. ``tls_verify`` None is what the configuration says. ``retries`` come
    after the first attempt, the first of them ``retry_delay_s`` later (0: half a second, growing).
    """

    __slots__ = ("authfile", "cert_dir", "creds", "retries", "retry_delay_s", "tls_verify")

    def __init__(
        self,
        *,
        authfile: str = "",
        cert_dir: str = "",
        creds: str = "",
        tls_verify: bool | None = None,
        retries: int = DEFAULT_RETRIES,
        retry_delay_s: float = 0.0,
    ) -> None:
        self.authfile = authfile
        self.cert_dir = cert_dir
        self.creds = creds
        self.tls_verify = tls_verify
        self.retries = retries
        self.retry_delay_s = retry_delay_s

    def given(self) -> Credentials | None:
        """The credentials that ``creds`` says, None if it says nothing. Raises UsageError."""
        if not self.creds:
            return None
        user, _, password = self.creds.partition(":")
        if not user:
            from rootless.errors import UsageError

            raise UsageError("--creds has no user name", "it looks like USER:PASSWORD")
        return Credentials(user, password)


class PullOptions:
    """What ``run``, ``create`` and ``pull`` say about the image that is fetched.

    ``policy``: always, missing (only if there is none), newer (only if the registry has another
    one; a registry that fails is no error when there is one), never. ``platform`` is
    OS/ARCH[/VARIANT], "" for this machine's.
    """

    __slots__ = ("access", "platform", "policy", "quiet")

    def __init__(
        self, *, policy: str = "always", platform: str = "", quiet: bool = False, access: Access | None = None
    ) -> None:
        self.policy = policy
        self.platform = platform
        self.quiet = quiet
        self.access = access or Access()


def platform_text(platform: str, os: str, arch: str, variant: str) -> str:
    """``--platform``, or ``--os``, ``--arch`` and ``--variant`` in its form; "" where none was given."""
    from rootless.errors import UsageError

    if not (os or arch or variant):
        return platform
    if platform:
        raise UsageError("--platform and --os, --arch or --variant exclude each other", "leave one out")
    from rootless.image import manifest

    if variant and not arch:
        arch = manifest.native_platform().architecture
    words = [os or "linux", arch or manifest.native_platform().architecture]
    return "/".join([*words, variant] if variant else words)
