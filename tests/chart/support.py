"""What the tests of this folder share: helm, the schemas of Kubernetes and of custom resources, and the run of a file's tests.

Helm, kubectl and the schemas are in build/chart-tools (tests/chart/tools).
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import traceback
from functools import cache

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
CHART = ROOT / "deploy/helm/bodega"
TOOLS = ROOT / "build/chart-tools"
OLDEST, NEWEST = "1.30", "1.37"

sys.path.insert(0, str(TOOLS / "python"))
import jsonschema  # noqa: E402
import referencing  # noqa: E402
import yaml  # noqa: E402


def helm(*arguments):
    home = TOOLS / "home"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "none")}
    return subprocess.run(
        [str(TOOLS / "bin/helm"), *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


def objects_of(text):
    return [one for one in yaml.load_all(text, yaml.CSafeLoader) if one]


def key_of(one):
    return f"{one['kind']} {one['metadata']['name']}"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# --- schemas


@cache
def kubernetes(version):
    folder = TOOLS / f"python/kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text())
    return folder, referencing.Resource.from_contents(definitions) @ referencing.Registry()


@cache
def checker(version, api_version, kind):
    folder, registry = kubernetes(version)
    group = re.sub(r"^([^./]*)(\.[^/]*)?/", r"\1-", api_version)
    schema = json.loads((folder / f"{kind.lower()}-{group}.json").read_text())
    registry = referencing.Resource.from_contents(schema) @ registry
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def custom_resources():
    specs = json.loads((HERE / "custom-resources.json").read_text())
    closed = {"type": "object", "required": ["apiVersion", "kind", "metadata", "spec"], "additionalProperties": False}
    known = {name: {} for name in ("apiVersion", "kind", "metadata")}
    return {
        kind: closed | {"properties": known | {"spec": {"type": "object", "additionalProperties": False, "properties": spec}}}
        for kind, spec in specs.items()
        if kind != "$comment"
    }


def schemas(one):
    """What an object has to satisfy: its kind in the oldest and the newest Kubernetes, or as far as we know it."""
    kind = f"{one['apiVersion']} {one['kind']}"
    if kind in custom_resources():
        return [jsonschema.Draft202012Validator(custom_resources()[kind])]
    return [checker(version, one["apiVersion"], one["kind"]) for version in (OLDEST, NEWEST)]


def complain(name, one):
    errors = [error for schema in schemas(one) for error in schema.iter_errors(one)]
    assert not errors, f"{name}: {key_of(one)}: " + "; ".join(f"{error.json_path}: {error.message}" for error in errors)


# --- told as cmocka tells it, so that tests/run can count


def run(names):
    """Runs a file's tests; names are its globals()."""
    tests = [value for name, value in names.items() if name.startswith("test_")]
    print(f"[==========] Running {len(tests)} test(s).")
    failed = []
    for test in tests:
        print(f"[ RUN      ] {test.__name__}", flush=True)
        try:
            test()
            print(f"[       OK ] {test.__name__}")
        except Exception as error:  # whatever went wrong, the others have their turn
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"[  ERROR   ] {where.filename}:{where.lineno}: {error or type(error).__name__}")
            print(f"[  FAILED  ] {test.__name__}")
            failed.append(test.__name__)
    print(f"[==========] {len(tests)} test(s) run.")
    print(f"[  PASSED  ] {len(tests) - len(failed)} test(s).")
    if failed:
        print(f"[  FAILED  ] {len(failed)} test(s), listed below:")
        for name in failed:
            print(f"[  FAILED  ] {name}")
    return 1 if failed else 0
