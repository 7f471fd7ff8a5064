"""A command in an image, held as docker-compose.yml holds its services."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from infra.images.building import Image
from infra.installing.report import SetupFailed, telling_line

# The root cannot be written, /tmp is a tmpfs from which nothing is run; no right of root's is left, or can be had again
_CONTAIN = """
root=$1 folder=$2 writable=$3; shift 3
touch "$root/etc/hosts" "$root/etc/resolv.conf"
mount --bind "$root" "$root"
mount --bind /etc/hosts "$root/etc/hosts"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root/dev/shm"
for place in $writable; do
    mount -t tmpfs -o nosuid,nodev,uid=10001,gid=10001,mode=0700 tmpfs "$root$place"
done
cd "$root$folder"
exec chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \
    --inh-caps=-all --bounding-set=-all -- sh -c 'cd "$0" && exec "$@"' "$folder" "$@"
"""
_PATIENCE_S = 1200  # a busy machine took 570 s for Spark's first MERGE


@dataclass(frozen=True)
class Container:
    """
    A container of *image*.

    Attributes:
        writable: Folders that are tmpfs mounts of its user's.
        has_network: Whether it shares this machine's; else it has none.
    """

    image: Image
    writable: Sequence[str] = ("/var/lib/lakehouse",)
    has_network: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """All that a command sees of the environment."""
        return {**self.image.environment, **self.environment}

    def command(self, *command: str) -> list[str]:
        """Return what runs *command*: it gets `variables`, and ends, with all that it started, when that is killed."""
        apart = ["--mount", "--pid", "--ipc", "--uts", *([] if self.has_network else ["--net"])]
        held = [str(self.image.root), self.image.folder, " ".join(self.writable)]
        contain = ["unshare", *apart, "--fork", "--kill-child", "sh", "-ec", _CONTAIN, "sh", *held]
        return [*contain, "env", "-i", *(f"{name}={value}" for name, value in self.variables.items()), *command]

    def said(self, *command: str, told: str = "") -> str:
        """
        Return what *command* said, which was *told* something on its standard input.

        Raises:
            SetupFailed: with its last telling line if it fails, or takes 20 minutes.
        """
        what = f"{' '.join(command)[:60]} in the image {self.image.name}"
        try:
            ran = subprocess.run(
                self.command(*command), input=told, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise SetupFailed(f"{what} took longer than {_PATIENCE_S} s: try it on a machine less busy") from None
        if ran.returncode != 0:
            raise SetupFailed(f"{what}: {telling_line(ran.stderr + ran.stdout)}")
        return ran.stdout
