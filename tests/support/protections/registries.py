"""Registries and what they answer."""

from __future__ import annotations

from support.protections.model import one

_CLIENT = "rootless/image/client.py"
_REGISTRY = "rootless/image/registry.py"

PROTECTIONS = (
    one(
        "digest of a manifest", "another manifest than was asked for", "sha256 before it is parsed",
        _REGISTRY, 'if expected.startswith("sha256:") and check_digest(expected) != found:', "if False:",
        "attack/test_attack_image.py::test_manifest_by_digest_with_other_bytes",
        "attack/test_attack_image.py::test_a_digest_header_that_lies",
    ),
    one(
        "form of a digest", "a digest that is a path", "sha256: and 64 lower-case digits",
        "rootless/image/reference.py", "if len(value) != 64 or not _HEX.issuperset(value):", "if False:",
        "unit/test_image_manifest.py::test_damaged_manifests",
        "unit/test_image_reference.py::test_hostile_names_are_refused",
    ),
    one(
        "one meaning of JSON", "a key that is there twice, read differently by two tools",
        "duplicate keys are refused",
        "rootless/kernel/fastjson.py", "if len(result) != len(pairs):", "if False:",
        "unit/test_image_manifest.py::test_damaged_manifests",
    ),
    one(
        "digest of a blob", "other bytes than the manifest says", "sha256 over the stream",
        _REGISTRY, 'if f"sha256:{digest.hexdigest()}" == descriptor.digest:', "if True:",
        "attack/test_attack_image.py::test_layer_with_other_bytes",
        "attack/test_attack_image.py::test_config_with_other_bytes",
    ),
    one(
        "size of a blob", "a blob without end", "no byte more than the manifest says",
        _REGISTRY, "if done > descriptor.size:", "if False:",
        "attack/test_attack_image.py::test_layer_longer_than_said_without_a_length",
    ),
    one(
        "diff id", "a layer that unpacks to something else", "sha256 of the uncompressed layer",
        "rootless/storage/unpack.py", "elif found != orders.diff_id:", "elif False:",
        "attack/test_attack_storage.py::test_a_layer_that_unpacks_to_something_else",
    ),
    one(
        "size of a manifest", "a document that fills the memory", "4 MiB",
        "rootless/image/manifest.py", "if len(raw) > MAX_BYTES:", "if False:",
        "unit/test_image_manifest.py::test_damaged_manifests",
    ),
    one(
        "kind of a manifest", "one document that two tools understand differently", "one meaning, or refused",
        "rootless/image/manifest.py",
        'if "manifests" in document and ("layers" in document or "config" in document):', "if False:",
        "attack/test_attack_image.py::test_both_an_image_and_an_index",
    ),
    one(
        "passwords across redirects", "a registry that redirects to a thief", "Authorization stays with its origin",
        _CLIENT, "if origin != home:", "if False:",
        "attack/test_attack_image.py::test_credentials_stay_when_a_blob_is_redirected",
    ),
    one(
        "realm", "a token service of somebody else", "passwords go to the registry's own domain",
        _CLIENT, "if credentials and not challenges_of.trusts_realm(registry.host, origin.host):", "if False:",
        "attack/test_attack_image.py::test_a_password_goes_to_no_foreign_realm",
    ),
    one(
        "https to http", "a redirect that takes TLS off", "refused",
        _CLIENT, 'if response.origin.scheme == "https" and origin.scheme == "http":', "if False:",
        "attack/test_attack_image.py::test_from_https_to_http_is_refused",
    ),
    one(
        "http unasked", "a registry without TLS", "only hosts that are named as insecure",
        "rootless/image/transport.py",
        'if origin.scheme == "http" and not origin.is_any_of(self.insecure):', "if False:",
        "attack/test_attack_image.py::test_insecure_means_that_host_and_port_only",
    ),
    one(
        "certificates", "somebody in the middle", "TLS with the system's authorities, and no way back",
        "rootless/image/certificates.py", "    if not verify:\n", "    if True:\n",
        "attack/test_attack_image.py::test_a_bad_certificate_fails_and_never_falls_back",
    ),
    one(
        "tokens", "a token that begins another header", "visible ASCII",
        _CLIENT,
        'if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:', "if False:",
        "attack/test_attack_image.py::test_tokens_that_are_none",
    ),
    one(
        "length of a blob", "an answer of another length than the manifest says", "refused before it is read",
        _REGISTRY, "if length is not None and length != descriptor.size - start + skip:", "if False:",
        "attack/test_attack_image.py::test_layer_of_another_size",
    ),
    one(
        "parts of a blob", "another part than was asked for", "Content-Range is looked at",
        _REGISTRY, 'if not response.header("Content-Range").startswith(f"bytes {start}-"):', "if False:",
        "attack/test_attack_image.py::test_another_range_than_asked_for",
    ),
    one(
        "media types", "a document that says another kind than the registry", "refused",
        "rootless/image/manifest.py", "if said and header and said != header:", "if False:",
        "attack/test_attack_image.py::test_a_media_type_that_contradicts_the_header",
    ),
    one(
        "names in archives", "a name in an archive that is a path", "the names of images are checked",
        "rootless/engine/transports/docker_archive.py", "found.append(full_name(tag))", "found.append(tag)",
        "attack/test_attack_load.py::test_names_of_an_archive_are_checked_and_the_image_loaded",
    ),
)  # fmt: skip
