# ruff: noqa: INP001 - a program beside the package, not a part of it
"""Writes what the Helm chart and the plain manifests repeat: rules, dashboards, options, values, objects.

Run as `python -m deploy.generate` from the top of the checkout, after `make tools`, which brings helm. Tests compare
what is committed with what `files` returns.
"""

import itertools
import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from rc_import_exporter import __version__
from rc_import_exporter.config.options import ANY, OPTIONS, URL, Option

ROOT: Final = Path(__file__).parent.parent
HELM: Final = ROOT / ".venv-tools" / "bin" / "helm"
NAME: Final = "rocketchat-import-exporter"
CHART: Final = ROOT / "deploy" / "helm" / NAME
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
RULES: Final = ROOT / "deploy" / "prometheus"
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
GENERATED_FOLDERS: Final = (CHART / "files",)
"""Nothing else lies in them: what is not generated any more is removed."""

_FROM_HELM: Final = frozenset({"helm.sh/chart", "app.kubernetes.io/managed-by"})
_NOT_IN_VALUES: Final = frozenset(
    {"config", "web", "user_id", "user_id_file", "auth_token", "auth_token_file", "url", "workspaces"}
)
"""What the chart itself sets, what it takes from Secrets alone, and what only a workspace has."""

Tree = dict[str, object]


def files(helm: Path) -> dict[Path, str]:
    """Every generated file with its content."""
    made = {
        CHART / "Chart.yaml": _chart((CHART / "Chart.yaml").read_text()),
        CHART / "values.schema.json": _schema((CHART / "values.schema.json").read_text()),
        CHART / "README.md": _readme((CHART / "README.md").read_text(), (CHART / "values.yaml").read_text()),
    }
    made |= {CHART / "files" / path.name: path.read_text() for path in sorted(RULES.glob("*.rules.yml"))}
    dashboards = sorted(DASHBOARDS.glob("*.json"))
    made |= {CHART / "files" / "dashboards" / path.name: path.read_text() for path in dashboards}
    made[CHART / "files" / "dashboards" / "kustomization.yaml"] = _config_maps([path.stem for path in dashboards])
    made[KUBERNETES / "components" / "grafana-dashboards" / "dashboards.yaml"] = _references(
        [path.stem for path in dashboards]
    )
    return made | dict(_manifests(helm))


def render(helm: Path, values: Mapping[str, object], *arguments: str) -> str:
    """What the chart makes of these values, for a release that is called like the chart."""
    command = [str(helm), "template", NAME, str(CHART), "--values", "-", *arguments]
    ran = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)  # noqa: S603 - the caller's own helm
    if ran.returncode:
        raise ValueError(ran.stderr)
    return ran.stdout


BASE: Final[Mapping[str, object]] = {"existingConfigMap": NAME}
"""The values of the plain manifests: whoever uses them has a ConfigMap and a Secret of these names."""

ROCKETCHAT: Final[list[object]] = [
    {"ports": [{"port": 443, "protocol": "TCP"}]},
    {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "rocketchat"}}}],
        "ports": [{"port": 3000, "protocol": "TCP"}],
    },
]
"""Any Rocket.Chat behind HTTPS, and the pods of its chart in this cluster."""

COMPONENTS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "service-monitor": ("servicemonitor.yaml", {"serviceMonitor": {"enabled": True}}),
    "pod-monitor": ("podmonitor.yaml", {"podMonitor": {"enabled": True}}),
    "prometheus-rule": ("prometheusrule.yaml", {"prometheusRule": {"enabled": True}}),
    "network-policy": ("networkpolicy.yaml", {"networkPolicy": {"enabled": True, "to": ROCKETCHAT}}),
}
"""The folder of a component that is rendered, the template and the values it comes from."""


def _manifests(helm: Path) -> Iterator[tuple[Path, str]]:
    for template in ("deployment.yaml", "service.yaml", "serviceaccount.yaml"):
        yield KUBERNETES / "base" / template, plain(render(helm, BASE, "--show-only", f"templates/{template}"))
    for folder, (template, values) in COMPONENTS.items():
        rendered = render(helm, {**BASE, **values}, "--show-only", f"templates/{template}")
        yield KUBERNETES / "components" / folder / template, plain(rendered)


def plain(rendered: str) -> str:
    """A manifest without what only Helm says: where it comes from, and the namespace."""
    lines = [
        line
        for line in rendered.splitlines()
        if not line.startswith(("---", "# Source:", "  namespace:")) and _key(line) not in _FROM_HELM
    ]
    return "\n".join(lines).strip() + "\n"


def _key(line: str) -> str:
    return line.strip().partition(":")[0]


def _chart(written: str) -> str:
    """The chart has the exporter's own version."""
    return re.sub(
        r'^(version: |appVersion: )("?)[^"\n]*("?)$', rf"\g<1>\g<2>{__version__}\g<3>", written, flags=re.MULTILINE
    )


def _schema(written: str) -> str:
    """The schema of the values with the exporter's options in it."""
    schema = json.loads(written)
    usable = [option for option in OPTIONS if option.in_file and option.path[0] not in _NOT_IN_VALUES]
    config, workspace = schema["$defs"]["config"], schema["$defs"]["workspace"]
    config["properties"] = _properties(usable)
    workspace["properties"] = {
        "url": _value(URL),
        "secret": {"$ref": "#/$defs/ownSecret"},
        **_properties([option for option in usable if option.each]),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _properties(options: Iterable[Option[object]], depth: int = 0) -> Tree:
    """A tree of options; those of one branch stand beside each other."""
    made: Tree = {}
    for key, group in itertools.groupby(options, key=lambda option: option.path[depth]):
        members = list(group)
        match members[0].path[depth + 1 :]:
            case ():
                made[key] = _value(members[0])
            case (one,) if one == ANY:
                made[key] = {"type": "object", "additionalProperties": _value(members[0])}
            case _:
                made[key] = _closed(_properties(members, depth + 1))
    return made


def _closed(properties: Tree) -> Tree:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _value(option: Option[object]) -> Tree:
    """What one option's value may be; bounds are the exporter's own to check."""
    default = f" Default: {option.default}." if option.default else ""
    return {**option.value.schema, "description": option.help + default}


def _readme(written: str, values: str) -> str:
    """The chart's README with the table of its values."""
    rows = ["| value | default | what |", "|---|---|---|"]
    rows += [f"| `{path}` | {_shown(default)} | {text} |" for path, text, default in documented(values)]
    table = "\n".join(rows)
    before, start, rest = written.partition("<!-- values -->\n")
    _, end, after = rest.partition("\n<!-- /values -->")
    return before + start + table + end + after


def _shown(default: object) -> str:
    return "" if default == "" else f"`{json.dumps(default)}`"


def documented(values: str) -> Iterator[tuple[str, str, object]]:
    """Each key of a values file that has a comment `# -- …` above it: its path, that comment, its default."""
    tree: object = yaml.safe_load(values)
    above: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in values.splitlines():
        if found := re.match(r"\s*# (-- )?(.*)", line):
            comment = [found[2]] if found[1] else [*comment, found[2]]
        elif found := re.match(r"( *)([A-Za-z]+):", line):
            above = [(depth, key) for depth, key in above if depth < len(found[1])] + [(len(found[1]), found[2])]
            path = [key for _, key in above]
            if comment:
                yield ".".join(path), " ".join(comment), _at(tree, path)
            comment = []


def _at(tree: object, path: list[str]) -> object:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _config_maps(stems: list[str]) -> str:
    """A kustomization that makes a ConfigMap of each dashboard, used by two components."""
    maps = [{"name": _config_map(stem), "files": [f"{stem}.json"]} for stem in stems]
    return _yaml(
        {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "configMapGenerator": maps,
            "generatorOptions": {"disableNameSuffixHash": True},
        }
    )


def _references(stems: list[str]) -> str:
    """A GrafanaDashboard for each of these ConfigMaps."""
    return "---\n".join(
        _yaml(
            {
                "apiVersion": "grafana.integreatly.org/v1beta1",
                "kind": "GrafanaDashboard",
                "metadata": {"name": _config_map(stem)},
                "spec": {
                    "allowCrossNamespaceImport": True,
                    "instanceSelector": {"matchLabels": {"dashboards": "grafana"}},
                    "configMapRef": {"name": _config_map(stem), "key": f"{stem}.json"},
                },
            }
        )
        for stem in stems
    )


def _config_map(stem: str) -> str:
    return f"{NAME}-{stem}"


def _yaml(document: object) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def main() -> None:
    """Write them all."""
    made = files(HELM)
    for path, content in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for folder in GENERATED_FOLDERS:
        for path in folder.rglob("*"):
            if path.is_file() and path not in made:
                path.unlink()


if __name__ == "__main__":
    main()
