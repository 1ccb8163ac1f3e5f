"""The exporter's own exceptions.

```
ExporterError
├── ConfigurationError   the configuration is wrong; one line for each mistake
├── CredentialsError     a secret cannot be read, or an HTTP header cannot hold it
└── BodyError            a response is not the JSON that its endpoint should send
```

Failures of a call are values (`domain.Failure`), not exceptions, because they are expected. Exceptions of other
libraries are caught where the library is called.
"""

from collections.abc import Sequence


class ExporterError(Exception):
    """The base of all exceptions that this package raises on purpose."""


class ConfigurationError(ExporterError):
    """The configuration cannot be used. `mistakes` has a line for each mistake; no line shows a value.

    `files` are the files that it names: a change of one of them may correct a mistake. `in_part` says that the mistakes
    are in files of `workspaces_files`, and that the rest of the configuration can be used.
    """

    def __init__(self, mistakes: Sequence[str], files: Sequence[str] = (), *, in_part: bool = False) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)
        self.files = tuple(files)
        self.in_part = in_part


class CredentialsError(ExporterError):
    """A user id or a token cannot be read, or an HTTP header cannot hold it."""


class BodyError(ExporterError):
    """A response is not the JSON that its endpoint should send. The message says what is missing and quotes nothing."""
