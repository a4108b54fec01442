"""What rpod knows by name and does not do: each is refused with one line that says what serves instead."""

from __future__ import annotations

from rootless.errors import RpodError, UnsupportedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Commands that are not there yet, by noun ("" = rpod itself).
COMMANDS: dict[str, tuple[str, ...]] = {
    "": (
        "artifact",
        "build",
        "builder",
        "check",
        "completion",
        "compose",
        "cri",
        "dashboard",
        "farm",
        "kube",
        "network",
        "pod",
        "secret",
    ),
    "image": (
        "build",
        "verify",
    ),
    "generate": (
        "kube",
        "spec",
    ),
    "system": (
        "connection",
        "service",
    ),
}

# Docker's words that mean nothing for one user on one machine, and what to do instead.
INSTEAD = {
    "swarm": "rpod runs containers of one user on one machine: start them with systemd user units",
    "service": "there is no swarm: rpod run -d --restart always IMAGE",
    "stack": "there is no swarm: rpod run -d for each container",
    "node": "there is no swarm: rpod info shows this machine",
    "config": "there is no swarm: give a file to a container with --volume or --mount",
    "plugin": "drivers are part of rpod: rpod info lists them",
    "trust": "images are checked by their digests: rpod pull NAME@sha256:…",
    "context": "rpod works on this machine only; there is no daemon to choose",
    "buildx": "rpod has no builder yet: build with another tool and push to a registry",
}

# Commands of Podman's that are not going to be here, with the reason and what serves instead.
_REFUSED = {
    "container checkpoint": (
        "criu needs rights over the whole machine (CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE), which a user has not",
        "rpod pause keeps a program as it is, in memory",
    ),
    "container restore": (
        "there are no checkpoints: criu needs rights over the whole machine, which a user has not",
        "rpod unpause, or rpod start",
    ),
    "container clone": (
        "what a container was made of is in its record",
        "rpod inspect -f '{{join .Config.CreateCommand \" \"}}' CONTAINER shows the command that makes another",
    ),
    "image scp": (
        "ssh does it",
        "rpod save IMAGE | ssh HOST rpod load",
    ),
    "image sign": (
        "signatures are neither made nor checked",
        "rpod pull NAME@sha256:… gets exactly the image that is meant",
    ),
    "image trust": (
        "signatures are neither made nor checked",
        "policy.json says which registries are pulled from; rpod pull NAME@sha256:…",
    ),
    "container runlabel": (
        "a command out of an image would run on this machine, outside of any container",
        "rpod image inspect -f '{{json .Labels}}' IMAGE shows it",
    ),
}

# Options of run and create that cannot work, with the reason.
_IMPOSSIBLE = {
    "--cpu-rt-period": "it belongs to cgroup v1",
    "--cpu-rt-runtime": "it belongs to cgroup v1",
    "--memory-swappiness": "it belongs to cgroup v1",
    "--kernel-memory": "it belongs to cgroup v1",
    "--oom-kill-disable": "it belongs to cgroup v1",
    "--rdt-class": "an ordinary user cannot set it",
    "--device-cgroup-rule": "there is no device controller without root",
}
_OF_CREATE = {"--attach": "create attaches to nothing", "--preserve-fd": "only run hands descriptors on"}
_OF_RUN = (
    "decryption-key",
    "egress",
    "gpus",
    "init-ctr",
    "ip",
    "ip6",
    "link-local-ip",
    "mac-address",
    "network-alias",
    "pod",
    "pod-id-file",
    "seccomp-policy",
    "secret",
)

# Options that other engines have and that are not there yet, by the command's name and without the dashes.
OPTIONS: dict[str, tuple[str, ...]] = {
    "run": _OF_RUN,
    "create": _OF_RUN,
    "exec": (
        "cidfile",
        "no-session",
        "preserve-fd",
    ),
    "ps": (
        "external",
        "namespace",
        "ns",
        "pod",
        "watch",
    ),
    "container exists": ("external",),
    "container cleanup": ("exec",),
    "logs": ("details",),
    "pull": ("decryption-key",),
    "push": (
        "compress",
        "encrypt-layer",
        "encryption-key",
        "sign-by",
        "sign-by-sigstore",
        "sign-by-sigstore-private-key",
        "sign-passphrase-file",
        "tls-details",
    ),
    "images": (
        "history",
        "tree",
    ),
    "rmi": ("no-prune",),
    "info": ("debug",),
    "unshare": ("rootless-netns",),
    "system prune": (
        "build",
        "external",
    ),
    "generate systemd": (
        "pod-prefix",
        "template",
    ),
    "": (
        "cgroup-manager",
        "config",
        "conmon",
        "connection",
        "context",
        "debug",
        "hooks-dir",
        "host",
        "identity",
        "imagestore",
        "module",
        "network-cmd-path",
        "network-config-dir",
        "noout",
        "out",
        "remote",
        "root",
        "runroot",
        "runtime-flag",
        "ssh",
        "storage-opt",
        "syslog",
        "tls",
        "tmpdir",
        "transient-store",
        "url",
        "volumepath",
    ),
}


def no_command(noun: str, name: str, known: Sequence[str]) -> RpodError:
    """The error for a verb that is not among the ``known`` ones of ``noun`` ("" = rpod itself)."""
    full = f"{noun} {name}".strip()
    if not noun and name in INSTEAD:
        return UnsupportedError(f"{name!r} has no meaning here", INSTEAD[name])
    if full in _REFUSED:
        reason, instead = _REFUSED[full]
        return UnsupportedError(f"{full!r} is not supported: {reason}", instead)
    if name in COMMANDS.get(noun, ()):
        return UnsupportedError(f"{full!r} is not there yet", f"rpod {noun} --help lists what is".replace("  ", " "))
    return UsageError(
        f"there is no command {full!r}", _nearest(name, known) or f"rpod {noun} --help".replace("  ", " ")
    )


def no_option(path: str, command: str, name: str, known: Sequence[str]) -> RpodError:
    """The error for an option that the ``command``, typed as ``path``, does not have ("" = rpod itself)."""
    if command == "create" and name in _OF_CREATE:
        return UnsupportedError(f"{name} is not supported: {_OF_CREATE[name]}", "rpod run has it")
    if name in _IMPOSSIBLE and command in ("run", "create"):
        return UnsupportedError(f"{name} is not supported: {_IMPOSSIBLE[name]}", "leave it out")
    if name.removeprefix("--") in OPTIONS.get(command, ()):
        return UnsupportedError(f"{name} is not there yet", f"rpod {path} --help lists what is".replace("  ", " "))
    hint = _nearest(name, known) or f"rpod {path} --help".replace("  ", " ")
    return UsageError(f"there is no option {name}" + (f" of {path!r}" if path else ""), hint)


def _nearest(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1, 0.6)
    return f"did you mean {near[0]}?" if near else ""
