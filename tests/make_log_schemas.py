"""Makes the schemas that the event log's tests hold its lines against.

Run from the root of the tree, with pip and npm: python3 tests/make_log_schemas.py

It takes two published packages, each by its version and its SHA-256, and leaves out of them what a check of a line does
not need: descriptions, and of ECS the field sets that no line has. Both are under the Apache License 2.0.
"""

import hashlib
import importlib
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile

OCSF = ("ocsf-json-schema==1.2.0", "64d819042d20c3c04bc0d024c7c47c41006ebbe0209ce768ba6efa1240106708")
ECS = ("@elastic/ecs@9.4.0", "1c7863cd70f9d52365570fa38a9c39f3d056511fefe4e36a51d2ad7f142ac071")
OCSF_VERSION = "1.8.0"
CLASSES = ["network_activity", "file_activity", "application_lifecycle", "event_log_actvity"]
PROFILES = ["host", "security_control"]
FIELD_SETS = ["base", "ecs", "event", "file", "host", "network", "observer", "process", "rule", "service", "user"]
FIELD_SETS += ["destination", "source", "log", "related"]
# Keywords of a schema that decide nothing.
SPOKEN = {"title", "description", "$comment", "deprecated"}
TARGET = pathlib.Path("guard-user/src/events/schemas")


def checked(path, digest):
    if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise SystemExit(f"{path.name} is not the package that it should be")
    return path


def without_words(value, are_names=False):
    if isinstance(value, list):
        return [without_words(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if are_names or key not in SPOKEN}
    return {key: without_words(item, key in ("properties", "$defs") and not are_names) for key, item in kept.items()}


def write(name, content):
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    (TARGET / name).write_text(text + "\n")


def ocsf(folder):
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, OCSF[0]], check=True)
    wheel = checked(next(pathlib.Path(folder).glob("ocsf_json_schema-*.whl")), OCSF[1])
    unpacked = pathlib.Path(folder, "wheel")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, unpacked], check=True)
    sys.path.insert(0, str(unpacked))
    package = importlib.import_module("ocsf_json_schema")
    schema = package.OcsfJsonSchemaEmbedded(package.get_ocsf_schema(OCSF_VERSION))
    for name in CLASSES:
        write(f"ocsf-{OCSF_VERSION}-{name}.json", without_words(schema.get_class_schema(name, PROFILES)))


def ecs(folder):
    subprocess.run(["npm", "pack", "--silent", ECS[0]], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(checked(next(pathlib.Path(folder).glob("elastic-ecs-*.tgz")), ECS[1])) as package:
        package.extractall(folder, filter="data")
    print_all = "console.log(JSON.stringify(require('./package/build/commonjs').EcsFlat))"
    flat = json.loads(subprocess.run(["node", "-e", print_all], cwd=folder, check=True, capture_output=True).stdout)
    fields = {}
    for name, field in flat.items():
        if name.split(".")[0] not in FIELD_SETS and "." in name:
            continue
        allowed = [value["name"] for value in field.get("allowed_values", [])]
        fields[name] = {"type": field["type"], "is_array": "array" in field.get("normalize", [])}
        if allowed:
            fields[name]["allowed"] = allowed
    write("ecs-9.4.0.json", fields)


with tempfile.TemporaryDirectory() as folder:
    ocsf(folder)
    ecs(folder)
