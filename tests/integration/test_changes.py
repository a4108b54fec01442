"""``diff``, ``history``, ``image tree``, ``untag``, ``image exists`` and ``image prune``, as a user meets them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import layout
from support.archives import directory, member, tar
from support.shell import program, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.registry import PlainRegistry
    from support.shell import Rpod

SCRIPT = (
    "rm /etc/group; rm -r /var/www; mkdir /var/www; echo new >/var/www/new; echo x >>/etc/passwd;"
    "mkdir -p /new/deep; touch /new/deep/file; ln -s /etc/shadow /new/link; chmod 700 /home"
)
CHANGED = ["C /etc", "D /etc/group", "C /etc/passwd", "C /home", "A /new", "A /new/deep", "A /new/deep/file"]
CHANGED += ["A /new/link", "C /var", "C /var/www", "D /var/www/index.html", "A /var/www/new"]


@pytest.fixture(scope="module")
def layered(plain_registry: PlainRegistry, session_rpod: Rpod, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of two layers: the second replaces, adds and deletes."""
    folder = tmp_path_factory.mktemp("layered")
    base = tar(directory("d"), member("d/kept", b"1"), member("d/gone", b"2"), member("e", b"3"))
    upper = tar(directory("d"), member("d/.wh.gone"), member("e", b"changed"), member("f", b"4"))
    name = "changes-layered:latest"
    plain_registry.push(layout.write(folder / "image", [base, upper], {"Cmd": ["x"]}), name)
    session_rpod.ok("pull", "-q", "--tls-verify=false", f"{plain_registry.address}/{name}")
    return f"{plain_registry.address}/{name}"


def test_diff_of_a_container_while_it_runs_and_after(rpod: Rpod, image: str, tmp_path: Path) -> None:
    rpod.ok("run", "-d", "--name", "writer", "-v", f"{tmp_path}:/mnt/a", image, "sh", "-c", f"{SCRIPT}; exec sleep 900")
    wanted = [*CHANGED[:4], "A /mnt", *CHANGED[4:]]
    wait_for(lambda: rpod.ok("diff", "writer").splitlines() == wanted, what="the changes")
    rpod.ok("stop", "-t", "0", "writer")
    assert rpod.ok("container", "diff", "-l").splitlines() == wanted
    found = json.loads(rpod.ok("diff", "--format", "json", "writer"))
    assert found["deleted"] == ["/etc/group", "/var/www/index.html"]
    assert "/etc/passwd" in found["changed"] and "/new/link" in found["added"]


def test_a_shifted_container_differs_only_where_it_wrote(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "--name", "kept", "--userns", "keep-id", "--user", "0", image, "sh", "-c", "echo x >/root/file")
    # /etc was touched to mount hosts in it, which is not told of, and keep-id gives the user an account
    account = {"C /etc", "C /etc/passwd", "C /etc/group"}
    assert [line for line in rpod.ok("diff", "kept").splitlines() if line not in account] == ["C /root", "A /root/file"]


def test_diff_of_images(rpod: Rpod, image: str, layered: str) -> None:
    assert rpod.ok("image", "diff", layered).splitlines() == ["C /d", "D /d/gone", "C /e", "A /f"]
    against = rpod.ok("diff", layered, image).splitlines()
    assert {"A /d", "A /d/kept", "A /e", "D /bin", "D /etc"} <= set(against)
    assert rpod.ok("diff", image, image) == ""
    rpod.ok("create", "--name", "fresh", image)
    assert rpod.ok("diff", "fresh", image) == ""
    assert "no such container" in rpod.fails("container", "diff", image)
    assert "no such image" in rpod.fails("image", "diff", "fresh")
    assert "no templates" in rpod.fails("diff", "--format", "{{.}}", "fresh")
    assert "one name" in rpod.fails("diff", "a", "b", "c")


def test_history_tells_every_step(rpod: Rpod, layered: str) -> None:
    steps = json.loads(rpod.ok("history", "--format", "json", layered))
    assert [step["CreatedBy"] for step in steps] == ["tests", "tests"]
    assert [step["size"] for step in steps] == [10240, 10240]
    assert [step["created"] for step in steps] == ["2024-01-01T00:00:00Z"] * 2
    assert steps[0]["id"] == rpod.ok("image", "inspect", "-f", "{{.Id}}", layered)
    assert steps[0]["tags"] == [layered] and steps[1]["id"] == "<missing>"
    table = rpod.ok("history", layered).splitlines()
    assert table[0].split() == ["ID", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert "10.2 kB" in table[1] and table[1].startswith(steps[0]["id"][:12]) and "ago" in table[1]
    assert rpod.ok("history", "-q", "--no-trunc", layered).splitlines() == [steps[0]["id"], "<missing>"]
    plain = rpod.ok("image", "history", "--human=false", "--format", "{{.Created}} {{.Size}}", layered)
    assert plain.splitlines() == ["2024-01-01T00:00:00Z 10240"] * 2


def test_tree_shows_layers_and_what_needs_them(rpod: Rpod, image: str, layered: str) -> None:
    lines = rpod.ok("image", "tree", layered).splitlines()
    assert lines[1:4] == [f"Tags:     [{layered}]", "Size:     20.5kB", "Image Layers"]
    assert lines[4].startswith("├── ID: ") and lines[5].endswith(f"Size: 10.2kB Top Layer of: [{layered}]")
    assert rpod.ok("image", "tree", "--whatrequires", image).splitlines()[3:] == ["Image Layers"]


def test_names_come_and_go(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    rpod.ok("run", "--rm", "hello")
    rpod.ok("image", "tag", "hello", "one:1", "two")
    assert rpod("image", "exists", "one:1").code == 0
    assert rpod("image", "exists", "localhost/three").code == 1
    rpod.ok("untag", "one:1", "localhost/one:1")
    assert rpod("image", "exists", "one:1").code == 1
    assert "has no such name" in rpod.fails("untag", "two", "three")
    assert "no such image" in rpod.fails("untag", "three")
    ident = rpod.ok("images", "-q", "--no-trunc", "two")
    rpod.ok("image", "untag", "two")
    assert rpod.ok("images", "--format", "{{.Repository}}") == "<none>"
    rpod.ok("create", "--name", "user", ident)
    assert rpod.ok("image", "prune", "-f") == ""  # a container uses it
    rpod.ok("rm", "user")
    assert rpod("image", "prune", stdin=b"n\n").out.startswith("WARNING! This command removes all images without")
    assert rpod.ok("image", "prune", "-f", "--filter", "label=none=1") == ""
    assert rpod.ok("image", "prune", "-f") == ident.removeprefix("sha256:")
    assert rpod.ok("images", "-q") == "" and list((rpod.data / "layers").iterdir()) == []
    assert "prune knows" in rpod.fails("image", "prune", "-f", "--filter", "color=red")


def test_an_image_is_mounted_in_the_namespace_of_unshare(rpod: Rpod, image: str, layered: str) -> None:
    rpod_in = " ".join(program())
    script = f"""set -e
    d=$({rpod_in} image mount {layered}); cat $d/e; ls $d/d; touch $d/x 2>/dev/null && echo writable
    {rpod_in} image mount {image} | grep -q images; {rpod_in} image mount | grep -c images/
    {rpod_in} image mount {layered} | grep -c $d; {rpod_in} image unmount {layered}; ls $d 2>/dev/null || echo gone
    {rpod_in} image umount --all | wc -l; {rpod_in} image mount
    {rpod_in} image unmount {layered} || echo refused"""
    done = rpod("unshare", "sh", "-c", script.replace("touch", "! touch", 1).replace("&& echo writable", ""))
    assert done.code == 0, done
    ident = rpod.ok("image", "inspect", "-f", "{{.Id}}", layered)
    assert done.out.split() == ["changedkept", "2", "1", ident, "gone", "1", "refused"], done
    assert "rpod unshare" in rpod.fails("image", "mount", layered)
    assert rpod.ok("image", "mount") == ""
