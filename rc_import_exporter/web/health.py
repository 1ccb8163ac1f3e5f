"""Whether the exporter may be scraped, from the snapshot alone; asked by `web` for `/-/ready`."""

from collections.abc import Collection

from rc_import_exporter.core.snapshot import Snapshot


def awaited(snapshot: Snapshot, names: Collection[str]) -> list[str]:
    """Which of these workspaces have had no outcome yet, of either kind; ready is who waits for none.

    Rocket.Chat's health is not ours, and one that is configured no longer is not waited for.
    """
    return [name for name in names if (record := snapshot.records.get(name)) is not None and record.polls == 0]
