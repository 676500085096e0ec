"""The Kubernetes manifests, read: they fit Kubernetes' schemas, each other, the image and the settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.settings import Settings, read_settings
from tests.integration.processes import PASSWORD, run

VERSIONS = ("1.30", "1.33")
"""Oldest and newest Kubernetes that is looked at, of those that are still looked after."""

Manifest = dict[str, Any]


def read(file: Path) -> list[Manifest]:
    return [dict(one) for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


def base(project: Path) -> list[Manifest]:
    """Everything that the kustomization names; and it names everything there is."""
    folder = project / "deploy" / "kubernetes" / "base"
    (kustomization,) = read(folder / "kustomization.yaml")
    files = set(kustomization["resources"])
    assert files == {file.name for file in folder.iterdir()} - {"kustomization.yaml"}
    return [manifest for name in sorted(files) for manifest in read(folder / name)]


def of_kind(project: Path, kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in base(project) if one["kind"] == kind}


def workloads(project: Path) -> dict[str, Manifest]:
    """Everything that makes pods."""
    return of_kind(project, "Deployment") | of_kind(project, "Job")


def pod(workload: Manifest) -> Manifest:
    return dict(workload["spec"]["template"]["spec"])


def container(workload: Manifest) -> Manifest:
    (only,) = pod(workload)["containers"]
    return dict(only)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_kubernetes_are_kept(project: Path, version: str) -> None:
    validate = pytest.importorskip(
        "kubernetes_validate", reason="kubernetes-validate is not installed (extra kubernetes)"
    )
    for manifest in base(project):
        validate.validate(manifest, version, strict=True)
    with pytest.raises(validate.ValidationError):
        validate.validate(base(project)[0] | {"metadata": {"name": 7}}, version, strict=True)


def test_everything_is_in_the_one_namespace_that_is_restricted(project: Path) -> None:
    (namespace,) = of_kind(project, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for manifest in base(project):
        if manifest is not namespace and manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == namespace["metadata"]["name"], manifest


def test_every_pod_is_what_restricted_means(project: Path) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/: the profile "restricted"."""
    assert set(workloads(project)) == {
        "koshelek-adapter-serve",
        "koshelek-adapter-worker",
        "koshelek-adapter-prepare",
    }
    for workload in workloads(project).values():
        spec, closed = pod(workload), container(workload)["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001  # as the image's
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert closed["allowPrivilegeEscalation"] is False
        assert closed["capabilities"] == {"drop": ["ALL"]}
        assert closed["readOnlyRootFilesystem"] is True
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for volume in spec["volumes"]:
            assert set(volume) & {"configMap", "secret", "emptyDir"}
        limits = container(workload)["resources"]
        assert limits["requests"]
        assert limits["limits"]["memory"]


def test_only_the_job_has_the_owners_secret(project: Path) -> None:
    holders = {
        name
        for name, workload in workloads(project).items()
        if any(
            volume.get("secret", {}).get("secretName") == "koshelek-adapter-owner"
            for volume in pod(workload)["volumes"]
        )
    }
    assert holders == {"koshelek-adapter-prepare"}


def test_what_selects_pods_finds_them(project: Path) -> None:
    labels = {
        name: workload["spec"]["template"]["metadata"]["labels"]
        for name, workload in workloads(project).items()
    }

    def found(selector: dict[str, str]) -> set[str]:
        return {name for name, has in labels.items() if selector.items() <= has.items()}

    for name, deployment in of_kind(project, "Deployment").items():
        assert found(deployment["spec"]["selector"]["matchLabels"]) == {name}
    for name, budget in of_kind(project, "PodDisruptionBudget").items():
        assert found(budget["spec"]["selector"]["matchLabels"]) == {name}
    for scaler in of_kind(project, "HorizontalPodAutoscaler").values():
        assert scaler["spec"]["scaleTargetRef"]["name"] in of_kind(project, "Deployment")
    services = of_kind(project, "Service")
    assert found(services["koshelek-adapter"]["spec"]["selector"]) == {"koshelek-adapter-serve"}
    (policy,) = of_kind(project, "NetworkPolicy").values()
    assert found(policy["spec"]["podSelector"]["matchLabels"]) == set(labels)


def test_ports_are_those_the_adapter_listens_on(project: Path) -> None:
    named = {"http": Settings().server.port, "management": Settings().management.port}
    for deployment in of_kind(project, "Deployment").values():
        ports = {port["name"]: port["containerPort"] for port in container(deployment)["ports"]}
        assert ports.items() <= named.items()
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in container(deployment):
                assert container(deployment)[probe]["httpGet"]["port"] in ports
    for service in of_kind(project, "Service").values():
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in named
    (policy,) = of_kind(project, "NetworkPolicy").values()
    let_in = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert let_in == set(named.values())


def test_a_stop_is_given_the_time_it_takes(project: Path) -> None:
    settings = Settings()
    longest = settings.server.shutdown_timeout + settings.delivery.call_timeout
    for deployment in of_kind(project, "Deployment").values():
        hook = (
            container(deployment)
            .get("lifecycle", {})
            .get("preStop", {})
            .get("exec", {})
            .get("command", ["", "0"])
        )
        assert pod(deployment)["terminationGracePeriodSeconds"] > longest + int(hook[1])
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_settings_are_settings_and_the_commands_are_commands(project: Path, tmp_path: Path) -> None:
    """With the files of the example in their places, each pod's command takes its environment and options."""
    toml = project / "deploy" / "kubernetes" / "examples" / "production" / "koshelek-adapter.toml"
    (tmp_path / "koshelek_password").write_text(PASSWORD, encoding="utf-8")
    (tmp_path / "database_url").write_text("postgresql://nobody@127.0.0.1:9/none", encoding="utf-8")
    for workload in workloads(project).values():
        variables = {}
        for variable in container(workload)["env"]:
            value = variable["value"].replace("/etc/koshelek/koshelek-adapter.toml", str(toml))
            variables[variable["name"]] = re.sub(r"/run/secrets/[a-z-]+", str(tmp_path), value)
        mounts = [mount["mountPath"] for mount in container(workload)["volumeMounts"]]
        for variable in container(workload)["env"]:
            if variable["value"].startswith("/"):
                assert str(Path(variable["value"]).parent) in mounts
        done = run(*container(workload)["args"], cwd=tmp_path, env=variables)
        assert done.status == 1
        assert "nothing listens on 127.0.0.1:9" in done.text, done.text  # all before that was right


def test_the_example_fills_in_what_the_base_leaves_open(project: Path) -> None:
    folder = project / "deploy" / "kubernetes" / "examples" / "production"
    (overlay,) = read(folder / "kustomization.yaml")
    assert (folder / overlay["resources"][0]).resolve() == (project / "deploy" / "kubernetes" / "base")
    images = {image["name"] for image in overlay["images"]}
    assert {container(one)["image"] for one in workloads(project).values()} == images
    generated = {one["name"] for one in overlay["configMapGenerator"]}
    for workload in workloads(project).values():
        for volume in pod(workload)["volumes"]:
            if "configMap" in volume:
                assert volume["configMap"]["name"] in generated
    for one in overlay["configMapGenerator"]:
        for file in one["files"]:
            assert read_settings(folder / file).cards.ranges


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on this machine")
def test_kustomize_makes_of_the_example_what_kubernetes_takes(project: Path) -> None:
    folder = project / "deploy" / "kubernetes" / "examples" / "production"
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    made = [dict(one) for one in yaml.safe_load_all(done.stdout)]
    (settings,) = [one["metadata"]["name"] for one in made if one["kind"] == "ConfigMap"]
    pods = [one for one in made if one["kind"] in ("Deployment", "Job")]
    assert len(pods) == 3
    for workload in pods:
        assert container(workload)["image"] == "registry.example.com/koshelek-adapter:1.0.0"
        named = [volume["configMap"]["name"] for volume in pod(workload)["volumes"] if "configMap" in volume]
        assert named == [settings]
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for manifest in made:
        validate.validate(manifest, VERSIONS[-1], strict=True)
