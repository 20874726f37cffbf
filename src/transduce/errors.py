"""The errors a user can meet. Each message says what happened, where, and what to do next."""

import errno
from pathlib import Path


class TransduceError(Exception):
    """Root of every error raised on purpose. `exit_status` is what the command line returns."""

    exit_status = 1


class ConfigError(TransduceError):
    """A recipe, an option or a setting that cannot be honoured."""

    exit_status = 2


class DataError(TransduceError):
    """Input text that cannot be used; the message names path and line."""

    exit_status = 2


class BundleError(TransduceError):
    """A model directory that is missing, truncated or not ours."""

    exit_status = 2


class CheckpointError(TransduceError):
    """A run directory or checkpoint that is missing, truncated or made by something else."""

    exit_status = 2


class FetchError(TransduceError):
    """A download that failed or is not what it should be; what was complete before is still there."""


class SaveError(TransduceError):
    """Something could not be written; whatever was complete before is still there."""


class TrainingError(TransduceError):
    """Training cannot go on, for instance because the loss is not finite."""


_NO_PLACE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS}
_NO_PLACE |= {errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}


def cannot_write(path: Path, error: OSError) -> SaveError:
    """What `error` means to somebody who waits for `path`."""
    advice = "Choose another place" if error.errno in _NO_PLACE else "Free space, then go on"
    return SaveError(f"{path}: cannot be written ({error.strerror or error}). {advice}.")
