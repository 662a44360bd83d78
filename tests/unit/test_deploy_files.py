"""The files in deploy/ and docker-compose.yml hold together: linted, closed to the outside, without secrets.

Not here: whether the images build and start. That takes a container engine (deploy/README.md says what was run).
"""

from __future__ import annotations

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TREE = Path(__file__).parents[2]
DEPLOY = TREE / "deploy"
COMPOSE = TREE / "docker-compose.yml"
TOOLS = Path(sys.executable).parent

SETTINGS = {
    "TIDEWAITER_HOME",
    "TIDEWAITER_LEDGER_URL",
    "TIDEWAITER_PUBLIC_URL",
    "TIDEWAITER_LISTEN",
    "TIDEWAITER_AMQP_URL",
    "TIDEWAITER_RABBITMQ_MANAGEMENT_URL",
    "TIDEWAITER_LOG",
}
OF_THE_POSTGRES_IMAGE = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"}
YAMLLINT = """{extends: default, rules: {
  document-start: disable, line-length: {max: 120}, truthy: {check-keys: false}}}"""


def run(tool: str, *arguments: str) -> None:
    """Run a linter of this environment; a missing one is a failure, not a skip."""
    done = subprocess.run([TOOLS / tool, *arguments], cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


@pytest.fixture(scope="module")
def rabbitmq_conf() -> dict[str, str]:
    lines = (line.strip() for line in (DEPLOY / "rabbitmq/rabbitmq.conf").read_text().splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def test_the_dockerfile_passes_hadolint() -> None:
    """No rule is switched off."""
    run("hadolint", "deploy/Dockerfile")


def test_the_compose_file_follows_the_compose_specification() -> None:
    """Checked against the schema that check-jsonschema carries; nothing is fetched."""
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_the_compose_file_passes_yamllint() -> None:
    """Warnings count."""
    run("yamllint", "--strict", "-d", YAMLLINT, "docker-compose.yml")


def test_only_known_settings_are_set(compose: dict[str, Any]) -> None:
    """A misspelt setting would be ignored in silence; so would one that was renamed."""
    known = SETTINGS | {f"{name}_FILE" for name in SETTINGS} | OF_THE_POSTGRES_IMAGE
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    in_dockerfile = set(re.findall(r"\b(TIDEWAITER_[A-Z_]+)=", dockerfile))
    in_compose = {name for service in compose["services"].values() for name in service.get("environment", {})}
    interpolated = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))

    assert in_compose | in_dockerfile | interpolated <= known


def test_the_readme_describes_every_setting() -> None:
    """And no other."""
    described = set(re.findall(r"^\| `(TIDEWAITER_\w+)` \|", (DEPLOY / "README.md").read_text(), re.MULTILINE))

    assert described == SETTINGS


def test_only_the_gateway_is_published_and_only_on_loopback(compose: dict[str, Any]) -> None:
    """The management API can read queues, the ledger everything: neither has a port outside."""
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}

    assert published == {"gateway": ["127.0.0.1:8700:8700"]}


def test_ledger_and_wire_are_on_a_network_without_a_way_out(compose: dict[str, Any]) -> None:
    """Only the gateway stands on both sides."""
    internal = {name for name, network in compose["networks"].items() if network.get("internal")}
    exposed = {name for name, service in compose["services"].items() if not set(service["networks"]) <= internal}

    assert exposed == {"gateway"}


def test_every_image_has_a_version(compose: dict[str, Any]) -> None:
    """`latest`, or no tag at all, would be another program tomorrow."""
    stages = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    images = {service["image"] for service in compose["services"].values()} | set(stages)

    assert len(stages) == 2
    assert all(re.fullmatch(r"[a-z/]+:\d[\w.-]*", image) for image in images), images


def test_every_service_is_without_privileges(compose: dict[str, Any]) -> None:
    """No capability, no way to gain one, no root."""
    for name, service in compose["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in service, name
        assert "privileged" not in service, name
    assert re.search(r"^USER 10001:10001$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert {compose["services"][name]["user"] for name in ("postgres", "rabbitmq")} == {"999:999"}


def test_the_image_takes_nothing_without_its_hash() -> None:
    """Each pip call either checks hashes or takes nothing from a registry."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    installs = re.findall(r"pip .*?install (.*)", dockerfile)

    assert len(installs) == 3
    assert all("--require-hashes" in call or {"--no-deps", "--no-index"} <= set(call.split()) for call in installs)
    assert "--requirement requirements.lock" in dockerfile


def test_rabbitmq_asks_the_gateway_by_post(compose: dict[str, Any], rabbitmq_conf: dict[str, str]) -> None:
    """`get` would put tokens into URLs; the hub's own user must not depend on the hub."""
    listen = compose["services"]["gateway"]["environment"]["TIDEWAITER_LISTEN"]
    base = f"http://gateway:{listen.rsplit(':', 1)[1]}/v1/rabbitmq/auth"
    paths = {name: value for name, value in rabbitmq_conf.items() if re.fullmatch(r"auth_http\.\w+_path", name)}

    assert paths == {f"auth_http.{kind}_path": f"{base}/{kind}" for kind in ("user", "vhost", "resource", "topic")}
    assert rabbitmq_conf["auth_http.http_method"] == "post"
    assert [rabbitmq_conf["auth_backends.1"], rabbitmq_conf["auth_backends.2"]] == ["internal", "http"]
    assert set(rabbitmq_conf) & {"default_user", "default_pass"} == set()


def test_rabbitmq_has_the_plugins_that_the_hub_needs(compose: dict[str, Any], rabbitmq_conf: dict[str, str]) -> None:
    """Its configuration and plugins are mounted where RabbitMQ looks for them."""
    plugins = (DEPLOY / "rabbitmq/enabled_plugins").read_text()
    mounted = compose["services"]["rabbitmq"]["volumes"]

    assert plugins == "[rabbitmq_management,rabbitmq_auth_backend_http].\n"
    for file in ("rabbitmq.conf", "enabled_plugins"):
        assert f"./deploy/rabbitmq/{file}:/etc/rabbitmq/{file}:ro" in mounted
    # The image's entry point refuses to start with RABBITMQ_DEFAULT_PASS_FILE and its like.
    assert "environment" not in compose["services"]["rabbitmq"]


def test_the_documented_command_makes_the_secrets_that_compose_mounts(compose: dict[str, Any], tmp_path: Path) -> None:
    """Same names, passwords that agree, closed to other users, and a second run destroys nothing."""
    readme = (DEPLOY / "README.md").read_text()
    command = re.search(r"```sh\n(\(\n.*?^\)\n)```", readme, re.DOTALL | re.MULTILINE)
    assert command
    folder = tmp_path / "deploy/secrets"
    folder.mkdir(parents=True)

    subprocess.run(["sh", "-c", command[1]], cwd=tmp_path, check=True)
    made = {file.name: file.read_text() for file in folder.iterdir()}
    again = subprocess.run(["sh", "-c", command[1]], cwd=tmp_path, capture_output=True, check=False)

    wanted = {secret["file"].removeprefix("./deploy/secrets/") for secret in compose["secrets"].values()}
    assert set(made) == wanted
    wire = made["rabbitmq_user.conf"].split("default_pass = ")[1].strip()
    assert made["ledger_url"] == f"postgresql://tidewaiter:{made['postgres_password']}@postgres/tidewaiter"
    assert made["amqp_url"] == f"amqp://tidewaiter:{wire}@rabbitmq:5672/"
    assert made["postgres_password"] != wire
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert again.returncode != 0
    assert made == {file.name: file.read_text() for file in folder.iterdir()}


def test_secrets_are_never_committed() -> None:
    """Everything in the folder is ignored but the file that says so."""
    rules = (DEPLOY / "secrets/.gitignore").read_text().splitlines()

    assert [rule for rule in rules if not rule.startswith("#")] == ["*", "!.gitignore"]
