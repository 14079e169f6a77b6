"""Every error Espalier raises on purpose; each is one sentence for a person.

EspalierError
├── UsageError            wrong command, option, preset or override       exit 2
├── SystemUnavailable     unknown or broken system, or its extra missing  exit 2
├── DataError             something about data
│   ├── DatasetUnavailable    not in cache, mirror or at its url
│   ├── DataCorrupted         truncated download or wrong hash
│   ├── SchemaError           a column or value is not what the card says
│   └── AuditError            a leak, or labels that differ from the card
├── ModelUnavailable      a pretrained backbone's weights are missing, altered or not free
├── BundleError           something about a trained artefact
│   ├── BundleCorrupted       a file does not match its hash
│   ├── BundleTooNew          written by a newer major format
│   └── SignatureInvalid      not signed by the configured key
├── ConformanceError      a system breaks a rule of the house
├── RegistryError         an alias or version that cannot be given
└── RequestError          a request the service cannot answer
    ├── InvalidRequest        a field is wrong                            HTTP 422
    ├── RequestTooLarge       body over the limit                         HTTP 413
    ├── Overloaded            queue full                                  HTTP 503
    └── DeadlineExceeded      not answered in time                        HTTP 504
"""

from __future__ import annotations

from typing import Any, ClassVar


class EspalierError(Exception):
    """What went wrong, where, what was got, what was expected, and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", got: Any = None, expected: Any = None, fix: str = "") -> None:
        self.what, self.where, self.got, self.expected, self.fix = what, where, got, expected, fix
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """`where: what: got X, expected Y; fix.` with the absent parts left out."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        facts = [
            f"{name} {value}" for name, value in (("got", self.got), ("expected", self.expected)) if value is not None
        ]
        if facts:
            text += ": " + ", ".join(facts)
        if self.fix:
            text += f"; {self.fix}"
        return text if text.endswith((".", "!", "?")) else text + "."


class UsageError(EspalierError):
    """Wrong command, option, preset or override."""

    exit_code = 2


class SystemUnavailable(EspalierError):
    """The system is unknown, broken, or its extra is not installed."""

    exit_code = 2


class DataError(EspalierError):
    """Something about data."""


class DatasetUnavailable(DataError):
    """The data set is neither cached, mirrored nor downloadable."""


class DataCorrupted(DataError):
    """A file is truncated or does not match its sha256."""


class SchemaError(DataError):
    """A column or value is not what the card declares."""


class AuditError(DataError):
    """The data audit refused: a leak, or labels that differ from the card."""


class ModelUnavailable(EspalierError):
    """Weights of a pretrained backbone are missing, do not match their sha256, or are not free for every use."""


class BundleError(EspalierError):
    """Something about a trained artefact."""


class BundleCorrupted(BundleError):
    """A file of the bundle is missing or does not match its hash."""


class BundleTooNew(BundleError):
    """The bundle was written by a newer major format."""


class SignatureInvalid(BundleError):
    """The bundle is not signed by the configured key."""


class ConformanceError(EspalierError):
    """A system breaks a rule that every system keeps."""


class RegistryError(EspalierError):
    """An alias or version that cannot be given."""


class RequestError(EspalierError):
    """A request the service cannot answer; `status` is its HTTP status."""

    status: ClassVar[int] = 400


class InvalidRequest(RequestError):
    """A field of the request is wrong."""

    status = 422


class RequestTooLarge(RequestError):
    """The body is over the limit."""

    status = 413


class Overloaded(RequestError):
    """The queue is full; `retry_after` seconds says when to come back."""

    status = 503
    retry_after: int = 1


class DeadlineExceeded(RequestError):
    """The request was not answered before its deadline."""

    status = 504
