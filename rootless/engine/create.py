"""``create``: an image and options become a container that has not started."""

from __future__ import annotations

import os
import sys
import time

from rootless import config, log, paths
from rootless.engine import ids, images, mounts, specs, values
from rootless.errors import NotFoundError, RpodError, UsageError, os_reason
from rootless.image.access import Access, PullOptions, platform_text
from rootless.kernel import fastjson, files
from rootless.network import driver as networks
from rootless.network import names
from rootless.state import events
from rootless.state.containers import Containers, NewContainer, new_id
from rootless.state.record import ContainerRecord
from rootless.storage import drivers, last_use
from rootless.storage.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from rootless.engine.options import ContainerOptions
    from rootless.spec import Spec
    from rootless.state.container import Container
    from rootless.storage.images import Image

_LOG_FILES = ("k8s-file", "json-file", "none")

_INITS = ("systemd", "/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init")
# The systemd unit that runs the container, in its environment and in the label by which auto-update finds it.
_UNIT_VARIABLE = "PODMAN_SYSTEMD_UNIT"


def create(options: ContainerOptions) -> str:
    """Make a container and return its id."""
    new = prepare(options)
    new.lock.release()
    return new.container.id


def prepare(options: ContainerOptions) -> NewContainer:
    """Make a container and keep its alive lock, so that ``run`` starts it without a gap.

    Nothing is left of it when an error is raised.
    """
    _check(options)
    rare = _rare(options)
    if rare is not None and options.rootfs:
        image = rare.directory_as_image(options)
    else:
        image = images.ensure_image(options.image, _pull_options(options))
    store = Containers()
    with ids.lock(options, store):
        return _make(options, image, store, rare)


def _make(options: ContainerOptions, image: Image, store: Containers, rare: ModuleType | None) -> NewContainer:
    record = _record(options, image, store)
    if rare is not None:
        rare.note(options, record, store)
    if runtime := options.runtime or config.load().engine.runtime:
        from rootless.engine import other_runtime

        other_runtime.note(options, record, runtime)
    wanted = _mounts(options, image, store)
    used = [found for found in (image, *(mount.image for mount in wanted)) if found is not None and found.id]
    for found in used:
        last_use.note(store.data_dir, found.id)
    if record.user and any(mount.type == "bind" for mount in wanted):
        ids.keep_own_files(options, record, wanted)
    record.entrypoint, command = _command(options, image)
    record.command = argv = [*record.entrypoint, *command]
    system = _system(options, argv)
    if system is not None:
        system.note(options, record, options.stop_signal or image.config.stop_signal)
    _free_name(store, options)
    new = store.reserve(record)
    made: list[str] = []
    try:
        mounts.materialize(wanted, made)
        record.mounts = list(wanted)
        spec = specs.build(options, record, image.config, mounts.to_spec(wanted, record), argv)
        if rare is not None:
            rare.amend(options, record, spec)
        if system is not None:
            system.amend(record, spec)
        if record.join or record.requires:
            from rootless.state import dependents

            dependents.note(record, store)
        _save(new.container, record, spec)
        new.spec = spec
        for found in used:
            if not found.is_there():
                raise NotFoundError(f"the image {found.found_as or found.id} was removed meanwhile", "try again")
        _write_cidfile(options.cidfile, record.id)
        events.of_container(record, "create")
    except BaseException as error:
        mounts.discard(made)
        new.discard()
        if isinstance(error, OSError):
            raise RpodError(f"the container cannot be made: {os_reason(error)}", "rpod system df") from error
        raise
    return new


def _pull_options(options: ContainerOptions) -> PullOptions:
    if options.retry < 0:
        raise UsageError(f"--retry {options.retry}: must be 0 or more")
    access = Access(
        authfile=options.authfile,
        cert_dir=options.cert_dir,
        creds=options.creds,
        tls_verify=options.tls_verify,
        retries=options.retry,
        retry_delay_s=values.duration_ns(options.retry_delay, "--retry-delay") / 1e9 if options.retry_delay else 0.0,
    )
    platform = platform_text(options.platform, options.os, options.arch, options.variant)
    return PullOptions(policy=options.pull, platform=platform, quiet=options.quiet, access=access)


def _check(options: ContainerOptions) -> None:
    """Options that make no sense together or do not work, before anything is made."""
    if not options.image:
        raise UsageError("an image is missing", "rpod run IMAGE [COMMAND]")
    if options.cidfile and os.path.lexists(options.cidfile):
        raise UsageError(f"--cidfile {options.cidfile} exists already", "remove it if it is an old one")
    if options.timeout < 0:
        raise UsageError(f"--timeout {options.timeout}: must be 0 or more")
    if options.stop_timeout is not None:
        values.stop_time(options.stop_timeout, "--stop-timeout")
    if options.rm and values.restart_policy(options.restart)[0] != "no":
        raise UsageError("--rm and --restart exclude each other")
    if options.image_volume not in ("anonymous", "bind", "tmpfs", "ignore"):
        raise UsageError(
            f"--image-volume {options.image_volume}: unknown mode", "anonymous (bind is the same), tmpfs or ignore"
        )
    if options.cgroups != "enabled":
        _check_cgroups(options)
    if options.sdnotify not in ("container", "conmon", "healthy", "ignore"):
        raise UsageError(f"--sdnotify {options.sdnotify}: unknown mode", "container, conmon, healthy or ignore")
    if options.replace and not options.name:
        raise UsageError("--replace needs --name")
    if options.pid.startswith("ns:") and options.userns == "":
        log.debug("joining a pid namespace by path needs the right over its user namespace")


def _rare(options: ContainerOptions) -> ModuleType | None:
    """What acts on the options that few containers have, where there are any."""
    if not options.any_rare():
        return None
    from rootless.engine import rare

    rare.check(options)
    return rare


def _system(options: ContainerOptions, argv: list[str]) -> ModuleType | None:
    """What makes a container for systemd of this one, if it is to be one: by Podman's rules."""
    if options.systemd == "false" or (
        options.systemd == "true" and not argv[0].endswith("/systemd") and argv[0] not in _INITS
    ):
        return None
    if options.systemd not in ("true", "always"):
        raise UsageError(f"--systemd {options.systemd}: unknown mode", "true, false or always")
    from rootless.engine import systemd_mode

    return systemd_mode


def _check_cgroups(options: ContainerOptions) -> None:
    if options.cgroups not in ("disabled", "no-conmon", "split"):
        raise UsageError(f"--cgroups {options.cgroups}: unknown mode", "enabled, disabled, no-conmon or split")
    if options.cgroup_parent and options.cgroups in ("disabled", "split"):
        raise UsageError(f"--cgroup-parent makes no sense with --cgroups {options.cgroups}")


def _record(options: ContainerOptions, image: Image, store: Containers) -> ContainerRecord:
    settings = config.load()
    ident = new_id()
    policy, maximum = values.restart_policy(options.restart)
    choice = networks.parse(options.network, settings.network.default)
    record = ContainerRecord(
        id=ident,
        name=options.name,
        image=image.name_for(options.image),
        image_id=image.id,
        created_ns=time.time_ns(),
        create_command=["rpod", *sys.argv[1:]],
        layers=image.layers,
        userns=options.userns or settings.containers.userns,
        user=options.user or image.config.user,
        groups=options.group_add,
        workdir=_workdir(options.workdir or image.config.working_dir or "/"),
        tty=options.tty,
        open_stdin=options.interactive,
        auto_remove=options.rm,
        init=options.init or settings.containers.init,
        privileged=options.privileged,
        network=choice.text,
        network_options=choice.options,
        dns=options.dns or settings.containers.dns,
        dns_search=options.dns_search,
        dns_option=options.dns_option,
        add_host=options.add_host,
        labels=_labels(options, image),
        annotations=values.pairs(options.annotation, "--annotation"),
        env=values.typed_environment(options.env_file, options.env),
        sdnotify=options.sdnotify,
        restart=policy,
        restart_max=maximum,
        stop_signal=values.signal_number(options.stop_signal or image.config.stop_signal or "TERM"),
        stop_timeout_s=settings.containers.stop_timeout if options.stop_timeout is None else options.stop_timeout,
        timeout_s=options.timeout,
        cgroup_parent=options.cgroup_parent,
        cgroups=options.cgroups,
        cidfile=options.cidfile,
        cap_add=options.cap_add,
        cap_drop=options.cap_drop,
        security_opt=options.security_opt,
        volumes_from=options.volumes_from,
    )
    _log(options, record)
    if image.config.healthcheck or any(value for name, value in vars(options).items() if name.startswith("health_")):
        from rootless.engine import health_options

        record.health = health_options.choose(options, image.config.healthcheck)
    ids.decide(options, record, store)
    if record.sdnotify == "healthy" and not record.health:
        raise UsageError("--sdnotify healthy needs a health check", "--health-cmd COMMAND")
    _check_shared_names(options, record)
    _ports(options, record, image)
    record.hostname = _hostname(options, record)
    return record


def _check_shared_names(options: ContainerOptions, record: ContainerRecord) -> None:
    """A shared network shares /etc/hosts and /etc/resolv.conf, too."""
    for name in ("add_host", "dns", "dns_option", "dns_search", "hosts_file") if "network" in record.join else ():
        if getattr(options, name):
            raise UsageError(
                f"--{name.replace('_', '-')} makes no sense with the network of another container",
                "give it to the container whose network this is",
            )


def _workdir(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"the working directory {path!r} must be an absolute path")
    return path


def _labels(options: ContainerOptions, image: Image) -> dict[str, str]:
    typed = [line for path in options.label_file for line in values.lines(path, "--label-file")]
    unit = os.environ.get(_UNIT_VARIABLE)
    own = {_UNIT_VARIABLE: unit} if unit else {}
    return image.config.labels | own | values.pairs([*typed, *options.label], "--label")


def _log(options: ContainerOptions, record: ContainerRecord) -> None:
    settings = config.load().containers
    record.log_driver = options.log_driver or settings.log_driver
    record.log_size_max, record.log_files_max = settings.log_size_max, settings.log_files_max
    if options.log_opt or record.log_driver not in _LOG_FILES:
        from rootless.engine import log_driver

        log_driver.choose(options.log_opt, record)


def _ports(options: ContainerOptions, record: ContainerRecord, image: Image) -> None:
    exposed = [*image.config.exposed_ports, *options.expose]
    if not (exposed or options.publish):
        return
    from rootless.network import ports as port_rules

    mappings = port_rules.parse_all(options.publish, expose=exposed, publish_all=options.publish_all)
    if mappings and record.network.partition(":")[0] in ("none", "container", "ns"):
        raise UsageError(f"-p makes no sense with --network {record.network}")
    if mappings and record.network == "host":
        log.warn("published ports are discarded with --network host: the program's own ports are the host's")
        mappings = []
    record.ports = [mapping.to_json() for mapping in mappings]
    record.exposed = exposed
    record.publish_all = options.publish_all


def _hostname(options: ContainerOptions, record: ContainerRecord) -> str:
    shared = options.uts == "host" or options.uts.startswith(("container:", "ns:"))
    if options.hostname:
        if shared:
            raise UsageError(f"--hostname makes no sense with --uts {options.uts}")
        return names.check_hostname(options.hostname)
    if shared:
        return ""
    return os.uname().nodename if record.network == "host" else record.id[:12]


def _command(options: ContainerOptions, image: Image) -> tuple[list[str], list[str]]:
    """Entrypoint and command by Docker's rules: a given entrypoint drops the image's command."""
    entrypoint, command = image.config.entrypoint or [], options.command
    if options.entrypoint is not None:
        entrypoint = _entrypoint(options.entrypoint)
    elif not command:
        command = image.config.cmd
    if not entrypoint and not command:
        raise UsageError(f"the image {options.image} names no program", "give a command after the image")
    return entrypoint, command


def _entrypoint(text: str) -> list[str]:
    if not text.startswith("["):
        return [text] if text else []
    try:
        parsed = fastjson.loads(text)
    except fastjson.JSONError as error:
        raise UsageError(f"--entrypoint {text}: {error}") from error
    if not isinstance(parsed, list) or not all(isinstance(item, str) for item in parsed):
        raise UsageError(f"--entrypoint {text}: it is a list of strings")
    return [str(item) for item in parsed]


def _mounts(options: ContainerOptions, image: Image, store: Containers) -> list[mounts.Wanted]:
    from_image = [mounts.of_image(path, options.image_volume) for path in image.config.volumes]
    typed: list[mounts.Wanted] = []
    if options.volume or options.mount or options.tmpfs:
        from rootless.engine import mount_options

        typed += [mount_options.parse_volume(text) for text in options.volume]
        typed += [wanted for text in options.mount for wanted in mount_options.parse_mount(text)]
        typed += [mount_options.parse_tmpfs(text) for text in options.tmpfs]
    for wanted in typed:
        if wanted.type == "image":
            _use_image(wanted, options)
    inherited = []
    for text in options.volumes_from:
        name, _, flags = text.partition(":")
        modes = [flag for flag in flags.split(",") if flag not in ("", "z")]  # z means nothing without SELinux
        if len(modes) > 1 or not {"ro", "rw"}.issuperset(modes):
            raise UsageError(f"--volumes-from {text}: {flags!r} is neither ro nor rw")
        inherited += [mounts.from_record(mount, modes) for mount in store.resolve(name).record.mounts]
    return mounts.merge([[wanted for wanted in from_image if wanted], inherited, typed])


def _use_image(wanted: mounts.Wanted, options: ContainerOptions) -> None:
    """Have the image of a --mount type=image ready."""
    fetched = _pull_options(options)
    fetched.policy = "never" if options.pull == "never" else "missing"
    wanted.image = image = images.ensure_image(wanted.name, fetched)
    wanted.name, wanted.image_id, wanted.layers = image.name_for(wanted.name), image.id, image.layers


def _free_name(store: Containers, options: ContainerOptions) -> None:
    """--replace removes who has the name; a --rm container that ended unseen loses it, too."""
    owner = store.taken_by(options.name)
    if owner is None:
        return
    from rootless.engine import remove

    if options.replace or (owner.record.auto_remove and not owner.is_alive()):
        remove.remove(owner, force=True, volumes=False, timeout_s=None)


def _save(container: Container, record: ContainerRecord, spec: Spec) -> None:
    """Write everything, the record last: a directory without it is a container that never was."""
    sync = not record.auto_remove  # a --rm container is worth nothing after a power cut
    files.write_json(f"{container.directory}/config.json", spec.to_json(), sync=sync)
    plan = drivers.RootPlan(record.driver, [], container.directory)
    plan.make_directories()
    if record.image_id and record.layers:
        _dress_root(plan.upper, LayerStore(paths.data()).path(record.layers[-1]))
    container.save(sync=sync)


def _dress_root(upper: str, lower: str) -> None:
    """An overlay shows the attributes of the writable directory as the root's: they are to be the image's."""
    try:
        info = os.stat(lower)
    except FileNotFoundError:
        return  # removed just now, which is found out when the record is written
    os.utime(upper, ns=(info.st_atime_ns, info.st_mtime_ns))
    if (info.st_mode & 0o7777, info.st_uid, info.st_gid) != (0o755, os.geteuid(), os.getegid()):
        from rootless.storage import implied

        implied.inherit(upper, [b""], [lower])


def _write_cidfile(path: str, ident: str) -> None:
    if not path:
        return
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        files.write_all(fd, ident.encode(), path)
        os.close(fd)
    except OSError as error:
        raise UsageError(f"--cidfile: {os_reason(error)}") from error
