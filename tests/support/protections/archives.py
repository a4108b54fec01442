"""Archives: layers, cp, volumes."""

from __future__ import annotations

from support.protections.model import one

_EXTRACT = "rootless/storage/extract.py"
_FILES = "rootless/kernel/files.py"

PROTECTIONS = (
    one(
        "names that climb", "../ in an archive", "refused, with the entry's name",
        _EXTRACT,
        '            if not parts:\n                raise StorageError(f"{shown(name)} leads out of the archive")\n',
        "            if not parts:\n                continue\n",
        "attack/test_attack_storage.py::test_names_that_climb",
        "attack/test_attack_cp.py::test_names_in_a_stream_that_climb",
        "attack/test_attack_load.py::test_every_way_in_has_the_same_rules",
    ),
    one(
        "root of a layer", "a link in an archive, and something through it", "chroot into the layer's directory",
        "rootless/storage/unpack.py", '    os.chroot(".")\n', "",
        "attack/test_attack_storage.py::test_a_link_and_something_through_it",
    ),
    one(
        "devices in layers", "device nodes, and overlayfs' own mark", "none is made",
        _EXTRACT, "        self._devices += 1\n",
        "        os.mknod(name, stat.S_IFCHR, 0)\n        self._devices += 1\n",
        "attack/test_attack_storage.py::test_no_device_not_even_a_whiteout",
    ),
    one(
        "attributes of the drivers", "an archive that speaks to overlayfs", "those attributes are left out",
        _EXTRACT, " or key.startswith(DRIVER_XATTRS):", ":",
        "attack/test_attack_storage.py::test_attributes_of_the_drivers_are_not_taken",
    ),
    one(
        "whiteouts of nothing", "a whiteout of .. or of no name", "refused",
        "rootless/storage/whiteouts.py", 'elif target in (b"", b".", b".."):', "elif False:",
        "unit/test_storage_layers.py::test_whiteouts_of_nothing",
    ),
    one(
        "bombs", "a few bytes that unpack to terabytes", "a limit on the uncompressed stream",
        "rootless/storage/inflate.py", "if total > limit_bytes:", "if False:",
        "attack/test_attack_storage.py::test_bombs",
    ),
    one(
        "number of entries", "ten million files", "a limit on the entries",
        "rootless/storage/tarstream.py", "if self._headers_left < 0:", "if False:",
        "unit/test_storage_tar.py::test_entries_are_counted",
    ),
    one(
        "lengths in archives", "a file that is longer than its archive, or ends before it begins", "bounds, checked",
        "rootless/storage/tarheader.py", "if not fits or total != stored:", "if False:",
        "unit/test_storage_tar.py::test_what_cannot_be_right",
    ),
    one(
        "cp from a container", "a link of the container that leads to the host", "openat2 with RESOLVE_IN_ROOT",
        "rootless/engine/copy.py", "_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS",
        "_RESOLVE = syscalls.RESOLVE_NO_MAGICLINKS",
        "attack/test_attack_cp.py::test_a_link_of_the_container_stays_inside",
    ),
    one(
        "cp to the host", "a container that makes a link of a directory while it is read", "chroot into the target",
        "rootless/engine/copy.py", '        os.chroot(".")\n', "",
        "attack/test_attack_cp.py::test_a_stream_that_a_container_has_made_hostile",
    ),
    one(
        "owners", "chown -R through a link", "no link is followed",
        "rootless/runtime/chown.py", "os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)",
        "os.chown(name, uid, gid, dir_fd=directory)",
        "integration/test_mend.py::test_chown_gives_everything_back",
        "attack/test_attack_volumes.py::test_a_new_owner_reaches_nothing_outside",
    ),
    one(
        "links in layouts", "a layout whose blobs are links to the user's files", "openat2 with RESOLVE_NO_SYMLINKS",
        "rootless/engine/transports/blobs.py", "resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS",
        "resolve = 0",
        "attack/test_attack_load.py::test_layouts_with_links_are_refused",
    ),
    one(
        "links of the caller's", "a link of the user's that a container's directory replaces or follows", "refused",
        _EXTRACT, '        if not self._rules.overwrite:\n            raise StorageError(f"{shown(name)} is not',
        '        if False:\n            raise StorageError(f"{shown(name)} is not',
        "attack/test_attack_cp.py::test_links_of_the_host_do_not_lead_out_of_the_target",
    ),
    one(
        "depth of removals", "a tree that overflows the stack of whoever removes it",
        "what lies too deep is moved up first",
        _FILES, "    if depth == _DEEPEST:\n", "    if False:\n",
        "attack/test_attack_depth.py::test_a_directory_that_is_named_by_its_content_only",
    ),
)  # fmt: skip
