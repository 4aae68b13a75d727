"""The chart for Kubernetes, rendered by Helm itself: schemas, secrets, names, networks, what it shares with docker/."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from export.releases import commands
from orchestrator import worker
from orchestrator.adapters.redis.keys import Keys
from orchestrator.domain.plans import load_plans
from orchestrator.domain.styles import STYLES, load_styles
from orchestrator.settings import Settings
from tests.conftest import ROOT
from tests.support.helm import NAMESPACE, Document, Rendered, render
from tests.support.kubernetes_schemas import faults

if find_spec("helm_python") is None:
    pytest.skip("helm-python-sdk has a wheel for Linux x86-64 only", allow_module_level=True)

CHART = ROOT / "deploy" / "helm" / "reroom"
DOCKER = ROOT / "docker"
VARIANTS = ["default", *sorted(file.stem for file in (CHART / "ci").glob("*.yaml"))]
SECRETS = {
    "signing-key": "0123456789abcdef", "redis-password": "secret", "admin-token": "0123456789abcdef",
    "r2-access-key-id": "id", "r2-secret-access-key": "key",
}  # fmt: skip
PARTS = {"api", "worker", "triton", "redis"}
OLDEST, NEWEST = "1.29", "1.37"
"""Versions of Kubernetes."""


@pytest.fixture(scope="module")
def charts() -> dict[str, Rendered]:
    """The chart with its own values, and with those of each file in ci/."""
    values: dict[str, Document] = {"default": {}}
    values |= {name: yaml.safe_load((CHART / "ci" / f"{name}.yaml").read_text()) for name in VARIANTS[1:]}
    return render(CHART, values, lint=True)


@pytest.fixture(params=VARIANTS)
def chart(charts: dict[str, Rendered], request: pytest.FixtureRequest) -> Rendered:
    return charts[request.param]


@pytest.fixture(scope="module")
def services() -> dict[str, Document]:
    """Of docker/compose.yml."""
    found: dict[str, Document] = yaml.safe_load((DOCKER / "compose.yml").read_text())["services"]
    return found


def workloads(chart: Rendered) -> dict[str, Document]:
    """Deployments and StatefulSets by part."""
    found = [each for each in chart.documents if each["kind"] in ("Deployment", "StatefulSet")]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found}


def pod(workload: Document) -> Document:
    found: Document = workload["spec"]["template"]["spec"]
    return found


def container(chart: Rendered, part: str) -> Document:
    (found,) = (each for each in pod(workloads(chart)[part])["containers"] if each["name"] != "agent")
    named: Document = found
    return named


def environment(chart: Rendered, part: str) -> dict[str, str]:
    """What the container's process gets, with the values of SECRETS, as Kubernetes puts it together."""
    found: dict[str, str] = {}
    for each in container(chart, part)["env"]:
        assert each["name"] not in found
        value = each.get("value")
        if value is None:
            value = SECRETS[each["valueFrom"]["secretKeyRef"]["key"]]
        found[each["name"]] = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], value)
    return found


# --- what tools check -------------------------------------------------------------------------------------------------


def test_helm_finds_nothing(chart: Rendered) -> None:
    assert (chart.refusal, chart.findings) == ("", [])
    names = [(each["kind"], each["metadata"]["name"]) for each in chart.documents]
    assert len(names) == len(set(names)) > 5


def test_the_schemas_begin_where_the_chart_does() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}.0-0"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_fits_its_schema(chart: Rendered, version: str) -> None:
    found = {f"{each['kind']} {each['metadata']['name']}": faults(each, version) for each in chart.documents}
    assert {name: why for name, why in found.items() if why} == {}


def test_the_schemas_refuse_what_a_cluster_would(charts: dict[str, Rendered]) -> None:
    chart = charts["gpu-values"]
    assert {"ScaledObject", "TriggerAuthentication", "PodMonitor"} < {
        each["kind"] for each in chart.documents
    }
    for kind, path, wrong in (
        ("Deployment", "spec.replicas", "2"),
        ("Deployment", "spec.template.spec.hostNetworks", False),
        ("ScaledObject", "spec.minReplicas", 0),
        ("ScaledObject", "spec.fallback.replicas", "one"),
        ("TriggerAuthentication", "spec.secretTargetRefs", []),
        ("PodMonitor", "spec.selector.matchLabels.a", 1),
    ):
        broken = copy.deepcopy(next(iter(chart.kind(kind).values())))
        *folders, last = path.split(".")
        place = broken
        for folder in folders:
            place = place[folder]
        place[last] = wrong
        assert len(faults(broken, OLDEST)) == 1, path


BAD_VALUES: dict[str, tuple[Document, str]] = {
    "a misspelt value": ({"apis": {}}, "additional properties 'apis' not allowed"),
    "a misspelt inner value": ({"api": {"replica": 1}}, "'/api': additional properties 'replica'"),
    "a text for a number": ({"triton": {"gpus": "one"}}, "'/triton/gpus': got string, want integer"),
    "a URL without scheme": ({"publicUrl": "example.org"}, "'/publicUrl'"),
    "a kind of storage": ({"storage": {"kind": "r2"}}, "'/storage/kind': value must be one of"),
    "a setting that is none": ({"settings": {"REROOM_QUEUE": 1}}, "settings.REROOM_QUEUE: there is no such"),
    "a setting of the chart's": ({"settings": {"REROOM_DRAIN": 1}}, "it follows from api.drainSeconds and"),
    "a secret of the chart's": ({"secretSettings": {"REROOM_SIGNING_KEY": "k"}}, "follows from existingSecret"),
    "a setting twice": (
        {"settings": {"REROOM_ADMIN_TOKEN": "x"}, "secretSettings": {"REROOM_ADMIN_TOKEN": "k"}},
        "REROOM_ADMIN_TOKEN stands in settings and in secretSettings",
    ),
    "an Ingress without host": ({"ingress": {"enabled": True}}, "ingress.host: name the host"),
    "an Ingress unknown to the API": (
        {"ingress": {"enabled": True, "host": "a.example"}},
        "api.trustedProxies: list the networks",
    ),
    "no Redis": ({"redis": {"enabled": False}}, "redis.external.host: name the Redis"),
    "no Triton": ({"triton": {"enabled": False}}, "triton.urls: list the Tritons"),
    "no bucket": ({"storage": {"kind": "s3"}}, "storage.s3: set bucket and endpoint"),
    "no folder": ({"triton": {"release": {"from": "claim", "claim": "c"}}}, "triton.release.folder: name"),
    "no claim": ({"triton": {"release": {"from": "claim", "folder": "f"}}}, "triton.release.claim: name"),
    "no place": ({"triton": {"release": {"from": "place", "folder": "f"}}}, "triton.release.place.url: name"),
    "a place of another kind": (
        {"triton": {"release": {"place": {"url": "https://a.example"}}}}, "'/triton/release/place/url'",
    ),
    "no fetcher": ({"triton": {"release": {"from": "fetch", "folder": "f"}}}, "release.fetch.image: name"),
    "more than the most": ({"keda": {"triton": {"min": 5}}}, "keda.triton: min (5) is more than max (4)"),
}  # fmt: skip


def test_bad_values_get_a_sentence() -> None:
    answers = render(CHART, {name: values for name, (values, _) in BAD_VALUES.items()})
    for name, (_, sentence) in BAD_VALUES.items():
        assert sentence in answers[name].refusal, name


def test_only_workers_get_the_key_that_signs_pictures() -> None:
    chart = render(CHART, {"": {"worker": {"credentialsSecret": "signer"}}})[""]
    assert chart.refusal == ""
    settings = Settings.model_validate(environment(chart, "worker"))
    assert settings.c2pa_chain is not None
    assert settings.c2pa_key is not None
    mounts = {each["name"]: each["mountPath"] for each in container(chart, "worker")["volumeMounts"]}
    assert {str(settings.c2pa_chain.parent), str(settings.c2pa_key.parent)} == {mounts["credentials"]}
    assert "credentials" not in {each["name"] for each in container(chart, "api")["volumeMounts"]}
    assert Settings.model_validate(environment(chart, "api")).c2pa_key is None


def test_metrics_are_read_where_they_are(charts: dict[str, Rendered]) -> None:
    chart = charts["gpu-values"]
    monitors = chart.kind("PodMonitor")
    assert set(monitors) == {"reroom-api", "reroom-worker", "reroom-triton"}
    for monitor in monitors.values():
        part = monitor["metadata"]["labels"]["app.kubernetes.io/component"]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        ports = {each["name"]: each["containerPort"] for each in container(chart, part)["ports"]}
        if part != "triton":
            settings = Settings.model_validate(environment(chart, part))
            assert (settings.metrics_host, settings.metrics_port) == ("0.0.0.0", ports[endpoint["port"]])
    off = render(CHART, {"": {"metrics": {"port": 0, "podMonitors": True}}})[""]
    assert Settings.model_validate(environment(off, "worker")).metrics_port is None
    assert set(off.kind("PodMonitor")) == {"reroom-triton"}
    assert "reroom-metrics" not in off.kind("NetworkPolicy")


def test_the_plans_are_a_file_that_the_api_reads(tmp_path: Path) -> None:
    chart = render(CHART, {"": {"plans": "[free]\nwaiting_jobs = 2\n"}})[""]
    assert [faults(each, OLDEST) for each in chart.documents if faults(each, OLDEST)] == []
    plans = chart.kind("ConfigMap")["reroom-api-plans"]
    api = container(chart, "api")
    mounts = {each["name"]: each["mountPath"] for each in api["volumeMounts"]}
    variables = {each["name"]: each.get("value") for each in api["env"]}
    assert variables["REROOM_KEY_PLANS"] == f"{mounts['plans']}/plans.toml"
    file = tmp_path / "plans.toml"
    file.write_text(plans["data"]["plans.toml"])
    assert load_plans(file).of("free").waiting_jobs == 2
    (pod,) = (each["spec"]["template"] for name, each in chart.kind("Deployment").items() if "api" in name)
    assert plans["metadata"]["name"] in str(pod["spec"]["volumes"])
    assert len(pod["metadata"]["annotations"]["reroom/plans"]) == 64


def test_the_styles_are_a_file_that_the_api_reads_again(tmp_path: Path) -> None:
    written = '[ryokan]\ntitle = "Ryokan"\nprompt = "tatami"\n'
    chart = render(CHART, {"": {"styles": written}})[""]
    assert [faults(each, OLDEST) for each in chart.documents if faults(each, OLDEST)] == []
    styles = chart.kind("ConfigMap")["reroom-api-styles"]
    api = container(chart, "api")
    (mount,) = (each for each in api["volumeMounts"] if each["name"] == "styles")
    variables = {each["name"]: each.get("value") for each in api["env"]}
    assert variables["REROOM_STYLES_FILE"] == f"{mount['mountPath']}/styles.toml"
    assert "subPath" not in mount, "it would not follow the ConfigMap"
    file = tmp_path / "styles.toml"
    file.write_text(styles["data"]["styles.toml"])
    assert "ryokan" in load_styles(file, STYLES)


def test_the_alerts_are_those_of_the_containers_but_for_tritons_that_were_scaled_away(
    charts: dict[str, Rendered],
) -> None:
    known = yaml.safe_load((ROOT / "docker" / "monitoring" / "rules.yml").read_text())["groups"]
    (scaled,) = charts["gpu-values"].kind("PrometheusRule").values()
    (always,) = render(CHART, {"": {"metrics": {"rules": True}}})[""].kind("PrometheusRule").values()
    assert always["spec"]["groups"] == known
    left_out = {"ReroomTritonDown", "ReroomTargetDown"}
    for group in known:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") not in left_out]
    assert scaled["spec"]["groups"] == known


def test_another_releases_names_hold_the_chart_s() -> None:
    (answer,) = render(CHART, {"": {}}, release="staging").values()
    assert set(answer.kind("Deployment")) == {"staging-reroom-api", "staging-reroom-worker"}


# --- security ---------------------------------------------------------------------------------------------------------


def test_pods_are_restricted(chart: Rendered) -> None:
    """The standard ``restricted`` of Kubernetes, a read-only root, no token, and no variables of Services."""
    for part, workload in workloads(chart).items():
        spec = pod(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == (999 if part == "redis" else 10001)
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        allowed = {"emptyDir", "persistentVolumeClaim", "configMap"}
        assert all(set(volume) - {"name"} < allowed for volume in spec["volumes"])
        mounted = {mount["name"] for each in containers(spec) for mount in each["volumeMounts"]}
        claims = workload["spec"].get("volumeClaimTemplates", [])
        assert mounted == {each["name"] for each in spec["volumes"]} | {
            each["metadata"]["name"] for each in claims
        }
        for each in containers(spec):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            if each["image"] != "registry.example.org/fetch:1":  # the user's own
                assert {"requests", "limits"} == set(each["resources"])


def containers(spec: Document) -> list[Document]:
    return [*spec.get("initContainers", []), *spec["containers"]]


def test_no_secret_is_made(chart: Rendered) -> None:
    assert not chart.kind("Secret")
    for part in PARTS & set(workloads(chart)):
        for each in container(chart, part)["env"]:
            if re.search("PASSWORD|KEY|TOKEN|AUTH|SECRET", each["name"]):
                assert "secretKeyRef" in each["valueFrom"], each["name"]


# --- settings and names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["api", "worker"])
def test_the_servers_read_their_environment(chart: Rendered, part: str) -> None:
    given = environment(chart, part)
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert set(given) - known == {"REDIS_PASSWORD"}
    settings = Settings.model_validate(given)
    assert settings.sandbox == "require"
    assert settings.warnings == []
    if part == "api":
        assert (settings.host, settings.port) == (
            "0.0.0.0",
            container(chart, part)["ports"][0]["containerPort"],
        )


def test_what_the_values_set(charts: dict[str, Rendered]) -> None:
    plain = Settings.model_validate(environment(charts["default"], "api"))
    assert plain.redis_url == "redis://:secret@reroom-redis:6379/0"
    assert (plain.api_base_url, plain.triton_urls) == ("http://127.0.0.1:8000", ("reroom-triton-0:8001",))
    assert plain.storage_dir == Path("/var/lib/reroom")
    gpu = Settings.model_validate(environment(charts["gpu-values"], "api"))
    assert (gpu.max_queue, gpu.retry_delay, gpu.admin_token is None) == (20_000_000, 1.5, False)
    assert (gpu.r2_bucket_name, gpu.s3_prefix) == ("reroom", "production/")
    assert (gpu.api_base_url, gpu.trusted_proxies) == ("https://reroom.example.org", ("10.0.0.0/8",))
    assert len(gpu.triton_urls) == 4
    outside = Settings.model_validate(environment(charts["external-values"], "worker"))
    assert outside.redis_url == "rediss://reroom:secret@redis.example.org:6380/2"
    assert (outside.redis_prefix, outside.triton_urls) == (
        "shop:", ("gpu-1.example.org:8001", "gpu-2.example.org:9001"),
    )  # fmt: skip


def matches(selector: Document, labels: Document) -> bool:
    """Whether a label selector finds these labels."""
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In"
        if labels.get(each["key"]) not in each["values"]:
            return False
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())


def test_selectors_find_one_part(chart: Rendered) -> None:
    labels = {part: each["spec"]["template"]["metadata"]["labels"] for part, each in workloads(chart).items()}
    selectors = {
        (each["kind"], each["metadata"]["name"]): each["spec"]["selector"]
        for each in chart.documents
        if "selector" in each.get("spec", {})
    }
    assert len(selectors) > 4
    for (kind, name), selector in selectors.items():
        if kind == "Service":
            selector = {"matchLabels": dict(selector)}
            selector["matchLabels"].pop("statefulset.kubernetes.io/pod-name", None)
        found = [part for part, each in labels.items() if matches(selector, each)]
        assert found == [name.split("-")[1]], (kind, name)


def test_services_lead_to_ports(chart: Rendered) -> None:
    for service in chart.kind("Service").values():
        ports = container(chart, service["metadata"]["name"].split("-")[1])["ports"]
        named = {port["name"] for port in ports}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= named


def test_every_triton_that_may_run_has_a_name_of_its_own(chart: Rendered) -> None:
    tritons = workloads(chart).get("triton")
    urls = Settings.model_validate(environment(chart, "worker")).triton_urls
    if tritons is None:
        assert not any("reroom-triton" in url for url in urls)
        return
    scaled = chart.kind("ScaledObject").get("reroom-triton")
    count = scaled["spec"]["maxReplicaCount"] if scaled else tritons["spec"]["replicas"]
    assert len(urls) == count
    for number, url in enumerate(urls):
        host, port = url.split(":")
        spec = chart.one("Service", host)["spec"]
        assert (
            spec["selector"]["statefulset.kubernetes.io/pod-name"]
            == f"{tritons['metadata']['name']}-{number}"
        )
        assert spec["ports"][0]["port"] == int(port)
        # gRPC stops looking for a name that is gone; this one stays while its pod is away.
        assert "clusterIP" not in spec


# --- networks ---------------------------------------------------------------------------------------------------------


def allowed(chart: Rendered, source: str, target: str, port: int | str) -> bool:
    """Whether the policies let ``source`` call ``target``: parts, ``outside``, or a namespace as ``ns:name``.

    ``port``: the name of the target's port; outside, its number.
    """
    labels = {part: each["spec"]["template"]["metadata"]["labels"] for part, each in workloads(chart).items()}
    ports = {port}
    if target in labels:
        ports |= {each["containerPort"] for each in container(chart, target)["ports"] if each["name"] == port}
        assert len(ports) == 2

    def is_peer(peer: Document, name: str) -> bool:
        if "ipBlock" in peer:
            return name == "outside"
        if "namespaceSelector" in peer:
            return matches(
                peer["namespaceSelector"], {"kubernetes.io/metadata.name": name.removeprefix("ns:")}
            )
        return name in labels and matches(peer["podSelector"], labels[name])

    def permits(part: str, other: str, direction: str, peers: str) -> bool:
        if part not in labels:
            return True
        policies = [
            each["spec"]
            for each in chart.kind("NetworkPolicy").values()
            if direction.title() in each["spec"]["policyTypes"]
            and matches(each["spec"]["podSelector"], labels[part])
        ]
        assert policies, f"{part} is open by default"
        return any(
            (peers not in rule or any(is_peer(peer, other) for peer in rule[peers]))
            and any(each["port"] in ports for each in rule["ports"])
            for policy in policies
            for rule in policy.get(direction, [])
        )

    return permits(source, target, "egress", "to") and permits(target, source, "ingress", "from")


def test_nothing_else_is_reached(charts: dict[str, Rendered]) -> None:
    chart = charts["gpu-values"]
    for source, target, port, expected in (
        ("ns:ingress", "api", "http", True),
        ("ns:other", "api", "http", False),
        ("api", "redis", "redis", True),
        ("worker", "redis", "redis", True),
        ("ns:keda", "redis", "redis", True),
        ("triton", "redis", "redis", False),
        ("ns:other", "redis", "redis", False),
        ("api", "triton", "grpc", True),
        ("worker", "triton", "grpc", True),
        ("redis", "triton", "grpc", False),
        ("ns:monitoring", "api", "metrics", True),
        ("ns:monitoring", "worker", "metrics", True),
        ("ns:ingress", "api", "metrics", False),
        ("api", "worker", "metrics", False),
        ("ns:monitoring", "triton", "metrics", True),
        ("ns:monitoring", "triton", "grpc", False),
        ("ns:other", "triton", "grpc", False),
        ("worker", "outside", 443, True),
        ("worker", "outside", 53, True),
        ("worker", "outside", 80, False),
        ("triton", "outside", 443, True),
        ("redis", "outside", 443, False),
    ):
        assert allowed(chart, source, target, port) is expected, (source, target, port)
    plain = charts["default"]
    assert allowed(plain, "ns:other", "api", "http")
    for source, target, port in (
        ("worker", "outside", 443), ("triton", "outside", 443), ("ns:keda", "redis", "redis"),
    ):  # fmt: skip
        assert not allowed(plain, source, target, port)
    outside = charts["external-values"]
    assert all(allowed(outside, "worker", "outside", port) for port in (6380, 8001, 9001))
    assert not allowed(outside, "worker", "outside", 443)


# --- releases ---------------------------------------------------------------------------------------------------------


def test_pods_follow_the_place_of_their_releases(charts: dict[str, Rendered]) -> None:
    spec = pod(workloads(charts["gpu-values"])["triton"])
    (fetch,) = spec["initContainers"]
    agent = next(each for each in spec["containers"] if each["name"] == "agent")
    folder = environment(charts["gpu-values"], "triton")["REROOM_RELEASE"]
    assert fetch["image"] == agent["image"] == container(charts["gpu-values"], "api")["image"]
    assert fetch["command"][:4] == ["python", "-m", "export", "release"]
    options = commands.release_parser().parse_args(fetch["command"][4:])
    assert (options.bundle, options.place, options.make_live) == (folder, "s3://releases/sd15", True)
    assert agent["command"][:4] == ["python", "-m", "export.releases.agent", folder]
    assert f"--source={options.place}" in agent["command"]
    for each in (fetch, agent):
        assert [mount["mountPath"] for mount in each["volumeMounts"]] == ["/releases", "/tmp"]
        given = {
            variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in each["env"]
        }
        assert given["R2_ENDPOINT_URL"] == "https://account.r2.cloudflarestorage.com"
        assert given["R2_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "releases", "key": "r2-access-key-id"}}
        assert given.keys() == {*R2_VARIABLES, "POD_NAME"}


R2_VARIABLES = {"R2_ENDPOINT_URL", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "REROOM_S3_REGION"}


def test_compose_follows_a_place_as_the_chart_does(
    charts: dict[str, Rendered], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = yaml.safe_load((DOCKER / "place.yml").read_text())
    triton, agent = place["services"]["triton-gpu"], place["services"]["agent"]
    assert triton == place["services"]["triton-cpu"]
    folder = triton["environment"]["REROOM_SERVED"]
    assert environment(charts["gpu-values"], "triton").keys() >= triton["environment"].keys()
    assert agent["environment"]["REROOM_SERVED"] == triton["environment"]["REROOM_RELEASE"] == folder
    assert agent["environment"]["REROOM_RELEASES_AT"] == triton["environment"]["REROOM_FOLLOW"]
    assert agent["environment"].keys() == R2_VARIABLES | {"REROOM_SERVED", "REROOM_RELEASES_AT"}
    (volume,) = {*triton["volumes"], *agent["volumes"]}
    mounted = volume.partition(":")[2]
    assert folder.startswith(f"{mounted}/")
    for name in ("server", "triton"):
        made = re.findall(r"install --directory.*", (DOCKER / f"{name}.Dockerfile").read_text())
        assert mounted in " ".join(made).split(), name
    script = agent["command"][2].replace("$$", "$")
    fetch = re.search(r"python -m export release (fetch .*?) \|\|", script)
    assert fetch
    monkeypatch.setenv("REROOM_RELEASES_AT", "s3://releases/room")
    options = commands.release_parser().parse_args(shlex.split(fetch[1].replace("$REROOM_SERVED", folder)))
    assert (options.bundle, options.place, options.make_live) == (folder, "s3://releases/room", True)
    schema = ("--builtin-schema", "vendor.compose-spec", DOCKER / "place.yml")
    assert subprocess.run([sys.executable, "-m", "check_jsonschema", *schema], check=False).returncode == 0


def test_the_servers_image_can_fetch_and_follow() -> None:
    """It has the package export, and of its libraries no more than the service's own."""
    assert re.search(r"^COPY export export$", (DOCKER / "server.Dockerfile").read_text(), re.MULTILINE)
    code = (
        "import sys; sys.path.insert(0, '.'); import export.__main__, export.releases.commands, "
        "export.releases.places.s3, export.releases.follower, export.releases.changes, export.releases.specs\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]}
    not_there = {
        re.split(r"[^\w-]", line)[0].replace("-", "_") for line in project["optional-dependencies"]["export"]
    } - {name.replace("-", "_") for name in ours}
    assert not {"torch", "transformers", "onnxruntime"} - not_there
    assert not_there & set(done.stdout.split()) == set()


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_keda_reads_the_queue(charts: dict[str, Rendered]) -> None:
    for name, address, prefix, parts in (
        (
            "gpu-values",
            f"reroom-redis.{NAMESPACE}.svc:6379",
            "reroom:",
            {"worker": (0, "4"), "triton": (0, "8")},
        ),
        ("external-values", "redis.example.org:6380", "shop:", {"worker": (1, "4")}),
    ):
        chart = charts[name]
        scaled = chart.kind("ScaledObject")
        assert set(scaled) == {f"reroom-{part}" for part in parts}
        for part, (least, jobs) in parts.items():
            spec = scaled[f"reroom-{part}"]["spec"]
            workload = workloads(chart)[part]
            assert spec["scaleTargetRef"]["kind"] == workload["kind"]
            assert spec["scaleTargetRef"]["name"] == workload["metadata"]["name"]
            assert "replicas" not in workload["spec"], "an upgrade would undo KEDA's count"
            assert (spec["minReplicaCount"], spec["fallback"]["replicas"]) == (least, 1)
            trigger = spec["triggers"][0]
            assert trigger["type"] == "redis-streams"
            read = trigger["metadata"]
            assert (read["address"], read["stream"]) == (address, Keys.under(prefix).queue)
            assert read["streamLength"] == jobs
            assert "consumerGroup" not in read
            authentication = chart.one("TriggerAuthentication", trigger["authenticationRef"]["name"])
            assert authentication["spec"]["secretTargetRef"] == [
                {"parameter": "password", "name": "reroom", "key": "redis-password"}
            ]
    read = charts["external-values"].one("ScaledObject", "reroom-worker")["spec"]["triggers"][0]["metadata"]
    assert (read["databaseIndex"], read["enableTLS"], read["username"]) == ("2", "true", "reroom")


def test_workers_come_back_to_delete_photos(charts: dict[str, Rendered]) -> None:
    triggers = charts["gpu-values"].one("ScaledObject", "reroom-worker")["spec"]["triggers"]
    (cron,) = [each["metadata"] for each in triggers if each["type"] == "cron"]
    begin, end = (int(cron[name].split()[0]) for name in ("start", "end"))
    assert cron["start"].split()[1:] == cron["end"].split()[1:] == ["*"] * 4
    assert (end - begin) * 60 > worker.RETENTION_SECONDS
    triggers = charts["external-values"].one("ScaledObject", "reroom-worker")["spec"]["triggers"]
    assert [each["type"] for each in triggers] == ["redis-streams"]


def test_pods_may_finish_what_they_do(chart: Rendered) -> None:
    def seconds(part: str) -> float:
        return float(pod(workloads(chart)[part])["terminationGracePeriodSeconds"])

    drain = {part: float(environment(chart, part)["REROOM_DRAIN"]) for part in ("api", "worker")}
    assert seconds("worker") > drain["worker"] + worker.HALT_SECONDS
    pause = container(chart, "api")["lifecycle"]["preStop"]["exec"]["command"]
    assert seconds("api") > float(pause[1]) + drain["api"]
    if "triton" in workloads(chart):
        (option,) = re.findall(r"--exit-timeout-secs=(\d+)", " ".join(container(chart, "triton")["args"]))
        assert seconds("triton") > float(option)


# --- what it shares with docker/ --------------------------------------------------------------------------------------


def test_the_containers_are_docker_s(charts: dict[str, Rendered], services: dict[str, Document]) -> None:
    chart = charts["default"]
    version = chart.documents[0]["metadata"]["labels"]["app.kubernetes.io/version"]
    for part, service in (("api", "api"), ("worker", "worker"), ("triton", "triton-cpu")):
        name = services[service]["image"].split(":")[0]
        assert container(chart, part)["image"] == f"{name}:{version}"
    assert container(charts["gpu-values"], "api")["image"].startswith(
        "registry.example.org/reroom/reroom-server:"
    )
    for part in ("api", "worker"):
        assert container(chart, part)["command"] == services[part]["command"]
    redis = container(chart, "redis")
    assert redis["image"] == services["redis"]["image"]
    assert f"{pod(workloads(chart)['redis'])['securityContext']['runAsUser']}" in services["redis"]["user"]
    script = services["redis"]["command"][2].replace("$$", "$")
    assert redis["command"][2] == re.sub(r"\$\{\w+:-(\w+)\}", r"\1", script)


def test_files_and_folders_are_the_images(chart: Rendered, services: dict[str, Document]) -> None:
    dockerfile = (DOCKER / "triton.Dockerfile").read_text()
    (start,) = re.findall(r"^CMD (.*)$", dockerfile, re.MULTILINE)
    (plans,) = re.findall(r"REROOM_PLANS=(\S+)", dockerfile)
    stored = environment(chart, "api").get("REROOM_STORAGE_DIR")
    mounts = {each["name"]: each["mountPath"] for each in container(chart, "worker")["volumeMounts"]}
    assert mounts.get("storage") == stored
    assert f"storage:{stored or '/var/lib/reroom'}" in services["worker"]["volumes"]
    if "triton" not in workloads(chart):
        return
    triton = container(chart, "triton")
    assert triton["args"][:-1] == yaml.safe_load(start)
    mounts = {each["name"]: each["mountPath"] for each in triton["volumeMounts"]}
    assert mounts.get("plans", plans) == plans
    if "releases" in mounts:
        assert environment(chart, "triton")["REROOM_RELEASE"].startswith(f"{mounts['releases']}/")
    (exposed,) = re.findall(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE)
    assert [str(port["containerPort"]) for port in triton["ports"]] == exposed.split()
    where = {"REROOM_RELEASE", "REROOM_SERVED", "REROOM_FOLLOW"}
    assert environment(chart, "triton").keys() - where == services["triton-cpu"]["environment"].keys() - where


def test_probes_ask_what_is_there(chart: Rendered, services: dict[str, Document]) -> None:
    paths = set(yaml.safe_load((ROOT / "docs" / "openapi.json").read_text())["paths"])
    kinds = ("startupProbe", "readinessProbe", "livenessProbe")
    for part in workloads(chart):
        probes = {kind: container(chart, part)[kind] for kind in kinds if kind in container(chart, part)}
        asked = {probe["httpGet"]["path"] for probe in probes.values() if "httpGet" in probe}
        if part == "api":
            # Not /health/ready: with no Triton no photo could come in that would start one.
            assert asked == {"/health/live"}
            assert asked < paths
        elif part == "triton":
            assert asked == {"/v2/health/ready", "/v2/health/live"}
        else:
            check = {"worker": "worker", "redis": "redis"}[part]
            command = services[check]["healthcheck"]["test"][1].replace("$$", "$")
            assert all(probe["exec"]["command"] == ["sh", "-c", command] for probe in probes.values())
            assert probes
    if "worker" in workloads(chart):
        beat = environment(chart, "worker")["REROOM_HEARTBEAT_FILE"]
        assert beat in container(chart, "worker")["livenessProbe"]["exec"]["command"][2]


def test_uploads_fit_through_the_ingress(charts: dict[str, Rendered]) -> None:
    annotations = charts["gpu-values"].one("Ingress", "reroom-api")["metadata"]["annotations"]
    largest = int(environment(charts["gpu-values"], "api")["REROOM_MAX_UPLOAD_BYTES"])
    assert int(annotations["nginx.org/client-max-body-size"].removesuffix("m")) * 2**20 > largest + 2**20
    assert annotations["nginx.org/websocket-services"] in charts["gpu-values"].kind("Service")
    old: Any = {"ingress": {"enabled": True, "host": "a.example", "controller": "ingress-nginx"}}
    old["api"] = {"trustedProxies": ["*"]}
    other = copy.deepcopy(old)
    other["ingress"] |= {"controller": "other", "annotations": {"a": "b"}}
    made = render(CHART, {"old": old, "other": other})
    annotations = made["old"].one("Ingress", "reroom-api")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "22m"
    assert made["other"].one("Ingress", "reroom-api")["metadata"]["annotations"] == {"a": "b"}
