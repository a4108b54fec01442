"""Every key of a Quadlet file, declared once: what it says to rpod, and its paragraph in the manual.

The names and meanings are those of podman-systemd.unit(5). The options stand on the command line in
the order of these tables.
"""

from __future__ import annotations

# How a key's values become words of the command line.
ONE = "one"  # the last value: OPTION VALUE
EACH = "each"  # every line is a value
WORDS = "words"  # every word of every line is one
PAIRS = "pairs"  # words KEY=VALUE; the last one for a KEY counts
FLAG = "flag"  # a boolean: OPTION, or OPTION=false
SWITCH = "switch"  # a boolean that adds something when it is true
SPECIAL = "special"  # the converter of that kind of file knows
LATER = "later"  # known by name, and what it stands for is not there yet
GONE = "gone"  # Podman's older keys: what to write instead


class Key:
    """One key: its ``name``, how it is read, what it adds to the command line, and its ``help``.

    ``option`` is the option; ``prefix`` stands before each value (``seccomp=`` of ``--security-opt``).
    Of LATER and GONE keys ``help`` is the hint.
    """

    __slots__ = ("help", "kind", "name", "option", "prefix")

    def __init__(self, name: str, kind: str, option: str, text: str, prefix: str = "") -> None:
        self.name = name
        self.kind = kind
        self.option = option
        self.help = text
        self.prefix = prefix


_COMMON = (
    Key("GlobalArgs", SPECIAL, "", "Options of rpod itself, before the command."),
    Key("PodmanArgs", SPECIAL, "", "More options, after all others."),
    Key("ServiceName", SPECIAL, "", "The service's name without .service."),
    Key("ContainersConfModule", GONE, "", "rpod has one configuration: rpod-containers.toml(5)"),
)
_REMAP = "write UserNS=, UIDMap= and GIDMap="

CONTAINER = (
    Key("Image", SPECIAL, "", "The image, or the name of a .image file. This or Rootfs= must be there."),
    Key("Rootfs", SPECIAL, "", "A directory to be the root file system, in place of an image."),
    Key("ContainerName", SPECIAL, "", "The container's name (systemd-%N)."),
    Key("Exec", SPECIAL, "", "The command and its arguments, instead of the image's."),
    Key("LogDriver", SPECIAL, "", "The log driver (journald: the user's journal)."),
    Key("LogOpt", WORDS, "--log-opt", "An option of the log driver."),
    Key("CgroupsMode", SPECIAL, "", "The cgroup: split (the service's own), enabled, disabled, no-conmon."),
    Key("Timezone", ONE, "--tz", "The time zone, or local."),
    Key("PidsLimit", ONE, "--pids-limit", "Processes at most."),
    Key("ShmSize", ONE, "--shm-size", "The size of /dev/shm."),
    Key("Entrypoint", SPECIAL, "", "Instead of the image's; an empty one is none at all."),
    Key("WorkingDir", ONE, "--workdir", "The working directory."),
    Key("HostName", ONE, "--hostname", "The host name inside."),
    Key("StopSignal", ONE, "--stop-signal", "What a stop sends first."),
    Key("StopTimeout", ONE, "--stop-timeout", "Seconds until a stop sends SIGKILL."),
    Key("Pull", ONE, "--pull", "When the image is fetched: always, missing, never or newer."),
    Key("Memory", ONE, "--memory", "Memory at most."),
    Key("Retry", ONE, "--retry", "How often a failed pull is tried again."),
    Key("RetryDelay", ONE, "--retry-delay", "How long to wait in between."),
    Key("Ulimit", EACH, "--ulimit", "A limit of the process: NAME=SOFT:HARD."),
    Key("DNS", EACH, "--dns", "A name server."),
    Key("DNSOption", EACH, "--dns-option", "An option of resolv.conf."),
    Key("DNSSearch", EACH, "--dns-search", "A search domain."),
    Key("GroupAdd", EACH, "--group-add", "One more group, or keep-groups."),
    Key("AddHost", EACH, "--add-host", "A line of /etc/hosts: NAME:ADDRESS."),
    Key("Tmpfs", EACH, "--tmpfs", "A file system in memory."),
    Key("RunInit", FLAG, "--init", "Run under a small init."),
    Key("EnvironmentHost", FLAG, "--env-host", "All variables of the service."),
    Key("HttpProxy", FLAG, "--http-proxy", "Hand the proxy variables on."),
    Key("ReadOnly", FLAG, "--read-only", "The root file system cannot be written."),
    Key("ReadOnlyTmpfs", FLAG, "--read-only-tmpfs", "With ReadOnly=: /run, /tmp and /var/tmp can."),
    Key("Network", SPECIAL, "", "The network, or the name of a .container file whose network is joined."),
    Key("Notify", SPECIAL, "", "Who says that the service is ready: rpod (no), the program (yes), or healthy."),
    Key("NoNewPrivileges", SWITCH, "--security-opt", "Programs cannot gain privileges.", "no-new-privileges"),
    Key("SecurityLabelDisable", SWITCH, "--security-opt", "No SELinux label.", "label=disable"),
    Key("SeccompProfile", ONE, "--security-opt", "A seccomp profile, or unconfined.", "seccomp="),
    Key("AppArmor", ONE, "--security-opt", "An AppArmor profile, or unconfined.", "apparmor="),
    Key("Mask", WORDS, "--security-opt", "Paths that are hidden, with : between them.", "mask="),
    Key("Unmask", WORDS, "--security-opt", "Paths that are shown, or ALL.", "unmask="),
    Key("AddDevice", SPECIAL, "", "A device: HOST[:INSIDE][:rwm]; with - before it one that may be missing."),
    Key("DropCapability", WORDS, "--cap-drop", "One capability less, or all."),
    Key("AddCapability", WORDS, "--cap-add", "One capability more."),
    Key("Sysctl", WORDS, "--sysctl", "A kernel setting of a namespace: NAME=VALUE."),
    Key("User", SPECIAL, "", "The user that runs the program."),
    Key("Group", SPECIAL, "", "The group; it needs User=."),
    Key("UserNS", ONE, "--userns", "The user namespace: keep-id, auto …"),
    Key("UIDMap", WORDS, "--uidmap", "A line of the uid map."),
    Key("GIDMap", WORDS, "--gidmap", "A line of the gid map."),
    Key("SubUIDMap", ONE, "--subuidname", "The name in /etc/subuid whose ranges are mapped."),
    Key("SubGIDMap", ONE, "--subgidname", "The name in /etc/subgid whose ranges are mapped."),
    Key("Volume", SPECIAL, "", "SOURCE:DIR[:OPTIONS]; SOURCE may be a .volume file, ./ is the file's own folder."),
    Key("Mount", SPECIAL, "", "A mount as of --mount; source= may be a .volume or .image file."),
    Key("AutoUpdate", ONE, "--label", "registry or local: see rpod-auto-update(1).", "io.containers.autoupdate="),
    Key("ExposeHostPort", EACH, "--expose", "A port, or a range of them."),
    Key("PublishPort", EACH, "--publish", "[[IP:]PORT:]PORT: reach the container's port from outside."),
    Key("Environment", PAIRS, "--env", "Variables: NAME=VALUE."),
    Key("Label", PAIRS, "--label", "Labels: NAME=VALUE."),
    Key("Annotation", PAIRS, "--annotation", "OCI annotations: NAME=VALUE."),
    Key(
        "EnvironmentFile",
        SPECIAL,
        "",
        "A file of variables, beside this one if relative; with - before it one that may be missing.",
    ),
    Key("HealthCmd", ONE, "--health-cmd", "The command that tells whether it is healthy, or none."),
    Key("HealthInterval", ONE, "--health-interval", "How often."),
    Key("HealthOnFailure", ONE, "--health-on-failure", "none, kill, restart or stop."),
    Key("HealthLogDestination", ONE, "--health-log-destination", "Where the results go."),
    Key("HealthMaxLogCount", ONE, "--health-max-log-count", "How many results are kept."),
    Key("HealthMaxLogSize", ONE, "--health-max-log-size", "How much of each."),
    Key("HealthRetries", ONE, "--health-retries", "Failures until it is unhealthy."),
    Key("HealthStartPeriod", ONE, "--health-start-period", "How long failures do not count at first."),
    Key("HealthTimeout", ONE, "--health-timeout", "How long the command may take."),
    Key("HealthStartupCmd", ONE, "--health-startup-cmd", "The command that tells whether it has started."),
    Key("HealthStartupInterval", ONE, "--health-startup-interval", "How often."),
    Key("HealthStartupRetries", ONE, "--health-startup-retries", "Failures until it is restarted."),
    Key("HealthStartupSuccess", ONE, "--health-startup-success", "Successes until it has started."),
    Key("HealthStartupTimeout", ONE, "--health-startup-timeout", "How long the command may take."),
    Key("ReloadCmd", SPECIAL, "", "What a reload runs in the container."),
    Key("ReloadSignal", SPECIAL, "", "The signal that a reload sends."),
    *_COMMON,
    Key("IP", LATER, "", "PublishPort= reaches a container"),
    Key("IP6", LATER, "", "PublishPort= reaches a container"),
    Key("NetworkAlias", LATER, "", "AddHost= gives a name"),
    Key("Pod", LATER, "", "Network=OTHER.container shares a network"),
    Key("StartWithPod", LATER, "", "After= and Wants= of [Unit] order services"),
    Key("Secret", LATER, "", "EnvironmentFile=, or Volume= of a file that only you can read"),
    Key("SecurityLabelType", LATER, "", "SecurityLabelDisable="),
    Key("SecurityLabelFileType", LATER, "", "SecurityLabelDisable="),
    Key("SecurityLabelLevel", LATER, "", "SecurityLabelDisable="),
    Key("SecurityLabelNested", LATER, "", "SecurityLabelDisable="),
    Key("VolatileTmp", GONE, "", "write Tmpfs=/tmp"),
    Key("RemapUsers", GONE, "", _REMAP),
    Key("RemapUid", GONE, "", _REMAP),
    Key("RemapGid", GONE, "", _REMAP),
    Key("RemapUidSize", GONE, "", _REMAP),
)

VOLUME = (
    Key("VolumeName", SPECIAL, "", "The volume's name (systemd- and the file's name)."),
    Key("Driver", ONE, "--driver", "The volume's driver: local or image."),
    Key("Image", SPECIAL, "", "With Driver=image: the image, or the name of a .image file."),
    Key("Copy", SPECIAL, "", "Fill the volume from the image at its first use (yes)."),
    Key("Device", SPECIAL, "", "What is mounted."),
    Key("Type", SPECIAL, "", "The type of that mount; it needs Device=."),
    Key("Options", SPECIAL, "", "The options of that mount; they need Device=."),
    Key("User", SPECIAL, "", "The uid of the volume's owner."),
    Key("Group", SPECIAL, "", "The gid of the volume's owner."),
    Key("Label", PAIRS, "--label", "Labels: NAME=VALUE."),
    *_COMMON,
)

IMAGE = (
    Key("Image", SPECIAL, "", "The image to pull. It must be there."),
    Key("ImageTag", SPECIAL, "", "The name under which others use it, if that is another."),
    Key("Arch", ONE, "--arch", "The architecture."),
    Key("AuthFile", ONE, "--authfile", "The file with the registries' passwords."),
    Key("CertDir", ONE, "--cert-dir", "A directory of certificates."),
    Key("Creds", ONE, "--creds", "USER:PASSWORD for the registry."),
    Key("OS", ONE, "--os", "The operating system."),
    Key("Variant", ONE, "--variant", "The variant of the architecture."),
    Key("Policy", ONE, "--policy", "When it is fetched: always, missing, never or newer."),
    Key("Retry", ONE, "--retry", "How often a failed pull is tried again."),
    Key("RetryDelay", ONE, "--retry-delay", "How long to wait in between."),
    Key("AllTags", FLAG, "--all-tags", "All tags of the repository."),
    Key("TLSVerify", FLAG, "--tls-verify", "Ask for HTTPS and a good certificate."),
    *_COMMON,
    Key("DecryptionKey", LATER, "", "encrypted layers cannot be read"),
)

QUADLET = (Key("DefaultDependencies", SPECIAL, "", "Wait for the network at first (yes)."),)


class Kind:
    """One kind of file: its section, its keys, and how its service is called (``web.volume``: ``web-volume``)."""

    __slots__ = ("keys", "section", "suffix")

    def __init__(self, section: str, suffix: str, keys: tuple[Key, ...]) -> None:
        self.section = section
        self.suffix = suffix
        self.keys = keys


KINDS = {
    "container": Kind("Container", "", CONTAINER),
    "volume": Kind("Volume", "-volume", VOLUME),
    "image": Kind("Image", "-image", IMAGE),
}
# Kinds of files that Podman has, and what serves until rpod has what they describe.
KINDS_LATER = {
    "network": "Network=pasta, slirp4netns, host, none or OTHER.container in a .container file",
    "pod": "Network=OTHER.container in a .container file shares a network",
    "build": "build the image with another tool; a .image file pulls it",
    "kube": "write a .container file for each container",
}
