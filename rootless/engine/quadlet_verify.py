"""``rpod quadlet verify``: what a file becomes, and why it would not start."""

from __future__ import annotations

import itertools
import os
import tempfile

from rootless.engine import doctor, images, systemctl
from rootless.errors import RpodError
from rootless.kernel import spawn
from rootless.units import generate, sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.units.generate import Outcome
    from rootless.units.service import Service

_COMMANDS = ("ExecStart", "ExecStop", "ExecStopPost", "ExecReload")
# Targets of the system's systemd that a user's does not have.
_SYSTEM_TARGETS = ("multi-user.target", "graphical.target", "network-online.target")


class Report:
    """What is to be said of one file: ``mistakes`` keep it from starting, ``notes`` are worth knowing."""

    __slots__ = ("mistakes", "notes", "outcome")

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.mistakes: list[tuple[str, str]] = []  # what, and what mends it
        self.notes: list[tuple[str, str]] = []

    @property
    def command(self) -> str:
        """What the service runs, "" if there is none."""
        return "" if self.outcome.error else _value(self.outcome.service, "ExecStart")

    @property
    def starts(self) -> list[str]:
        """The units that pull the service in."""
        links = self.outcome.service.links
        return sorted({link.rpartition("/")[0].rpartition(".")[0] for link in links if "/" in link})


def verify(names: list[str], refusal: Callable[[list[str]], RpodError | None]) -> list[Report]:
    """Look at the files ``names`` (all, if there are none).

    ``refusal`` tells why rpod refuses a command line (the words after ``rpod``), None if it takes it. Raises
    NotFoundError.
    """
    from rootless.engine import quadlet

    for name in names:
        quadlet.find(name)
    outcomes = generate.generate()
    chosen = [outcome for outcome in outcomes if not names or outcome.name in names]
    reports = [_report(outcome, refusal) for outcome in chosen]
    _ask_systemd(generate.services(outcomes), reports)
    return reports


def _report(outcome: Outcome, refusal: Callable[[list[str]], RpodError | None]) -> Report:
    report = Report(outcome)
    if outcome.error is not None:
        report.mistakes.append((outcome.error.message, outcome.error.hint))
        return report
    for key in _COMMANDS:
        argv = _argv(_value(outcome.service, key))
        refused = refusal(argv) if argv else None
        if refused is not None:
            report.mistakes.append((f"{key}: {refused.message}", refused.hint))
    argv = _argv(_value(outcome.service, "ExecStart"))
    _look_at_image(report, argv)
    _look_at_files(report, argv)
    _look_at_start(report)
    _look_at_systemd(report)
    return report


def _value(service: Service, key: str) -> str:
    return next((value for name, value in service.sections["Service"] if name == key), "")


def _argv(command: str) -> list[str]:
    """The words of a command line after rpod itself, as systemd will give them."""
    from rootless.units import convert, words

    argv = [word.replace("$$", "$").replace("%%", "%") for word in words.split(command.removeprefix("-"))]
    return argv[len(convert.program()) :]


def _look_at_image(report: Report, argv: list[str]) -> None:
    """The image of a container: here, or to be pulled."""
    unit_image = _image(report)
    if not unit_image or "%" in unit_image:
        return
    try:
        here = images.is_here(unit_image)
    except RpodError as error:
        report.mistakes.append((f"the image {unit_image}: {error.message}", error.hint))
        return
    if here:
        return
    policy = argv[argv.index("--pull") + 1] if "--pull" in argv else "missing"
    if policy == "never":
        report.mistakes.append((f"the image {unit_image} is not here, and Pull=never", f"rpod pull {unit_image}"))
    else:
        report.notes.append(
            (f"the image {unit_image} is not here: the first start pulls it", f"rpod pull {unit_image}")
        )


def _image(report: Report) -> str:
    """The image that a container runs; one that another file pulls is that file's business."""
    from rootless.units import search

    if not report.outcome.name.endswith(".container"):
        return ""
    image = search.read(report.outcome.name, report.outcome.path).text("Container", "Image")
    return "" if image.endswith((".image", ".build")) else image


def _look_at_files(report: Report, argv: list[str]) -> None:
    """Files and directories of the host that the command line names."""
    for option, value in itertools.pairwise(argv):
        path = ""
        if option == "--env-file" or (option == "--volume" and value.startswith("/") and ":" in value):
            path = value.partition(":")[0]
        elif option == "--mount" and "type=bind" in value.split(","):
            path = next((f[7:] for f in value.split(",") if f.startswith("source=/")), "")
        if path and "%" not in path and not os.path.exists(path):
            report.mistakes.append((f"{path} does not exist", f"it is named by {option}"))


def _look_at_start(report: Report) -> None:
    """Who starts the service, and whether anybody will be there to do it."""
    if not report.outcome.name.endswith(".container"):
        return
    unit = report.outcome.service.name
    if not report.starts:
        report.notes.append(("nothing starts it at boot", "[Install] WantedBy=default.target"))
        return
    for target in report.starts:
        if target in _SYSTEM_TARGETS:
            report.notes.append((f"a user's systemd has no {target}: it starts nothing", "WantedBy=default.target"))
    if systemctl.booted() and not systemctl.lingers():
        fix = doctor.hint("linger-off")
        report.notes.append((f"{unit} starts when you log in and stops when you log out: lingering is off", fix))


def _look_at_systemd(report: Report) -> None:
    """Whether systemd has what the file says."""
    if not systemctl.available():
        report.notes.append(("systemd does not run for this user, so nothing starts the service", ""))
        return
    service = report.outcome.service
    state = systemctl.states([service.name]).get(service.name)
    written = sync.generator() or sync.generated(sync.directory()).get(service.name) == service.text()
    if not written or state is None or state.load != "loaded" or state.stale:
        report.notes.append(("systemd does not have it as it is now", "rpod quadlet sync"))
    elif state.active == "failed":
        report.notes.append(
            (f"the last start failed: {state.result}", f"journalctl --user -u {service.name}, then start it again")
        )


def _ask_systemd(services: list[Service], reports: list[Report]) -> None:
    """What ``systemd-analyze --user verify`` says of each service, with the others beside it."""
    program = spawn.which("systemd-analyze")
    if program is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for service in services:
            with open(f"{folder}/{service.name}", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(service.text())
        env = {**spawn.clean_environment(), "SYSTEMD_UNIT_PATH": f"{folder}:", "SYSTEMD_LOG_LEVEL": "warning"}
        for report in reports:
            if report.outcome.error is None:
                name = report.outcome.service.name
                result = spawn.run([program, "--user", "--man=no", "verify", f"{folder}/{name}"], env=env)
                said = [line for line in result.text.splitlines() if f"/{name}" in line or line.startswith(name)]
                for line in said:
                    kind = report.notes if line.endswith("ignoring.") else report.mistakes
                    kind.append((line.replace(f"{folder}/", ""), ""))
