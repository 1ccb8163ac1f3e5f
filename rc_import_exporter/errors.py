"""The exporter's own exceptions.

```
ExporterError
├── ConfigurationError   the configuration is wrong: one mistake a line
├── CredentialsError     a secret cannot be read, or cannot be sent
└── BodyError            a body is not the JSON that its endpoint answers with
```

Failures of a call are values (`domain.Failure`), not exceptions: they are expected. Foreign exceptions end where the
foreign library is called.
"""

from collections.abc import Sequence


class ExporterError(Exception):
    """Base of every exception that this package raises on purpose."""


class ConfigurationError(ExporterError):
    """The configuration cannot be used; `mistakes` holds a line for each reason, none of which shows a value."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class CredentialsError(ExporterError):
    """A user id or a token cannot be read from its source, or holds what no HTTP header can carry."""


class BodyError(ExporterError):
    """A body is not the JSON that its endpoint answers with; the message tells what was missed and quotes nothing."""
