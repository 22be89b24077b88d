"""The data folder: everything that is kept, readable by its owner only."""

import socket
import uuid
from pathlib import Path
from typing import Final

from service.errors import ConfigError

ADMIN_SOCKET: Final = "admin.sock"
INSTANCE_FILE: Final = "instance-id"
LONGEST_SOCKET_PATH: Final = 107
"""Bytes; a limit of the operating system."""


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is missing, and let nobody else look into it.

    Raises ConfigError when it cannot be made or belongs to somebody else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"data_dir is {folder}, which cannot be used: {error.strerror}.") from error


def name_instance(folder: Path) -> str:
    """Give the id that telemetry knows the service on this folder by, made at the first start.

    Raises ConfigError when it can be neither read nor kept.
    """
    path = folder / INSTANCE_FILE
    try:
        return str(uuid.UUID(path.read_text(encoding="ascii").strip()))
    except (FileNotFoundError, ValueError):
        instance = str(uuid.uuid4())  # also for what is no id: nothing depends on the old one
    except OSError as error:
        raise ConfigError(f"The file {path} cannot be read: {error.strerror}.") from error
    draft = path.with_name(f"{path.name}.{instance}")
    try:
        draft.write_text(f"{instance}\n", encoding="ascii")
        draft.replace(path)
    except OSError as error:
        raise ConfigError(f"The file {path} cannot be made: {error.strerror}.") from error
    return instance


def admin_socket(folder: Path) -> Path:
    """Give the path of the socket through which the running service is administered.

    Raises ConfigError when the folder's name is too long for a socket in it.
    """
    path = folder / ADMIN_SOCKET
    if len(bytes(path)) > LONGEST_SOCKET_PATH:
        raise ConfigError(
            f"data_dir is {folder}, which is too long: with /{ADMIN_SOCKET} "
            f"it may have {LONGEST_SOCKET_PATH} bytes; a path relative to the working folder may be shorter."
        )
    return path


def is_running(folder: Path) -> bool:
    """Tell whether a service answers on the folder's admin socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(bytes(admin_socket(folder)))
        except OSError:
            return False
    return True
