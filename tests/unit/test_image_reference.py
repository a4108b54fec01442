"""References: Docker's grammar and defaults, and hostile names."""

from __future__ import annotations

import pytest

from rootless.errors import ImageError, UnsupportedError
from rootless.image import reference

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "domain", "path", "tag", "digest"),
    [
        ("debian", "", "debian", "", ""),
        ("debian:12", "", "debian", "12", ""),
        ("team/app", "", "team/app", "", ""),
        ("docker.io/debian", "docker.io", "library/debian", "", ""),
        ("index.docker.io/debian:12", "docker.io", "library/debian", "12", ""),
        ("docker.io/team/app", "docker.io", "team/app", "", ""),
        ("localhost/a", "localhost", "a", "", ""),
        ("localhost:5000/a/b", "localhost:5000", "a/b", "", ""),
        (f"localhost:5000/a/b@sha256:{HEX}", "localhost:5000", "a/b", "", f"sha256:{HEX}"),
        (f"a/b:1@sha256:{HEX}", "", "a/b", "1", f"sha256:{HEX}"),
        ("[::1]:5000/a", "[::1]:5000", "a", "", ""),
        ("Host/a", "Host", "a", "", ""),
        ("a--b/c__d/e.f_g", "", "a--b/c__d/e.f_g", "", ""),
        ("host.example:443/a:T_a-g.1", "host.example:443", "a", "T_a-g.1", ""),
        ("docker://debian:12", "", "debian", "12", ""),
        ("debian:5000", "", "debian", "5000", ""),
    ],
)
def test_grammar(text: str, domain: str, path: str, tag: str, digest: str) -> None:
    parsed = reference.parse(text)
    assert (parsed.domain, parsed.path, parsed.tag, parsed.digest) == (domain, path, tag, digest)


def test_canonical_forms() -> None:
    assert [r.tagged for r in reference.candidates(reference.parse("debian"), ["docker.io", "quay.example"])] == [
        "localhost/debian:latest",
        "docker.io/library/debian:latest",
        "quay.example/debian:latest",
    ]
    assert [str(r) for r in reference.candidates(reference.parse("quay.example/a:1"), ["docker.io"])] == [
        "quay.example/a:1"
    ]
    assert reference.parse("a:1").wanted == "1"
    assert reference.parse(f"a:1@sha256:{HEX}").wanted == f"sha256:{HEX}"
    assert reference.parse_target("mine").tagged == "localhost/mine:latest"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "/",
        "a:",
        "a/",
        "/a",
        "a//b",
        "../x",
        "a/../b",
        ".a",
        "a.",
        "a..b",
        "a___b",
        "a._b",
        "-rf",
        "Debian",
        "a/B",
        "a b",
        "a\nb",
        "a\0b",
        "a\x1b[31m",
        "é",
        "a:" + "t" * 129,
        "a:-x",
        "a:.x",
        "a:x+y",
        "a@",
        "a@sha256:../../x",
        f"a@sha256:{HEX.upper()}",
        f"a@sha256:{HEX[:-1]}",
        "a@sha256",
        f"a@sha256:{HEX}@sha256:{HEX}",
        "host.example:99999/a",
        "host.example:0/a",
        "host.example:/a",
        "host.example:٣/a",
        "-host.example/a",
        "host..example/a",
        "[::1/a",
        "[zz]/a",
        "a" * 300,
        "a/" * 100_000,
        HEX,
        "https://host.example/a",
    ],
)
def test_hostile_names_are_refused(text: str) -> None:
    with pytest.raises(ImageError) as caught:
        reference.parse(text)
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("digest", ["md5:" + "0" * 32, "sha512:" + "0" * 128])
def test_other_digests_are_refused_by_name(digest: str) -> None:
    with pytest.raises(UnsupportedError, match="only sha256"):
        reference.parse(f"a@{digest}")


def test_a_target_has_no_digest() -> None:
    with pytest.raises(ImageError, match="only a tag"):
        reference.parse_target(f"a@sha256:{HEX}")
