"""A small file system for the gateway's state, which can be filled to the last byte (Linux, root)."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

SIZE = 128 * 1024 * 1024  # of memory, at most


class Disk:
    """Lives at *folder*. ``problem`` says why it cannot be had; the folder is then as it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.full = False
        self.problem = ""
        self._mounted = False
        self._ballast = folder / "ballast"

    def mount(self) -> None:
        self.folder.mkdir(exist_ok=True)
        if sys.platform != "linux" or os.geteuid() != 0:
            self.problem = "needs root on Linux"
            return
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.folder)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except OSError as error:
            self.problem = f"mount: {error}"
            return
        self._mounted = ended.returncode == 0
        self.problem = "" if self._mounted else ended.stderr.strip()

    def unmount(self) -> None:
        """Take it away; what was on it stays in the folder, but for what filled it."""
        if self._mounted:
            self.free()
            kept = self.folder.with_name(f"{self.folder.name}-kept")
            shutil.copytree(self.folder, kept, dirs_exist_ok=True)
            subprocess.run(["umount", "-l", str(self.folder)], timeout=30, check=False)
            self._mounted = False

    def fill(self) -> None:
        """Leave no room for anything new."""
        self.full = True
        with self._ballast.open("ab") as ballast:
            step = SIZE
            while step >= 512:
                try:
                    os.posix_fallocate(ballast.fileno(), ballast.seek(0, os.SEEK_END), step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2

    def free(self) -> None:
        self.full = False
        with suppress(FileNotFoundError):
            self._ballast.unlink()
