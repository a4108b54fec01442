"""What rpod knows by name and does not do: each is refused with one line that says what serves instead."""

from __future__ import annotations

from rootless.errors import RpodError, UnsupportedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Commands that are not there yet, by noun ("" = rpod itself), and what serves until then.
_BUILD = "build with another tool (buildah bud -t oci-archive:app.tar:app .), then: rpod load -i app.tar"
_POD = "rpod run --network container:NAME --ipc container:NAME joins another container"
_SERVICES = "describe services in Quadlet files: rpod quadlet --help"
COMMANDS: dict[str, dict[str, str]] = {
    "": {
        "artifact": "",
        "build": _BUILD,
        "builder": _BUILD,
        "compose": _SERVICES,
        "cri": "rpod-runtime serves containerd as a runtime",
        "dashboard": "rpod stats, rpod events",
        "farm": "",
        "kube": _SERVICES,
        "network": "rpod run --network slirp4netns, pasta, host, none, container:NAME or ns:PATH",
        "play": _SERVICES,
        "pod": _POD,
        "secret": "give a file to a container: rpod run -v FILE:/run/secrets/NAME:ro",
    },
    "image": {"build": _BUILD, "verify": "rpod pull NAME@sha256:… gets exactly the image that is meant"},
    "generate": {
        "kube": "rpod generate systemd, rpod inspect",
        "spec": "rpod inspect -f '{{.OCIConfigPath}}' CONTAINER",
    },
    "system": {"connection": "rpod works on this machine only", "service": ""},
}

# Docker's words that mean nothing for one user on one machine, and what to do instead.
INSTEAD = {
    "swarm": "rpod runs containers of one user on one machine: start them with systemd user units",
    "service": "there is no swarm: rpod run -d --restart always IMAGE",
    "stack": "there is no swarm: rpod run -d for each container",
    "node": "there is no swarm: rpod info shows this machine",
    "machine": "containers run on this machine's own kernel: no virtual machine is needed",
    "plugin": "drivers are part of rpod: rpod info lists them",
    "trust": "images are checked by their digests: rpod pull NAME@sha256:…",
    "context": "rpod works on this machine only; there is no daemon to choose",
    "buildx": _BUILD,
}

# Commands of Podman's and Docker's that are not going to be here, with the reason and what serves instead.
_NO_SWARM = ("there is no swarm", "rpod run -v FILE:/PLACE:ro gives a file to a container")
_REFUSED = {
    **dict.fromkeys(("config create", "config inspect", "config ls", "config rm"), _NO_SWARM),
    "system renumber": ("there are no lock numbers", "rpod system check finds and mends damage"),
    "system dial-stdio": ("there is no daemon to talk to", "rpod works on this machine only"),
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

# Options that cannot work, with the reason, and the commands that others have them for.
_V1 = "it belongs to cgroup v1"
_WINDOWS = "it belongs to Windows"
_IMPOSSIBLE = {
    "--cpu-rt-period": _V1,
    "--cpu-rt-runtime": _V1,
    "--memory-swappiness": _V1,
    "--kernel-memory": _V1,
    "--oom-kill-disable": _V1,
    "--rdt-class": "an ordinary user cannot set it",
    "--device-cgroup-rule": "there is no device controller without root",
    "--cpu-count": _WINDOWS,
    "--cpu-percent": _WINDOWS,
    "--io-maxbandwidth": _WINDOWS,
    "--io-maxiops": _WINDOWS,
    "--isolation": _WINDOWS,
    "--volume-driver": "local is the only driver that there is",
    "--use-api-socket": "there is no daemon with a socket",
}
_RESOURCES = ("run", "create", "update")
_OF_CREATE = {"--attach": "create attaches to nothing", "--preserve-fd": "only run hands descriptors on"}
_OF_RUN = (
    "decryption-key",
    "domainname",
    "egress",
    "gpus",
    "init-ctr",
    "ip",
    "ip6",
    "link",
    "link-local-ip",
    "mac-address",
    "net-alias",
    "network-alias",
    "pod",
    "pod-id-file",
    "seccomp-policy",
    "secret",
    "storage-opt",
)
_SIGNING = (
    "sign-by",
    "sign-by-sigstore",
    "sign-by-sigstore-private-key",
    "sign-passphrase-file",
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
    "push": (*_SIGNING, "compress", "encrypt-layer", "encryption-key", "platform", "tls-details"),
    "manifest push": (*_SIGNING, "compression-format", "compression-level", "remove-signatures"),
    "images": (
        "history",
        "tree",
    ),
    "rmi": ("no-prune", "platform"),
    "commit": ("no-pause",),
    "history": ("platform",),
    "image inspect": ("platform",),
    "image prune": ("build-cache", "external"),
    "import": ("platform",),
    "load": ("platform",),
    "restart": ("signal",),
    "save": ("platform",),
    "start": ("checkpoint", "checkpoint-dir"),
    "stop": ("signal",),
    "completion": ("no-desc",),
    "info": ("debug",),
    "unshare": ("rootless-netns",),
    "system prune": (
        "build",
        "external",
    ),
    "system migrate": ("migrate-db", "new-runtime"),
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
        "events-backend",
        "hooks-dir",
        "host",
        "identity",
        "imagestore",
        "module",
        "namespace",
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
    if name in COMMANDS.get(noun, {}):
        instead = COMMANDS[noun][name] or f"rpod {noun} --help lists what is".replace("  ", " ")
        return UnsupportedError(f"{full!r} is not there yet", instead)
    return UsageError(
        f"there is no command {full!r}", _nearest(name, known) or f"rpod {noun} --help".replace("  ", " ")
    )


def no_option(path: str, command: str, name: str, known: Sequence[str]) -> RpodError:
    """The error for an option that the ``command``, typed as ``path``, does not have ("" = rpod itself)."""
    if command == "create" and name in _OF_CREATE:
        return UnsupportedError(f"{name} is not supported: {_OF_CREATE[name]}", "rpod run has it")
    if name in _IMPOSSIBLE and command in _RESOURCES:
        return UnsupportedError(f"{name} is not supported: {_IMPOSSIBLE[name]}", "leave it out")
    if name.removeprefix("--") in OPTIONS.get(command, ()):
        return UnsupportedError(f"{name} is not there yet", f"rpod {path} --help lists what is".replace("  ", " "))
    hint = _nearest(name, known) or f"rpod {path} --help".replace("  ", " ")
    return UsageError(f"there is no option {name}" + (f" of {path!r}" if path else ""), hint)


def _nearest(name: str, known: Sequence[str]) -> str:
    """A hint with the known word that is most like ``name``, "" if none is.

    The same letters in another order (strat) are the likeliest slip, then a name that goes on or was cut off
    (environment for env), then what shares most of its letters.
    """
    from difflib import get_close_matches

    words = {word.lstrip("-"): word for word in known if word.startswith("--") == name.startswith("--")}
    typed = name.lstrip("-")
    near = [word for word in words if sorted(word) == sorted(typed)]
    near += get_close_matches(typed, words, 1, 0.75)
    near += [word for word in words if len(word) > 2 and len(typed) > 2 and _begins(word, typed)]
    near += get_close_matches(typed, words, 1, 0.6)
    return f"did you mean {words[near[0]]}?" if near else ""


def _begins(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
