"""The demo's configuration: the simulated workspaces as settings would have them. `cli` starts it.

It polls as often as its stories need, which are told a hundred times faster than life.
"""

from collections.abc import Mapping
from typing import Final

from rc_import_exporter.config.settings import Settings, load

POLL_INTERVAL: Final = "1s"
KEPT_VARIABLES: Final = ("RC_IMPORT_EXPORTER_WEB__", "RC_IMPORT_EXPORTER_LOG__")
"""What an environment may say to the demo; the workspaces are its own."""

EXPECTATIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "nightly-sync": {
        "labels.team": "people",
        "expect.importer": "api",
        "expect.success_every": "26h",
        "expect.longest_run": "2h",
        "expect.failed_ratio": "0.05",
        "expect.min_records": "400",
    },
    "csv-migration": {"labels.team": "migration"},
    "rolling-deploy": {"labels.team": "platform"},
    "crash": {"labels.team": "platform"},
}


def settings(
    options: Mapping[str, str], environ: Mapping[str, str], urls: Mapping[str, str], user_id: str, auth_token: str
) -> Settings:
    """Settings for these simulated workspaces by name; raises `ConfigurationError` for mistakes in `options`."""
    workspaces = {
        f"workspaces.{name}.{option}": text
        for name, url in urls.items()
        for option, text in {"url": url, "user_id": user_id, "auth_token": auth_token, **EXPECTATIONS[name]}.items()
    }
    intervals = {"poll_interval": POLL_INTERVAL, "poll_interval_idle": POLL_INTERVAL}
    kept = {name: text for name, text in environ.items() if name.startswith(KEPT_VARIABLES)}
    return load({**intervals, **options, **workspaces}, kept)
