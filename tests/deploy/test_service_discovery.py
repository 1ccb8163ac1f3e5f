"""A real Prometheus discovers 200 workspaces by the shipped example, and scrapes each of them by itself."""

import subprocess
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from rc_import_exporter.app import App
from rc_import_exporter.simulator import stories
from rc_import_exporter.simulator.scenario import Story
from rc_import_exporter.simulator.server import SimulatedServers
from tests.support.prometheus import configured, eventually, query, targets
from tests.support.rig import configure

EXAMPLE: Final = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus-sd.yml"
RULES: Final = EXAMPLE.with_name("rocketchat-import.rules.yml")
ADDRESS: Final = "localhost:19458"
SHORTER: Final = {
    "scrape_interval: 1m": "scrape_interval: 3s\n  scrape_timeout: 2s",
    "evaluation_interval: 15s": "evaluation_interval: 3s",
    "replacement: 15s": "replacement: 2s",
}
"""A timeout must not be longer than the shortest interval: Prometheus drops such a target."""
NUMBER: Final = 200


@pytest.mark.program("promtool")
def test_the_example_is_a_configuration_of_prometheus() -> None:
    """With the rules that it names."""
    subprocess.run(["promtool", "check", "config", str(EXAMPLE)], check=True, capture_output=True)


@pytest.mark.program("prometheus")
@pytest.mark.timeout(120)
async def test_each_workspace_is_scraped_once_with_its_labels_and_its_interval(tmp_path: Path) -> None:
    """Only the port and the intervals of the example are changed. The rules find what belongs together."""
    names = [f"tenant-{number:03}" for number in range(NUMBER)]
    async with SimulatedServers({name: Story(stories.idle()) for name in names}) as servers:
        options = {"poll_interval": "2s", "poll_interval_idle": "5s"}
        options |= {f"workspaces.{name}.labels.tier": "gold" for name in names[:5]}
        app = App(configure({name: servers.url(name) for name in names}, options))
        address = f"localhost:{await app.start()}"
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in {**SHORTER, ADDRESS: address}.items():
            assert old in text
            text = text.replace(old, new)
        config = tmp_path / EXAMPLE.name
        config.write_text(text)
        (tmp_path / RULES.name).write_text(RULES.read_text(encoding="utf-8"))
        async with configured(config) as url:
            await eventually(url, "rocketchat_import_up == 1", NUMBER)
            await eventually(url, "rocketchat_import:links", NUMBER)
            scraped = await targets(url)
            by_interval = {"2s": 0, "3s": 0}
            for target in scraped:
                assert (target["health"], target["lastError"]) == ("up", "")
                by_interval[target["scrapeInterval"]] += 1
            assert by_interval == {"2s": 5, "3s": NUMBER - 5 + 1}
            found = await query(url, '{__name__=~"rocketchat_import_.*|process_.*|python_.*"}')
            assert {(each["job"], each["instance"]) for each in found} == {("rocketchat-import", address)}
            assert not [label for each in found for label in each if label.startswith("exported_")]
            ups = [each for each in found if each["__name__"] == "rocketchat_import_up"]
            assert sorted(each["workspace"] for each in ups) == names
            gold = {each["workspace"] for each in found if each.get("tier") == "gold"}
            assert gold == set(names[:5])
            own = {each["__name__"] for each in found if "workspace" not in each}
            assert {"rocketchat_import_exporter_build_info", "process_start_time_seconds"} <= own
            groups = await rules(url)
            assert not [rule["lastError"] for group in groups for rule in group if rule.get("lastError")]
            assert not [rule["name"] for group in groups for rule in group if rule.get("state") == "firing"]
        await app.stop()


async def rules(url: str) -> list[list[dict[str, str]]]:
    """The rules of each group as Prometheus has evaluated them."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/api/v1/rules") as answer:
        found = await answer.json()
    return [group["rules"] for group in found["data"]["groups"]]
