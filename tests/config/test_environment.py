"""Variables are options. A misspelt one is a mistake. Variables that Kubernetes sets for Services are ignored."""

import pytest

from rc_import_exporter.config import environment

PREFIX = "RC_IMPORT_EXPORTER_"
SERVICE = {
    "SERVICE_HOST": "10.0.0.1",
    "SERVICE_PORT": "19458",
    "SERVICE_PORT_METRICS": "19458",
    "PORT": "tcp://10.0.0.1:19458",
    "PORT_19458_TCP": "tcp://10.0.0.1:19458",
    "PORT_19458_TCP_PROTO": "tcp",
    "PORT_19458_TCP_PORT": "19458",
    "PORT_19458_TCP_ADDR": "10.0.0.1",
}


@pytest.mark.parametrize("between", ["", "METRICS_", "MY_TEAM_S_"])
def test_the_variables_of_a_service_are_ignored(between: str) -> None:
    """A Service whose name is or begins with the exporter's must not stop the exporter."""
    layer = environment.read({f"{PREFIX}{between}{name}": value for name, value in SERVICE.items()})
    assert (layer.values, layer.mistakes) == ({}, [])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "19458"),
        ("PORT", ""),
        ("WEB_PORT", "19458"),
        ("PORT_HTTP", "x"),
        ("SERVICE", "x"),
        ("WORKSPACES__ACME__SERVICE_HOST", "x"),
        ("WEB__SERVICE_PORT", "x"),
    ],
)
def test_what_only_resembles_a_service_s_variable_is_a_mistake(name: str, value: str) -> None:
    """Someone tried to configure something."""
    (mistake,) = environment.read({PREFIX + name: value}).mistakes
    assert mistake.startswith(f"environment variable {PREFIX}{name}: no such option")


def test_a_label_may_be_named_like_a_service_s_variable() -> None:
    """Options have priority."""
    layer = environment.read({f"{PREFIX}LABELS__SERVICE_HOST": "x"})
    assert layer.values == {("labels", "service_host"): "x"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("AUTH_TOKN", "AUTH_TOKEN"),
        ("TLS_CA_FILE", "TLS__CA_FILE"),
        ("WORKSPACES_ACME_URL", "WORKSPACES__ACME__URL"),
        ("WORKSPACES_MY_TEAM_AUTH_TOKEN_FILE", "WORKSPACES__MY_TEAM__AUTH_TOKEN_FILE"),
        ("WORKSPACES__ACME__USERID", "WORKSPACES__ACME__USER_ID"),
        ("WORKSPACES__ACME__EXPECT__SUCESS_EVERY", "WORKSPACES__ACME__EXPECT__SUCCESS_EVERY"),
        ("LOG_LEVEL", "LOG__LEVEL"),
        ("PASSWORD_OF_SOMEBODY", None),
    ],
)
def test_a_misspelt_variable_is_named_with_what_was_meant(written: str, meant: str | None) -> None:
    """It is a mistake even if it is empty."""
    wanted = f"environment variable {PREFIX}{written}: no such option"
    for value in ("x", ""):
        (mistake,) = environment.read({PREFIX + written: value}).mistakes
        assert mistake == wanted + (f"; did you mean {PREFIX}{meant}?" if meant else "")


def test_a_secret_behind_a_name_is_not_shown() -> None:
    """With a colon instead of the equals sign, the secret is part of the name."""
    (mistake,) = environment.read({f"{PREFIX}AUTH_TOKEN:s3cret": ""}).mistakes
    assert "s3cret" not in mistake


def test_the_case_of_a_variable_s_name_does_not_matter() -> None:
    """If an option is given in two spellings, it is a mistake."""
    assert environment.read({"rc_import_exporter_log__level": "info"}).values == {("log", "level"): "info"}
    both = {"rc_import_exporter_log__level": "info", f"{PREFIX}LOG__LEVEL": "info"}
    assert len(environment.read(both).mistakes) == 1


def test_other_programs_variables_are_none_of_ours() -> None:
    """Only variables with the prefix are options."""
    layer = environment.read({"PATH": "/bin", "RC_IMPORT": "x", "MY_RC_IMPORT_EXPORTER_URL": "x"})
    assert (layer.values, layer.mistakes) == ({}, [])
