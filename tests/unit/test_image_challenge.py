"""The challenges of registries, and where a password may go."""

from __future__ import annotations

import pytest

from rootless.image import challenge


def test_challenges() -> None:
    header = 'Bearer realm="https://auth.example/token",service="a, \\"b\\"",scope="repository:x:pull", Basic realm="x"'
    bearer, basic = challenge.parse_challenges(header)
    assert bearer.scheme == "bearer"
    assert bearer.parameters == {
        "realm": "https://auth.example/token",
        "service": 'a, "b"',
        "scope": "repository:x:pull",
    }
    assert (basic.scheme, basic.parameters) == ("basic", {"realm": "x"})


@pytest.mark.parametrize(
    "header", ["", ",,,", "=", '"', "Bearer realm=", 'Bearer realm="', "\x00" * 50, "a=b=c", "é" * 9000]
)
def test_hostile_challenges_end(header: str) -> None:
    challenge.parse_challenges(header)


@pytest.mark.parametrize(
    ("registry", "realm", "trusted"),
    [
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.example", "gitlab.example", True),
        ("ghcr.io", "ghcr.io", True),
        ("a.example.com", "auth.a.example.com", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "localhost", True),
        ("ghcr.io", "evil.io", False),
        ("registry.example.com", "example.com.evil.net", False),
        ("registry.example.com", "evilexample.com", False),
        ("registry.example.com", "com", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.0.0.1", "10.0.0.0.1", False),
        ("localhost", "evil.example", False),
    ],
)
def test_where_a_password_may_go(registry: str, realm: str, trusted: bool) -> None:
    assert challenge.trusts_realm(registry, realm) is trusted
