# ruff: noqa: INP001 - a program beside the package, not a part of it
"""Generates the parts of the Helm chart and the plain manifests that come from elsewhere: rules, dashboards, options.

Run `python -m deploy.generate` in the repository's root directory, after `make tools`, which installs helm. Tests
compare the committed files with what `files` returns.
"""

import itertools
import json
import re
import subprocess
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from deploy.prometheus import generate as rules
from rc_import_exporter import __version__
from rc_import_exporter.config.options import ANY, OPTIONS, URL, Option

ROOT: Final = Path(__file__).parent.parent
HELM: Final = ROOT / ".venv-tools" / "bin" / "helm"
NAME: Final = "rocketchat-import-exporter"
CHART: Final = ROOT / "deploy" / "helm" / NAME
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
GENERATED_FOLDERS: Final = (CHART / "files",)
"""Folders with generated files only. Other files in them are deleted."""

_FROM_HELM: Final = frozenset({"helm.sh/chart", "app.kubernetes.io/managed-by"})
_NOT_IN_VALUES: Final = frozenset(
    {
        *("config", "web", "shard", "user_id", "user_id_file", "auth_token", "auth_token_file", "headers", "url"),
        *("workspaces", "workspaces_files"),
    }
)
"""Options that the chart sets itself, that come only from Secrets, or that only a workspace has."""

_MARKS: Final = {"LOADING_STALLED_AFTER": 'outcome="loading"', "LOST_SIGHT": "last_active_timestamp_seconds"}
"""What a line of the rules contains if a number in it is this limit and not another one with the same number."""

Tree = dict[str, object]


def files(helm: Path) -> dict[Path, str]:
    """The path and content of each generated file."""
    return _chart_files() | dict(_manifests(helm))


def _chart_files() -> dict[Path, str]:
    made = {
        CHART / "Chart.yaml": _chart((CHART / "Chart.yaml").read_text()),
        CHART / "values.schema.json": _schema((CHART / "values.schema.json").read_text()),
        CHART / "README.md": _readme((CHART / "README.md").read_text(), (CHART / "values.yaml").read_text()),
    }
    made[CHART / "files" / rules.RULES.name] = _rules(rules.RULES.read_text())
    dashboards = sorted(DASHBOARDS.glob("*.json"))
    made |= {CHART / "files" / "dashboards" / path.name: path.read_text() for path in dashboards}
    made[CHART / "files" / "dashboards" / "kustomization.yaml"] = _config_maps([path.stem for path in dashboards])
    made[KUBERNETES / "components" / "grafana-dashboards" / "dashboards.yaml"] = _references(
        [path.stem for path in dashboards]
    )
    return made


def render(helm: Path, values: Mapping[str, object], *arguments: str) -> str:
    """The manifests that the chart renders from these values, for a release with the chart's name."""
    command = [str(helm), "template", NAME, str(CHART), "--values", "-", *arguments]
    ran = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)  # noqa: S603 - the caller's own helm
    if ran.returncode:
        raise ValueError(ran.stderr)
    return ran.stdout


BASE: Final[Mapping[str, object]] = {"existingConfigMap": NAME}
"""The values of the plain manifests. Their users create a ConfigMap and a Secret with these names."""

ROCKETCHAT: Final[list[object]] = [
    {"ports": [{"port": 443, "protocol": "TCP"}]},
    {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "rocketchat"}}}],
        "ports": [{"port": 3000, "protocol": "TCP"}],
    },
]
"""Any Rocket.Chat with HTTPS, and the pods of its Helm chart in this cluster."""

COMPONENTS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "service-monitor": ("servicemonitor.yaml", {"serviceMonitor": {"enabled": True}}),
    "pod-monitor": ("podmonitor.yaml", {"podMonitor": {"enabled": True}}),
    "prometheus-rule": ("prometheusrule.yaml", {"prometheusRule": {"enabled": True}}),
    "network-policy": ("networkpolicy.yaml", {"networkPolicy": {"enabled": True, "to": ROCKETCHAT}}),
}
"""The folder of each rendered component, its template and its values."""

PROVIDER: Final = ("statefulset", "service", "serviceaccount", "rbac", "configmap", "podmonitor", "networkpolicy")
"""The templates of the overlay for a provider. Their values are in the chart's folder `ci`."""


def _manifests(helm: Path) -> Iterator[tuple[Path, str]]:
    for template in ("deployment.yaml", "service.yaml", "serviceaccount.yaml"):
        yield KUBERNETES / "base" / template, plain(render(helm, BASE, "--show-only", f"templates/{template}"))
    for folder, (template, values) in COMPONENTS.items():
        rendered = render(helm, {**BASE, **values}, "--show-only", f"templates/{template}")
        manifest = plain(rendered)
        if folder == "prometheus-rule":
            # The chart renders the rules without their comments.
            head = manifest.partition("\nspec:\n")[0]
            manifest = f"{head}\nspec:\n{textwrap.indent(rules.RULES.read_text(), '  ')}"
        yield KUBERNETES / "components" / folder / template, manifest
    values = yaml.safe_load((CHART / "ci" / "provider-values.yaml").read_text())
    for name in PROVIDER:
        rendered = render(helm, values, "--show-only", f"templates/{name}.yaml")
        yield KUBERNETES / "overlays" / "provider" / f"{name}.yaml", plain(rendered)


def plain(rendered: str) -> str:
    """A manifest without Helm's comments, labels and namespace."""
    lines = [
        line
        for line in rendered.splitlines()
        if not line.startswith(("# Source:", "  namespace:")) and _key(line) not in _FROM_HELM
    ]
    documents = [one.strip() for one in re.split(r"^---$", "\n".join(lines), flags=re.MULTILINE)]
    return "\n---\n".join(one for one in documents if one) + "\n"


def _key(line: str) -> str:
    return line.strip().partition(":")[0]


def _chart(written: str) -> str:
    """The chart's metadata with the exporter's version."""
    return re.sub(
        rf'^(version: |appVersion: |      image: {NAME}:)("?)[^"\n]*("?)$',
        rf"\g<1>\g<2>{__version__}\g<3>",
        written,
        flags=re.MULTILINE,
    )


def _rules(written: str) -> str:
    """The rules with a placeholder, such as `${stalledAfter}`, for each limit."""
    lines = written.splitlines()
    limits = rules.limits()
    for name in sorted(limits, key=lambda name: name not in _MARKS):
        number = re.compile(rf"(?<![\w.]){re.escape(limits[name])}(?![\w.])")
        mark, placeholder = _MARKS.get(name, ""), f"${{{value_name(name)}}}"
        lines = [
            number.sub(placeholder, line) if mark in line and not line.lstrip().startswith("#") else line
            for line in lines
        ]
        if placeholder not in "\n".join(lines):
            raise ValueError(f"no rule contains {name}")
    head = (
        "# Generated from deploy/prometheus. Each ${…} is a limit of the chart's value prometheusRule.thresholds.\n#\n"
    )
    return head + "\n".join(lines) + "\n"


def value_name(limit: str) -> str:
    """The name of a limit in the chart's values: `stalledAfter` for `STALLED_AFTER`."""
    first, *others = limit.lower().split("_")
    return first + "".join(map(str.capitalize, others))


def _schema(written: str) -> str:
    """The schema of the values, with the exporter's options and the alerts."""
    schema = json.loads(written)
    usable = [option for option in OPTIONS if option.in_file and option.path[0] not in _NOT_IN_VALUES]
    config, workspace = schema["$defs"]["config"], schema["$defs"]["workspace"]
    config["properties"] = _properties(usable)
    workspace["properties"] = {
        "url": _value(URL),
        "secret": {"$ref": "#/$defs/ownSecret"},
        **_properties([option for option in usable if option.each]),
    }
    alerts = [alert.name for alert in rules.alerts()]
    limits = [value_name(limit) for limit in rules.limits()]
    schema["properties"]["prometheusRule"]["properties"] |= {
        "disabled": _closed({name: {"type": "boolean"} for name in alerts}),
        "severity": _closed({name: {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"} for name in alerts}),
        "thresholds": {**_closed({name: {"type": "number", "minimum": 0} for name in limits}), "required": limits},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _properties(options: Iterable[Option[object]], depth: int = 0) -> Tree:
    """The options as a schema's properties. Options of one branch must follow each other."""
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
    """The schema of one option's value. The exporter itself checks the bounds."""
    default = f" Default: {option.default}." if option.default else ""
    return {**option.value.schema, "description": option.help + default}


def _readme(written: str, values: str) -> str:
    """The chart's README with the table of values."""
    rows = ["| value | default | description |", "|---|---|---|"]
    rows += [f"| `{path}` | {_shown(default)} | {text} |" for path, text, default in documented(values)]
    table = "\n".join(rows)
    before, start, rest = written.partition("<!-- values -->\n")
    _, end, after = rest.partition("\n<!-- /values -->")
    return before + start + table + end + after


def _shown(default: object) -> str:
    return "" if default == "" else f"`{json.dumps(default)}`"


def documented(values: str) -> Iterator[tuple[str, str, object]]:
    """The path, comment and default of each key of a values file with a comment `# -- …` above it."""
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
    """A kustomization with a ConfigMap for each dashboard."""
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
    """A GrafanaDashboard for each ConfigMap."""
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


def _write(made: Mapping[Path, str]) -> None:
    for path, content in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def main() -> None:
    """Write all generated files, and delete others in the folders of generated files."""
    # The manifests are rendered from the chart, so the chart's files have to be written first.
    made = _chart_files()
    _write(made)
    _write(dict(_manifests(HELM)))
    for folder in GENERATED_FOLDERS:
        for path in folder.rglob("*"):
            if path.is_file() and path not in made:
                path.unlink()


if __name__ == "__main__":
    main()
