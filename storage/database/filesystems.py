"""Detects files on network file systems, which several machines share."""

from __future__ import annotations

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")

# fmt: off
NETWORK_FILE_SYSTEMS = frozenset({
    "nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "glusterfs", "pvfs2",
    "orangefs", "ocfs2", "gfs2", "panfs", "wekafs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone",
    "fuse.juicefs", "fuse.smbnetfs", "fuse.davfs",
})
# fmt: on
"""Linux's names of network file systems."""


def network_mount(path: Path, mounts: Path = MOUNTS) -> tuple[str, str] | None:
    """The type and the mount point of the network file system that ``path`` lies on; None if it lies on none.

    Also None where the list of mounts cannot be read, as on other systems than Linux.

    Args:
        path: need not exist.
        mounts: the list of mounts, in the format of ``/proc/self/mounts``.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = path.resolve()
    found: tuple[str, str] | None = None
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = _unescaped(fields[1])
        # The longest mount point that contains the path counts; of equal ones the later, which covers the earlier.
        if real.is_relative_to(point) and (found is None or len(point) >= len(found[1])):
            found = (fields[2], point)
    return found if found is not None and found[0] in NETWORK_FILE_SYSTEMS else None


def _unescaped(text: str) -> str:
    """A mount point in plain text: the kernel writes blanks, tabs, newlines and backslashes as octal numbers."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, character)
    return text
