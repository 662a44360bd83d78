"""The files in deploy/ and docker-compose.yml hold together: linted, closed to the outside, without secrets.

Not here: whether the images build and start. That takes a container engine (deploy/README.md says what was run).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.routing import Route

from broker import metrics
from broker.hub import Hub
from broker.rabbit.topology import DEAD, harmful
from tests.region import LANGUAGE, new_key

TREE = Path(__file__).parents[2]
DEPLOY = TREE / "deploy"
SINGLE = TREE / "docker-compose.yml"
CLUSTER = DEPLOY / "cluster/docker-compose.yml"
COMPOSE_FILES = [pytest.param(SINGLE, id="single"), pytest.param(CLUSTER, id="cluster")]
TOOLS = Path(sys.executable).parent

SETTINGS = {
    "TIDEWAITER_HOME",
    "TIDEWAITER_LEDGER_URL",
    "TIDEWAITER_PUBLIC_URL",
    "TIDEWAITER_LISTEN",
    "TIDEWAITER_AMQP_URL",
    "TIDEWAITER_RABBITMQ_MANAGEMENT_URL",
    "TIDEWAITER_LOG",
    "TIDEWAITER_MESSAGES_PER_SECOND",
    "TIDEWAITER_MAX_CONNECTIONS",
    "TIDEWAITER_SCHEMAS",
}
OF_POSTGRES = {"POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"} | {
    "PGHOST", "PGDATABASE", "PGUSER", "PGPASSFILE"
}  # fmt: skip
YAMLLINT = """{extends: default, rules: {
  document-start: disable, line-length: {max: 120}, truthy: {check-keys: false}}}"""


def run(tool: str, *arguments: str) -> None:
    """Run a linter of this environment; a missing one is a failure, not a skip."""
    done = subprocess.run([TOOLS / tool, *arguments], cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return loaded


def pairs(name: str) -> dict[str, str]:
    """A configuration file of RabbitMQ."""
    lines = (line.strip() for line in (DEPLOY / "rabbitmq" / name).read_text("utf-8").splitlines())
    found = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in found}


# ── lint ──


def test_the_dockerfile_passes_hadolint() -> None:
    """No rule is switched off."""
    run("hadolint", "deploy/Dockerfile")


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_the_compose_file_follows_the_compose_specification(compose: Path) -> None:
    """Checked against the schema that check-jsonschema carries; nothing is fetched."""
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(compose))


def test_yaml_passes_yamllint() -> None:
    """Warnings count."""
    files = [SINGLE, *sorted(DEPLOY.rglob("*.yml"))]
    run("yamllint", "--strict", "-d", YAMLLINT, *map(str, files))


def test_shell_scripts_are_read_without_a_fault() -> None:
    """By the shell that their first line names, and each can be started."""
    scripts = sorted(DEPLOY.rglob("*.sh"))
    assert scripts
    for script in scripts:
        shell = script.read_text("utf-8").splitlines()[0].removeprefix("#!").split()[-1]
        subprocess.run([shell, "-n", script], check=True)
        assert script.stat().st_mode & stat.S_IXUSR, script


# ── both compose files ──


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_only_known_settings_are_set(compose: Path) -> None:
    """A misspelt setting would be ignored in silence; so would one that was renamed."""
    known = SETTINGS | {f"{name}_FILE" for name in SETTINGS} | OF_POSTGRES
    in_dockerfile = set(re.findall(r"\b(TIDEWAITER_[A-Z_]+)=", (DEPLOY / "Dockerfile").read_text()))
    in_compose = {name for service in load(compose)["services"].values() for name in service.get("environment", {})}
    interpolated = set(re.findall(r"\$\{(\w+)", compose.read_text()))

    assert in_compose | in_dockerfile | interpolated <= known


def test_the_readme_describes_every_setting() -> None:
    """And no other."""
    described = set(re.findall(r"^\| `(TIDEWAITER_\w+)` \|", (DEPLOY / "README.md").read_text(), re.MULTILINE))

    assert described == SETTINGS


@pytest.mark.parametrize(
    ("compose", "wanted"),
    [
        (SINGLE, {"gateway": ["127.0.0.1:8700:8700"]}),
        (CLUSTER, {"proxy": ["443:8443", "5671:5671"], "prometheus": ["127.0.0.1:9090:9090"]}),
    ],
)
def test_only_the_doors_are_published(compose: Path, wanted: dict[str, list[str]]) -> None:
    """The management API can read queues, the ledger everything: neither has a port outside."""
    services = load(compose)["services"]

    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == wanted


@pytest.mark.parametrize(
    ("compose", "wanted"), [(SINGLE, {"gateway"}), (CLUSTER, {"proxy", "prometheus"})], ids=["single", "cluster"]
)
def test_everything_else_is_on_a_network_without_a_way_out(compose: Path, wanted: set[str]) -> None:
    """Who stands on both sides is named here."""
    file = load(compose)
    internal = {name for name, network in file["networks"].items() if network.get("internal")}

    assert {name for name, service in file["services"].items() if not set(service["networks"]) <= internal} == wanted


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_every_image_has_a_version(compose: Path) -> None:
    """`latest`, or no tag at all, would be another program tomorrow."""
    stages = re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    images = {service["image"] for service in load(compose)["services"].values()} | set(stages)

    assert len(stages) == 2
    assert all(re.fullmatch(r"[a-z/]+:v?\d[\w.-]*", image) for image in images), images


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_every_service_is_without_privileges(compose: Path) -> None:
    """No capability, no way to gain one, no root; and a root file system that is read, but for RabbitMQ's."""
    for name, service in load(compose)["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "cap_add" not in service, name
        assert "privileged" not in service, name
        if not service["image"].startswith("tidewaiter:"):
            assert not str(service["user"]).startswith("0"), name
        assert service.get("read_only") or name.startswith("rabbitmq"), name  # it writes beside its configuration
    assert re.search(r"^USER 10001:10001$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_every_server_says_whether_it_is_well(compose: Path) -> None:
    """By its image (ours) or by the compose file. What ends by itself is not asked."""
    for name, service in load(compose)["services"].items():
        if service.get("restart") == "unless-stopped":
            assert service["image"].startswith("tidewaiter:") or "healthcheck" in service, name


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_each_process_has_the_rights_of_its_own_role(compose: Path) -> None:
    """The owner's URL is in `migrate` and `grants` alone; what serves cannot write the folder of the hub's key."""
    services = load(compose)["services"]
    owners = {
        n for n, s in services.items() if {"ledger_url_owner", "pgpass_owner"} & set(map(str, s.get("secrets", [])))
    }

    assert owners == {"migrate", "grants"}
    for name, service in services.items():
        if service.get("command", [""])[0] == "serve":
            assert service["environment"]["TIDEWAITER_LEDGER_URL_FILE"] == "/run/secrets/ledger_url_hub", name
            assert service["volumes"] == ["home:/var/lib/tidewaiter:ro"], name
            assert service["depends_on"]["grants"] == {"condition": "service_completed_successfully"}, name
    assert services["registrar"]["environment"]["TIDEWAITER_LEDGER_URL_FILE"] == "/run/secrets/ledger_url_registrar"


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_what_is_mounted_is_there(compose: Path) -> None:
    """A path that does not exist would be made as an empty folder, in silence; every secret that is named is defined."""
    file = load(compose)
    for name, service in file["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in file["volumes"] or (compose.parent / source).exists(), (name, volume)
        for secret in service.get("secrets", []):
            assert (secret["source"] if isinstance(secret, dict) else secret) in file["secrets"], (name, secret)


@pytest.mark.parametrize("compose", COMPOSE_FILES)
def test_rabbitmq_is_configured_where_it_looks(compose: Path) -> None:
    """And not by environment: the image's entry point refuses to start with RABBITMQ_DEFAULT_PASS_FILE and its like."""
    for name, service in load(compose)["services"].items():
        if name.startswith("rabbitmq"):
            inside = {volume.split(":")[1] for volume in service["volumes"]}
            assert {"/etc/rabbitmq/rabbitmq.conf", "/etc/rabbitmq/enabled_plugins"} < inside, name
            assert "/etc/rabbitmq/definitions/10-wire.json" in inside, name
            assert service["secrets"][0]["target"] == "/etc/rabbitmq/definitions/20-hub-user.json", name
            assert ("/etc/rabbitmq/conf.d/20-cluster.conf" in inside) == (compose == CLUSTER), name
            assert service["hostname"] == name
            assert "environment" not in service


def test_the_image_takes_nothing_without_its_hash() -> None:
    """Each pip call either checks hashes or takes nothing from a registry."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    installs = re.findall(r"pip .*?install (.*)", dockerfile)

    assert len(installs) == 3
    assert all("--require-hashes" in call or {"--no-deps", "--no-index"} <= set(call.split()) for call in installs)
    assert "--requirement requirements.lock" in dockerfile


def test_the_builder_sees_only_what_it_copies() -> None:
    """No secret, no ledger, no environment of this folder is sent to it."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = {
        Path(name).name
        for line in re.findall(r"^COPY (?!--|<<)(.*) \S+$", dockerfile, re.MULTILINE)
        for name in line.split()
    }
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()

    assert rules[1] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


# ── RabbitMQ ──


def test_rabbitmq_asks_the_hub_by_post_and_nobody_else() -> None:
    """`get` would put tokens into URLs; the hub's own user must not depend on the hub; `hub` is a name in both files."""
    conf = pairs("rabbitmq.conf")
    paths = {name: value for name, value in conf.items() if re.fullmatch(r"auth_http\.\w+_path", name)}
    doors = ("user", "vhost", "resource", "topic")

    assert paths == {f"auth_http.{door}_path": f"http://hub:8700/v1/rabbitmq/auth/{door}" for door in doors}
    assert conf["auth_http.http_method"] == "post"
    assert [conf["auth_backends.1"], conf["auth_backends.2"]] == ["internal", "http"]
    assert {key: value for key, value in conf.items() if key.startswith("auth_mech")} == {"auth_mechanisms.1": "PLAIN"}
    assert set(conf) & {"default_user", "default_pass"} == set()
    assert load(SINGLE)["services"]["gateway"]["networks"]["inside"]["aliases"] == ["hub"]
    assert load(CLUSTER)["services"]["proxy"]["networks"]["inside"]["aliases"] == ["hub", "rabbitmq"]


def test_rabbitmq_has_the_plugins_that_the_hub_needs() -> None:
    """Management to close connections, the back end to ask, figures for Prometheus."""
    plugins = (DEPLOY / "rabbitmq/enabled_plugins").read_text()

    assert plugins == "[rabbitmq_auth_backend_http,rabbitmq_management,rabbitmq_prometheus].\n"


def test_no_policy_changes_what_a_queue_is() -> None:
    """The hub would refuse to start: a policy that drops, expires or limits takes what it counts as delivered."""
    policies = json.loads((DEPLOY / "rabbitmq/definitions/10-wire.json").read_text())["policies"]

    assert policies
    assert not any(harmful(policy, name) for policy in policies for name in (DEAD, "a-member's-queue"))


def test_the_cluster_is_made_of_the_nodes_of_the_compose_file() -> None:
    """Their names are those of their hosts."""
    conf = pairs("cluster.conf")
    named = {value for key, value in conf.items() if key.startswith("cluster_formation.classic_config.nodes.")}
    services = load(CLUSTER)["services"]

    assert named == {f"rabbit@{name}" for name in services if name.startswith("rabbitmq")}
    assert len(named) == 3
    assert not set(conf) & set(pairs("rabbitmq.conf"))


# ── the proxy, Prometheus ──


def test_the_proxy_knows_every_door(tmp_path: Path) -> None:
    """A door that the hub gains is either named among the members' or stays inside; this list says which."""
    config = (DEPLOY / "proxy/haproxy.cfg").read_text()
    prefixes, exact, operators = re.findall(r"acl (?:members|operators) path,url_dec -m (?:beg|str) (.*)", config)
    inside = ("/metrics", "/v1/rabbitmq/auth/")
    for path in doors(tmp_path):
        to_members = path.startswith(tuple(prefixes.split())) or path in exact.split()
        to_operators = path.startswith(tuple(operators.split()))
        assert [to_members, to_operators, path.startswith(inside)].count(True) == 1, path


def doors(folder: Path) -> set[str]:
    """Every path that the gateway routes."""
    from broker.app import make_app
    from broker.ledger import open_ledger

    hub = Hub(open_ledger(f"sqlite:///{folder}/ledger.sqlite"), LANGUAGE, new_key(), "https://hub.test")
    return {route.path for route in make_app(hub).routes if isinstance(route, Route)}


def test_the_proxy_and_prometheus_name_the_services_of_the_compose_file() -> None:
    """Every host is a service, every port one that it listens on."""
    services = load(CLUSTER)["services"]
    listening = {"gateway": {"8700"}, "relay": {"8700"}, "rabbitmq": {"5672", "15672", "15692"}, "proxy": {"8405"}}
    in_proxy = re.findall(r"server \S+ ([\w-]+):(\d+)", (DEPLOY / "proxy/haproxy.cfg").read_text())
    scraped = [
        target.split(":")
        for job in load(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]
        for config in job["static_configs"]
        for target in config["targets"]
    ]

    for host, port in [*in_proxy, *scraped]:
        assert host in services
        assert port in listening[re.sub(r"-\d$", "", host)], (host, port)
    assert {host for host, _ in scraped} == {n for n in services if re.sub(r"-\d$", "", n) in listening}


def rules() -> list[dict[str, Any]]:
    return [rule for group in load(DEPLOY / "prometheus/rules.yml")["groups"] for rule in group["rules"]]


def test_every_alert_asks_for_figures_that_exist() -> None:
    """Names and labels of ours are those of broker/metrics.py (RabbitMQ's: tests/acceptance/test_rabbitmq_files.py)."""
    ours: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for suffix in {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""]):
            collector = metrics.registry._names_to_collectors[family.name]
            ours[family.name + suffix] = {*getattr(collector, "_labelnames", ()), "job", "instance", "le"}
    for rule in rules():
        for name, labels in re.findall(r"\b(tidewaiter_\w+)(?:\{([^}]*)\})?", rule["expr"]):
            assert name in ours, (rule["alert"], name)
            assert set(re.findall(r"(\w+)=", labels)) <= ours[name], (rule["alert"], labels)


def test_every_alert_names_a_section_of_the_runbook() -> None:
    """Somebody who is woken finds what to do, and a summary of what is the matter."""
    headings = re.findall(r"^## (.*)$", (TREE / "docs/runbook.md").read_text("utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["labels"]["runbook"] in anchors, rule["alert"]
        assert rule["annotations"]["summary"]


# ── secrets ──


def test_the_command_makes_the_secrets_that_compose_mounts(tmp_path: Path) -> None:
    """Same names, passwords that agree, closed to other users, and a second run destroys nothing."""
    folder = tmp_path / "secrets"
    command = [DEPLOY / "make-secrets.sh", folder]

    subprocess.run(command, check=True)
    made = {file.name: file.read_text() for file in folder.iterdir()}
    again = subprocess.run(command, capture_output=True, check=False)

    by_hand = {"tls_pem", "clients_ca", "clients_crl"}
    for compose, own in ((SINGLE, {"erlang_cookie"}), (CLUSTER, set[str]())):
        wanted = {Path(secret["file"]).name for secret in load(compose)["secrets"].values()}
        assert wanted - by_hand == set(made) - own
    assert len(set(made.values())) == len(made)
    for role in ("owner", "hub", "registrar"):
        url = f"postgresql://tidewaiter_{role}:{made[f'postgres_{role}']}@postgres/tidewaiter"
        assert made[f"ledger_url_{role}"] == url
    wire = made["amqp_url"].removeprefix("amqp://tidewaiter:").removesuffix("@rabbitmq:5672/")
    (user,) = json.loads(made["rabbitmq_user.json"])["users"]
    salted = base64.b64decode(user["password_hash"])
    assert salted[4:] == hashlib.sha256(salted[:4] + wire.encode()).digest()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert again.returncode != 0
    assert made == {file.name: file.read_text() for file in folder.iterdir()}


def test_secrets_are_never_committed() -> None:
    """Everything in the folder is ignored but the file that says so."""
    ignored = (DEPLOY / "secrets/.gitignore").read_text().splitlines()

    assert [rule for rule in ignored if not rule.startswith("#")] == ["*", "!.gitignore"]
