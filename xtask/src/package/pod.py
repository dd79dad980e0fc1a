#!/usr/bin/env python3
"""Makes an OCI runtime's bundle, as `umoci unpack` leaves it, that of a DaemonSet's container on this node.

pod.py --bundle MANIFEST FOLDER        the bundle
pod.py --config-map MANIFEST FOLDER    writes the files of the ConfigMap that the container mounts
pod.py --probe MANIFEST                prints the readiness probe's command, a word a line

It stops at everything in the manifest that it does not know, so that nothing of it is left out unseen.
"""
import json
import os
import sys

import yaml


def take(table, **wanted):
    """Takes keys from a table that must have these values, or any where None is wanted."""
    for key, value in wanted.items():
        found = table.pop(key)
        if value is not None and found != value:
            sys.exit(f"{key} is {found!r} in the manifest, and {value!r} is known here")


def all_taken(what, table):
    if table:
        sys.exit(f"not known here of the {what}: {', '.join(table)}")


def documents(manifest):
    with open(manifest) as file:
        return {one["kind"]: one for one in yaml.safe_load_all(file)}


def container_of(pod):
    [container] = pod["containers"]
    return container


def mounts(pod, container, config):
    """The container's mounts, in the place of the runtime's own at the same path."""
    volumes = {}
    for volume in pod.pop("volumes"):
        name = volume.pop("name")
        if "hostPath" in volume:
            kind, path = volume["hostPath"]["type"], volume["hostPath"]["path"]
            if kind == "DirectoryOrCreate":
                os.makedirs(path, mode=0o755, exist_ok=True)
            is_there = os.path.isfile(path) if kind == "File" else os.path.isdir(path)
            if not is_there:
                sys.exit(f"{path} is to be there ({kind})")
        elif "configMap" in volume:
            # As the kubelet has it: a folder of its own, of which the files are links into another one.
            path = config
        else:
            sys.exit(f"not known here of the volume {name}: {', '.join(volume)}")
        volumes[name] = path
    made = []
    for mount in container.pop("volumeMounts"):
        options = ["rbind", "rprivate", "ro" if mount.get("readOnly") else "rw"]
        made.append(
            {"destination": mount["mountPath"], "type": "bind", "source": volumes.pop(mount["name"]), "options": options}
        )
    all_taken("volumes", volumes)
    return made


def bundle(manifest, folder):
    pod = documents(manifest)["DaemonSet"]["spec"]["template"]["spec"]
    container = container_of(pod)
    file = os.path.join(folder, "config.json")
    with open(file) as text:
        config = json.load(text)
    own = mounts(pod, container, os.path.join(os.path.dirname(manifest), "config"))
    kept = [it for it in config["mounts"] if it["destination"] not in [mount["destination"] for mount in own]]
    config["mounts"] = kept + own

    process = config["process"]
    process["terminal"] = False
    if "args" in container:
        # In the place of the image's command; its entrypoint stays.
        process["args"] = process["args"][:1] + container.pop("args")
    context = container.pop("securityContext")
    capabilities = context.pop("capabilities")
    take(capabilities, drop=["ALL"])
    names = [f"CAP_{name}" for name in capabilities.pop("add")]
    all_taken("capabilities", capabilities)
    sets = {of: names for of in ("bounding", "effective", "permitted")}
    process["capabilities"] = {**sets, "inheritable": [], "ambient": []}
    # A container with CAP_SYS_ADMIN has it off, whatever else is said.
    process["noNewPrivileges"] = False
    process["user"] = {"uid": context.pop("runAsUser"), "gid": context.pop("runAsGroup")}
    config["root"]["readonly"] = context.pop("readOnlyRootFilesystem")
    # A runtime's own seccomp profile is not to be had here.
    take(context, privileged=False, appArmorProfile={"type": "Unconfined"}, seccompProfile={"type": "RuntimeDefault"})
    all_taken("security context", context)

    # The others are those of a container of its own. The cgroup's is private, as where a node has cgroup v2 alone.
    shared = {"network": pod.pop("hostNetwork"), "pid": pod.pop("hostPID"), "uts": True}
    namespaces = [it for it in config["linux"]["namespaces"] if not shared.get(it["type"])]
    config["linux"]["namespaces"] = namespaces + [{"type": "cgroup"}]
    config.pop("hostname")

    # What is for the cluster, and not for a container on a node.
    take(container, name=None, image=None, imagePullPolicy=None, readinessProbe=None, resources=None)
    pod.pop("containers")
    take(pod, serviceAccountName=None, automountServiceAccountToken=False, priorityClassName=None, nodeSelector=None)
    take(pod, tolerations=None, terminationGracePeriodSeconds=None)
    all_taken("container", container)
    all_taken("pod", pod)
    with open(file, "w") as text:
        json.dump(config, text)


def config_map(manifest, folder):
    data = os.path.join(folder, "..data")
    os.makedirs(data, exist_ok=True)
    for name, text in documents(manifest)["ConfigMap"]["data"].items():
        with open(os.path.join(data, name), "w") as file:
            file.write(text)
        link = os.path.join(folder, name)
        if not os.path.lexists(link):
            os.symlink(f"..data/{name}", link)


def probe(manifest):
    pod = documents(manifest)["DaemonSet"]["spec"]["template"]["spec"]
    print("\n".join(container_of(pod)["readinessProbe"]["exec"]["command"]))


match sys.argv[1:]:
    case ["--config-map", manifest, folder]:
        config_map(manifest, folder)
    case ["--probe", manifest]:
        probe(manifest)
    case ["--bundle", manifest, folder]:
        bundle(manifest, folder)
    case _:
        sys.exit(__doc__)
