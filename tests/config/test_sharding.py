"""Which part of the workspaces an exporter polls: by two options, or by the name of a StatefulSet's pod."""

import pytest

from rc_import_exporter.config import settings
from rc_import_exporter.core.shard import Shard
from rc_import_exporter.errors import ConfigurationError
from rc_import_exporter.polling.fleet import Fleet, chosen
from tests.support.rig import configure

WORKSPACE = {"workspaces.acme.url": "http://a", "workspaces.acme.user_id": "u", "workspaces.acme.auth_token": "t"}


def load(index: str = "", count: str = "", **environ: str) -> Shard | None:
    """The shard of these options and variables."""
    given = {"shard.index": index, "shard.count": count}
    return settings.load(WORKSPACE | {option: text for option, text in given.items() if text}, environ).shard


def test_without_options_all_workspaces_are_polled() -> None:
    """The names of pods are then ignored."""
    assert load(POD_NAME="exporter-1", HOSTNAME="exporter-1") is None


def test_the_index_comes_from_its_option_or_from_the_pod_s_name() -> None:
    """POD_NAME is for pods whose host name is the node's."""
    assert load("1", "3") == load("1", "3", POD_NAME="exporter-2") == Shard(index=1, count=3)
    assert load(count="3", HOSTNAME="exporter-2") == Shard(index=2, count=3)
    assert load(count="3", POD_NAME="exporter-0", HOSTNAME="node-2") == Shard(index=0, count=3)
    assert load(count="12", HOSTNAME="exporter-1-11") == Shard(index=11, count=12)


@pytest.mark.parametrize(
    ("index", "count", "host", "told"),
    [
        ("1", "", "exporter-1", "shard.index: is set without shard.count; set both or neither"),
        ("", "3", "", "shard.index: is missing; set it, or run the exporter as a pod of a StatefulSet"),
        ("", "3", "exporter", "shard.index: is missing; set it, or run the exporter as a pod of a StatefulSet"),
        (
            "",
            "3",
            "x-7d9f-x2k4z",
            "shard.index: is missing; set it, or run the exporter as a pod of a StatefulSet",
        ),
        ("3", "3", "", "shard.index: must be less than shard.count, and 3 is not less than 3"),
        ("", "3", "exporter-3", "shard.index: must be less than shard.count, and 3 is not less than 3"),
        ("0", "0", "", "shard.count: must be a whole number from 1 to 1000 (from flag --shard.count)"),
        ("-1", "2", "", "shard.index: must be a whole number from 0 to 999 (from flag --shard.index)"),
    ],
)
def test_a_shard_that_cannot_be_is_one_line(index: str, count: str, host: str, told: str) -> None:
    """If a pod polled the wrong part, no pod would poll some workspaces."""
    with pytest.raises(ConfigurationError) as refused:
        load(index, count, HOSTNAME=host)
    assert refused.value.mistakes == (told,)


def test_the_shards_poll_each_workspace_once_and_commands_all_of_them() -> None:
    """`check`, `watch` and `once` are for a person or a script, who ask about any workspace."""
    urls = {f"tenant-{number}": f"http://t{number}" for number in range(50)}
    shards = [configure(urls, {"shard.index": str(index), "shard.count": "4"}) for index in range(4)]
    snapshots = [Fleet(each, lambda: 0.0).store.snapshot for each in shards]
    polled = [name for snapshot in snapshots for name in snapshot.records]
    assert sorted(polled) == sorted(urls)
    for snapshot in snapshots:
        assert snapshot.records.keys() | snapshot.elsewhere == urls.keys()
        assert not snapshot.records.keys() & snapshot.elsewhere
    assert Fleet(chosen(shards[0], []), lambda: 0.0).store.snapshot.records.keys() == urls.keys()
    assert Fleet(chosen(shards[0], polled[-1:]), lambda: 0.0).store.snapshot.records.keys() == {polled[-1]}
