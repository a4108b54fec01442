"""Another OCI runtime in the place of rpod's own init: crun, runc, or any that has their command line.

What such a runtime cannot do is done for it by a *stage*, a process that is born as init otherwise is, but in new
user and mount namespaces alone. The runtime works there, as Podman's does in the namespaces of its pause process.

==========  =====================================================================================
stage       mounts the root, fills volumes, looks the user up, writes a bundle, runs ``create``
launcher    connects the network of the container's first process, whose pid the stage has told
stage       at "go", or from the gate: runs ``start``, and ends
monitor     is the parent of the container's first process, because the launcher is a subreaper
==========  =====================================================================================

The bundle and the runtime's own state are in one directory, which says by a link whose they are.
"""

from __future__ import annotations

import _socket
import os
import termios

from rootless.errors import LaunchError, NotExecutableError, ProgramNotFoundError, RpodError, os_reason
from rootless.kernel import cgroup2, fastjson, files, spawn, syscalls, tty, unix, userns
from rootless.runtime import extras, init, messages, mounts, program
from rootless.spec import Mount
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.plan import InitPlan
    from rootless.runtime.streams import Streams
    from rootless.spec import Spec

_PROGRAM = "program"  # the link to the runtime
_INIT_PLACE = "/run/.rpod-init"
_NO_DESCRIPTOR = "1048575"  # where the static init would report: nobody listens
_LOG_BYTES = 1 << 20


class Foreign:
    """A container of another runtime: the ``program``, its ``bundle`` (a directory to be made), and what it joins.

    ``namespaces`` are what the runtime makes or joins (type -> path, "" = new), ``hooks`` those of config.json.
    """

    __slots__ = ("bundle", "cgroup", "hooks", "ident", "namespaces", "program")

    def __init__(
        self, program_: str, bundle: str, ident: str, namespaces: dict[str, str], hooks: dict[str, object]
    ) -> None:
        self.program = program_
        self.bundle = bundle
        self.ident = ident
        self.namespaces = namespaces
        self.hooks = hooks
        self.cgroup = ""  # its directory, once it is made

    def make_bundle(self) -> None:
        """Make the directory, with nothing in it but the link."""
        files.make_private(self.bundle)
        os.symlink(self.program, f"{self.bundle}/{_PROGRAM}")

    def run(self, verb: str, *words: str, fds: dict[int, int] | None = None) -> None:
        """Run a command of the runtime on the container. Raises what its log says."""
        log = f"{self.bundle}/log"
        argv = [*_beginning(self.program, self.bundle), "--log", log, "--log-format", "json", verb]
        null = os.open("/dev/null", os.O_RDWR)
        try:
            code = spawn.wait(spawn.start([*argv, *words, self.ident], fds=fds or dict.fromkeys(range(3), null)))
        except OSError as error:
            raise LaunchError(f"{self.program} cannot be started: {os_reason(error)}", "rpod --runtime PATH") from error
        finally:
            os.close(null)
        if code:
            raise _error(self.program, verb, code, _last_words(log))


def delete(bundle: str, ident: str) -> None:
    """Let the runtime forget container ``ident``, which has ended, and remove the bundle."""

    def work() -> None:
        # What it does not know any more is no matter: nothing of it is left then.
        spawn.run([*_beginning(os.readlink(f"{bundle}/{_PROGRAM}"), bundle), "delete", "--force", ident])

    try:
        userns.call_inside(work)  # the state can belong to any id of the container
    except RpodError:
        pass  # the runtime has been uninstalled meanwhile
    userns.remove_tree_inside(bundle)


def _beginning(program_: str, bundle: str) -> list[str]:
    return [program_, "--root", f"{bundle}/state"]


def main(plan: InitPlan, channel: messages.Channel, streams: Streams) -> None:
    """Be the stage; never returns."""
    foreign = plan.foreign
    assert foreign is not None
    created = False
    try:
        if channel.receive().kind != "mapped":
            os._exit(1)
        if plan.spec.process.oom_score_adj is not None:
            init.set_oom_score(plan.spec.process.oom_score_adj)
        userns.become_root(keep_groups=plan.spec.keep_groups)
        if plan.parent_stays:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)  # whoever waits at a gate dies with the monitor
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
        _write_bundle(plan, foreign, channel)
        _enter(plan)
        created = True  # also where it fails halfway
        pid = _create(plan, foreign, channel, streams)
        if plan.network is not None:
            _configure_network(plan, pid)
        channel.send("created", pid=pid)
        _let_go_of_the_caller()
        if plan.gate is not None:
            channel = init.wait_at_gate(plan, channel)
        else:
            channel.send("ready")
            if channel.receive().kind != "go":
                raise LaunchError("the launcher is gone")
        foreign.run("start")
    except BaseException as error:
        if created:
            _forget(foreign)
        channel.send_error(error, f"{foreign.program} cannot start the container")
        os._exit(1)
    os._exit(0)


def _enter(plan: InitPlan) -> None:
    """What the program inherits from here: the time namespace and the personality, which not every runtime knows."""
    if plan.extras is None:
        return
    if "time" in plan.spec.namespaces:
        extras.enter_time_namespace(plan.spec.namespaces["time"], plan.extras.time_offsets)
    if plan.extras.attributes is not None:
        plan.extras.attributes.apply()


def _let_go_of_the_caller() -> None:
    """The streams are the container's now; at a gate the stage would keep the caller's open."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    os.close(null)


def _forget(foreign: Foreign) -> None:
    try:
        foreign.run("delete", "--force")
    except RpodError:
        pass  # it was never there


def _write_bundle(plan: InitPlan, foreign: Foreign, channel: messages.Channel) -> None:
    """Put the root together and say in config.json what is to be done with it."""
    spec = plan.spec
    root = init.mount_root(plan, channel)
    if plan.copy_up:
        init.fill_volumes(plan, root)
    staged = _stage_mounts(plan, foreign, channel)
    init.decide_user(plan, root)
    if plan.chown:
        from rootless.runtime import chown

        inside = mounts.Root.at(f"{foreign.bundle}/mounts")
        chown.change_mounts(inside, [staged[path] for path in plan.chown], spec.process.uid, spec.process.gid)
    if plan.init:
        _put_init_first(spec, foreign, root)
    files.write_json(f"{foreign.bundle}/config.json", document(spec, foreign, plan.root.merged), sync=False)


def _stage_mounts(plan: InitPlan, foreign: Foreign, channel: messages.Channel) -> dict[str, str]:
    """What no other runtime can mount is mounted in the bundle, and bound from there; returns destination -> place."""
    os.mkdir(f"{foreign.bundle}/mounts")
    root = mounts.Root.at(f"{foreign.bundle}/mounts")
    staged = {}
    for number, mount in enumerate(plan.spec.mounts):
        overlaid = mount.type in (drivers.FUSE, drivers.OVERLAY)
        special = mount.subpath or "idmap" in mount.options or mount.destination in plan.chown
        if not overlaid and not (mount.type == "bind" and special):
            continue
        place = staged[mount.destination] = f"/{number}"
        shown = Mount(place, mount.type, mount.source, mount.options)
        shown.subpath = mount.subpath
        if mount.type == drivers.FUSE:
            mounts.place_tree(init.receive_root(channel), shown, root)
        else:
            mounts.perform(shown, root)
        source = f"{foreign.bundle}/mounts{place}"
        plan.spec.mounts[number] = Mount(mount.destination, "bind", source, ["rbind", "rprivate"])
    os.close(root.fd)
    return staged


def _put_init_first(spec: Spec, foreign: Foreign, root: mounts.Root) -> None:
    """--init: the static init is process 1. Its copy is this container's alone: what happens to it harms nobody."""
    copy = f"{foreign.bundle}/init"
    with open(program.helper("rpod-init"), "rb") as source, open(copy, "wb") as target:
        target.write(source.read())
    os.chmod(copy, 0o755)
    spec.mounts.append(Mount(_INIT_PLACE, "bind", copy, ["bind", "ro", "rprivate"]))
    process = spec.process
    path = dict(entry.partition("=")[::2] for entry in process.env).get("PATH", "")
    found = _find(root, process.args[0], path)
    process.args = [_INIT_PLACE, "init", _NO_DESCRIPTOR, found, *process.args]


def _find(root: mounts.Root, name: str, search: str) -> str:
    """The path of a program of the image. Raises ProgramNotFoundError."""
    for path in [name] if "/" in name else [f"{folder}/{name}" for folder in search.split(":") if folder]:
        try:
            fd = root.open(path)
        except OSError:
            continue
        executable = os.fstat(fd).st_mode & 0o111 and not mounts.is_directory(fd)
        os.close(fd)
        if executable:
            return path
    raise ProgramNotFoundError(f"{name}: executable file not found in $PATH of the container")


def document(spec: Spec, foreign: Foreign, root: str) -> dict[str, object]:
    """``spec`` as another runtime is to read it: without rpod's own words, the user namespace being the stage's."""
    whole = spec.to_json()
    linux = whole["linux"]
    assert isinstance(linux, dict)
    linux["namespaces"] = [
        {"type": kind, "path": path} if path else {"type": kind} for kind, path in foreign.namespaces.items()
    ]
    for name in ("uidMappings", "gidMappings", "devices"):
        del linux[name]
    linux["resources"] = {}  # the launcher has set them
    if foreign.cgroup:
        linux["cgroupsPath"] = foreign.cgroup.removeprefix(cgroup2.MOUNT)
    linux["rootfsPropagation"] = "rslave"
    devices = [Mount(node.path, "bind", node.source, ["bind", "rprivate", "nosuid", "noexec"]) for node in spec.devices]
    whole["mounts"] = [_mount(mount) for mount in [*spec.mounts, *devices]]
    whole["root"] = {"path": root, "readonly": spec.root_readonly}
    if foreign.namespaces.get("uts") != "":
        del whole["hostname"]
    if foreign.hooks:
        whole["hooks"] = foreign.hooks
    return whole


def _mount(mount: Mount) -> dict[str, object]:
    """In the specification a bind is known by its options, and version 2 of cgroups is a matter of the machine."""
    kind, options = mount.type, mount.options
    if kind == "bind" and not {"bind", "rbind"} & set(options):
        options = ["bind", *options]
    return Mount(mount.destination, "cgroup" if kind == "cgroup2" else kind, mount.source, options).to_json()


def _create(plan: InitPlan, foreign: Foreign, channel: messages.Channel, streams: Streams) -> int:
    """Have the container created; the pid of its first process."""
    os.chdir(foreign.bundle)  # the console's path is then short enough for any runtime
    words = ["--bundle", foreign.bundle, "--pid-file", f"{foreign.bundle}/pid"]
    listener = None
    if plan.spec.process.terminal:
        listener = unix.bind("console", unix.STREAM)
        listener.listen(1)
        words += ["--console-socket", "console"]
        null = os.open("/dev/null", os.O_RDWR)
        fds = dict.fromkeys(range(3), null)
    else:
        fds = dict(enumerate(streams.inside))
    if plan.preserve_fds:
        words += ["--preserve-fds", str(plan.preserve_fds)]
        fds |= {number: number for number in range(3, 3 + plan.preserve_fds)}
    foreign.run("create", *words, fds=fds)
    if listener is not None:
        master = _receive_terminal(unix.accept(listener))
        channel.send("tty", fd=master)
        os.close(master)
    return int(files.read_file(f"{foreign.bundle}/pid"))


def _receive_terminal(sock: _socket.socket) -> int:
    """The master that the runtime sends; its line ends are as in rpod's own, which runc and crun switch off."""
    _, ancillary, _, _ = sock.recvmsg(4096, 64, _socket.MSG_CMSG_CLOEXEC)
    sock.close()
    sent = [data for level, kind, data in ancillary if kind == _socket.SCM_RIGHTS]
    if not sent:
        raise LaunchError("the runtime sent no terminal")
    master = int.from_bytes(sent[0][:4], "little")
    attributes = termios.tcgetattr(master)
    attributes[1] |= termios.OPOST | termios.ONLCR
    termios.tcsetattr(master, termios.TCSANOW, attributes)
    rows, columns = tty.window_size(0)
    if rows and columns:
        tty.set_window_size(master, rows, columns)
    return master


def _configure_network(plan: InitPlan, pid: int) -> None:
    """Init's half of the network driver, in the network namespace of ``pid``."""

    def work(_: int) -> int:
        assert plan.network is not None
        syscalls.setns(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), syscalls.CLONE_NEWNET)
        plan.network.driver.configure_inside()
        return pid

    spawn.by_middle(work, "the network cannot be set up")


def _last_words(log: str) -> str:
    """The message of the last error in a log of JSON lines; "" without one."""
    found = ""
    try:
        lines = files.read_file(log, _LOG_BYTES).splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            entry = fastjson.loads(line)
        except (fastjson.JSONError, UnicodeDecodeError):
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal", "panic"):
            found = str(entry.get("msg", ""))
    return found.strip()


def _error(program_: str, verb: str, code: int, words: str) -> RpodError:
    """What the runtime said, with the exit code of a shell where it is about the program."""
    text = f"{os.path.basename(program_)} {verb}: {words or f'it ended with {code} and without a word'}"
    low = words.lower()
    about_program = "exec" in low or verb == "start"
    if about_program and ("not found" in low or "no such file" in low):
        return ProgramNotFoundError(text, "is the command spelled right, and in the image?")
    if about_program and ("permission denied" in low or "exec format" in low or "not executable" in low):
        return NotExecutableError(text)
    return LaunchError(text, "--runtime rpod is rpod's own")
