"""``login logout pull push search``, what speaks with registries, and ``save load``: archives and directories."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import (
    Authfile,
    CertDir,
    ContentTrust,
    Format,
    NoProgress,
    NoTruncation,
    OtherPlatform,
    Patience,
    RegistryAccess,
    TlsVerify,
)


@command(
    "pull",
    "image pull",
    runs="transfer:pull",
    examples=[
        "rpod pull debian",
        "rpod pull docker.io/library/debian:12 quay.io/team/app@sha256:…",
        "rpod pull --platform linux/arm64 alpine",
        "rpod pull --all-tags registry.example/team/app",
        "rpod pull oci:./layout:v1 docker-archive:app.tar",
    ],
)
class Pull(OtherPlatform, RegistryAccess, Patience):
    """Fetch images from a registry, or from a place on this machine (see rpod image copy).

    What was interrupted goes on where it was.
    """

    images: Annotated[list[str], argument("IMAGE...")]
    all_tags: Annotated[bool, option("--all-tags", "-a", text="Every tag of the repository.")] = False
    disable_content_trust: ContentTrust = False
    policy: Annotated[str, option("--policy", metavar="POLICY", text="always, missing, newer or never.")] = "always"
    quiet: Annotated[bool, option("--quiet", "-q", text="Print the image's id only.")] = False


@command(
    "push",
    "image push",
    runs="transfer:push",
    examples=[
        "rpod push registry.example/team/app:1.0",
        "rpod push app registry.example/team/app:1.0",
        "rpod push --compression-format zstd --compression-level 12 app registry.example/team/app",
        "rpod push --all-tags registry.example/team/app",
    ],
)
class Push(RegistryAccess, Patience):
    """Send an image to a registry; what the registry has already is not sent."""

    image: Annotated[str, argument("IMAGE")]
    target: Annotated[list[str], argument("[TARGET]")] = []
    all_tags: Annotated[bool, option("--all-tags", "-a", text="Every stored tag of the repository IMAGE.")] = False
    compression_format: Annotated[
        str, option("--compression-format", metavar="FORM", text="gzip or zstd; without: as each layer was.")
    ] = ""
    compression_level: Annotated[
        int | None, option("--compression-level", metavar="N", text="1 to 9 for gzip, 1 to 20 for zstd.")
    ] = None
    digestfile: Annotated[str, option("--digestfile", metavar="FILE", text="Write the manifest's digest to FILE.")] = ""
    disable_content_trust: ContentTrust = False
    force_compression: Annotated[
        bool | None,
        option("--force-compression", text="Do not use a blob that is there in another form (true with a format)."),
    ] = None
    format: Annotated[
        str, option("--format", "-f", metavar="FORMAT", text="oci or v2s2; without: what the image has.")
    ] = ""
    quiet: NoProgress = False
    remove_signatures: Annotated[
        bool, option("--remove-signatures", text="Send no signatures, which is so in any case.")
    ] = False


@command(
    "login",
    runs="transfer:login",
    examples=[
        "rpod login quay.io",
        "rpod login --username anna --password-stdin registry.example < password.txt",
        "rpod login --get-login quay.io",
    ],
)
class Login:
    """Log in to a registry: the password is tried, then kept for this session."""

    registry: Annotated[list[str], argument("[REGISTRY]")] = []
    authfile: Authfile = ""
    cert_dir: CertDir = ""
    get_login: Annotated[bool, option("--get-login", text="Only print who is logged in.")] = False
    password: Annotated[
        str, option("--password", "-p", metavar="PASSWORD", text="Others can see it in ps: rather --password-stdin.")
    ] = ""
    password_stdin: Annotated[bool, option("--password-stdin", text="Read the password from standard input.")] = False
    tls_verify: TlsVerify = None
    username: Annotated[str, option("--username", "-u", metavar="NAME", text="The user's name there.")] = ""
    verbose: Annotated[bool, option("--verbose", "-v", text="Say where the credentials are kept.")] = False


@command("logout", runs="transfer:logout", examples=["rpod logout quay.io", "rpod logout --all"])
class Logout:
    """Forget the credentials for a registry."""

    registry: Annotated[list[str], argument("[REGISTRY]")] = []
    all: Annotated[bool, option("--all", "-a", text="Those for all registries.")] = False
    authfile: Authfile = ""


@command(
    "save",
    "image save",
    runs="transfer:save",
    examples=[
        "rpod save debian > debian.tar",
        "rpod save -m -o two.tar debian localhost/web",
        "rpod save --format oci-archive -o debian.oci debian",
    ],
)
class Save:
    """Write an image, and more names of it, to an archive or a directory; with -m several images."""

    images: Annotated[list[str], argument("IMAGE [NAME]...")]
    compress: Annotated[bool, option("--compress", text="Compress the layers of a docker-dir with gzip.")] = False
    format: Annotated[
        str, option("--format", metavar="FORMAT", text="docker-archive, oci-archive, oci-dir or docker-dir.")
    ] = "docker-archive"
    multi_image_archive: Annotated[
        bool, option("--multi-image-archive", "-m", text="Each name is an image of its own.")
    ] = False
    output: Annotated[str, option("--output", "-o", metavar="PATH", text="Write to PATH (standard output).")] = ""
    quiet: NoProgress = False
    uncompressed: Annotated[bool, option("--uncompressed", text="Do not compress layers.")] = False


@command(
    "load",
    "image load",
    runs="transfer:load",
    examples=["rpod load < debian.tar", "rpod load -i debian.oci.zst", "rpod load -i /media/layout"],
)
class Load:
    """Store the images of an archive or a directory: of Docker or OCI, with any compression."""

    input: Annotated[str, option("--input", "-i", metavar="PATH", text="Read PATH (standard input).")] = ""
    quiet: NoProgress = False


@command(
    "search",
    "image search",
    runs="transfer:search",
    examples=[
        "rpod search alpine",
        "rpod search registry.example/team",
        "rpod search --list-tags docker.io/library/debian",
    ],
)
class Search(RegistryAccess):
    """Look for images in registries.

    TERM is WORD, REGISTRY/WORD, or REGISTRY/ for everything that is there.
    """

    term: Annotated[str, argument("TERM")]
    compatible: Annotated[bool, option("--compatible", text="Docker's columns: with stars, official, automated.")] = (
        False
    )
    filter: Annotated[
        list[str], option("--filter", "-f", metavar="KEY=VALUE", text="stars=N, is-official, is-automated.")
    ] = []
    format: Format = ""
    limit: Annotated[int, option("--limit", metavar="N", text="So many of each registry at most (25).")] = 25
    list_tags: Annotated[bool, option("--list-tags", text="The tags of the image TERM.")] = False
    no_trunc: NoTruncation = False
