#!/bin/bash
# The test of the image: the DaemonSet's container, by runc, on a node that is made of namespaces alone, judged by what the far
# side receives. It prints as a Rust test program does. Nothing of it outlives its last process.
#   on_node.sh FOLDER    with image.oci.tar, daemonset.yaml, pod.py and sender.py
export LC_ALL=C
if [ "$2" != inside ]; then
    # A cgroup of its own is the root of the node's: what is attached to it is asked of nobody else.
    cgroups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
    own=$cgroups/oci-node-$$
    mkdir "$own" || exit 1
    (
        echo "$BASHPID" >"$own/cgroup.procs" || exit 1
        exec timeout --kill-after=5 600 \
            unshare --mount --net --pid --cgroup --uts --ipc --fork --kill-child --mount-proc bash "$0" "$1" inside
    )
    code=$?
    # The last of its processes may still be on its way out.
    for _ in $(seq 50); do
        find "$own" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.1
    done
    exit $code
fi

cd "$1" || exit 1
passed=0 failed=0

# The node: its file systems are the ones that a pod is given.
node() {
    mount -t tmpfs tmpfs /run
    mount -t tmpfs tmpfs /var/lib
    mount -t sysfs sysfs /sys
    mount -t securityfs securityfs /sys/kernel/security
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mount -t bpf -o mode=700 bpf /sys/fs/bpf
    mkdir /run/node
    ip link set lo up
    ip netns add oci-far
    ip link add eth0 type veth peer name near netns oci-far
    ip addr add 192.0.2.10/24 dev eth0
    ip link set eth0 up
    ip -netns oci-far addr add 192.0.2.1/24 dev near
    ip -netns oci-far addr add 198.51.100.20/32 dev lo
    ip -netns oci-far addr add 203.0.113.30/32 dev lo
    ip -netns oci-far link set lo up
    ip -netns oci-far link set near up
    ip route add default via 192.0.2.1
    # Another pod, behind a pair, whose source is rewritten to the node's as it leaves.
    ip netns add oci-pod
    ip link add veth1 type veth peer name eth0 netns oci-pod
    ip addr add 10.244.0.1/24 dev veth1
    ip link set veth1 up
    ip -netns oci-pod addr add 10.244.0.2/24 dev eth0
    ip -netns oci-pod link set eth0 up
    ip -netns oci-pod route add default via 10.244.0.1
    echo 1 >/proc/sys/net/ipv4/ip_forward
    nft add table ip node
    nft add chain ip node out '{ type nat hook postrouting priority srcnat; }'
    nft add rule ip node out oifname eth0 ip saddr 10.244.0.0/24 masquerade
    mkdir image
    tar -C image -xf image.oci.tar
    tag=$(umoci list --layout image)
    umoci unpack --image "image:$tag" bundle
    mv bundle/config.json image.json
    mkdir config
    python3 pod.py --config-map daemonset.yaml config
}

runc() { command runc --root /run/node/runc "$@"; }

# pod NAME: the manifest's container, in the foreground.
pod() {
    cp image.json bundle/config.json
    python3 pod.py --bundle "$PWD/daemonset.yaml" bundle || return 1
    runc run --bundle bundle "$1"
}

# borderguard ARGUMENT...: as `kubectl exec` runs it in the pod.
borderguard() { runc exec guard /usr/bin/borderguard "$@"; }

start() {
    pod guard >>guard.log 2>&1 &
    for _ in $(seq 60); do
        # shellcheck disable=SC2046 # no word of the probe has a blank
        runc exec guard $(python3 pod.py --probe daemonset.yaml) >ready.txt 2>&1 && return
        sleep 0.5
    done
    cat ready.txt
    return 1
}

stop() {
    runc kill guard TERM
    for _ in $(seq 150); do
        runc state guard >state.txt 2>&1 || return 0
        sleep 0.2
    done
    return 1
}

# Waits until `borderguard status` has no problem but that this machine is busy, and says that it guards, or observes.
wait_for_state() {
    for _ in $(seq 60); do
        borderguard status >status.txt 2>&1 || true
        if grep -q '^ *eth0 .* guarded' status.txt && ! grep PROBLEM status.txt | grep -qv loop-slow; then
            case $1 in
            observing) grep -q OBSERVING status.txt && return ;;
            guarding) grep -q OBSERVING status.txt || return 0 ;;
            esac
        fi
        sleep 0.5
    done
    return 1
}

# traffic [COMMAND...]: sends for some seconds by way of that command, and counts at both ends.
traffic() {
    ip netns exec oci-far python3 sender.py receive received.json &
    local receiver=$!
    sleep 1
    "$@" python3 sender.py send sent.json &
    local sender=$!
    sleep 3
    kill $sender
    wait $sender
    sleep 1
    kill $receiver
    wait $receiver
    echo "sent $(cat sent.json), received $(cat received.json)"
}

count() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$@"; }
forbidden_arrives() { [ "$(count received.json forbidden)" = "$(count sent.json forbidden)" ]; }
forbidden_does_not_arrive() { [ "$(count received.json forbidden)" = 0 ]; }
permitted_arrives() { [ "$(count received.json permitted)" = "$(count sent.json permitted)" ]; }

the_manifest_as_it_is_observes() {
    start
    wait_for_state observing
    traffic
    forbidden_arrives
    permitted_arrives
}

an_enforced_pin_keeps_what_is_forbidden_from_the_far_side() {
    sed -i '/^observe = true/d' config/..data/policy.toml
    cat >>config/..data/policy.toml <<'POLICY'

[[site]]
name = "brussels"
jurisdiction = "BE"
cidrs = ["198.51.100.0/24"]

[[site]]
name = "boston"
jurisdiction = "US"
cidrs = ["203.0.113.0/24"]
POLICY
    borderguard reload
    wait_for_state guarding
    traffic
    forbidden_does_not_arrive
    permitted_arrives
}

what_another_pod_sends_by_the_nodes_address_is_kept_too() {
    SOURCE=10.244.0.2 traffic ip netns exec oci-pod
    forbidden_does_not_arrive
    permitted_arrives
}

the_node_guards_on_when_the_pod_has_ended() {
    stop
    [ -e /sys/fs/bpf/borderguard ]
    traffic
    forbidden_does_not_arrive
    permitted_arrives
}

the_next_pod_takes_over() {
    start
    wait_for_state guarding
    borderguard audit verify
    traffic
    forbidden_does_not_arrive
    permitted_arrives
}

a_pod_that_detaches_takes_it_off() {
    stop
    # As docs/kubernetes.md has it.
    sed -i 's|^ *image: .*|&\n          args: [detach, --if-attached, --why, "the cluster goes without"]|' daemonset.yaml
    pod detach
    [ ! -e /sys/fs/bpf/borderguard ]
    traffic
    forbidden_arrives
    permitted_arrives
}

( set -e; node )
[ $? = 0 ] || exit 1
for it in the_manifest_as_it_is_observes an_enforced_pin_keeps_what_is_forbidden_from_the_far_side \
    what_another_pod_sends_by_the_nodes_address_is_kept_too the_node_guards_on_when_the_pod_has_ended \
    the_next_pod_takes_over a_pod_that_detaches_takes_it_off; do
    echo "-- $it"
    # Not as a condition: there `set -e` means nothing.
    ( set -e; "$it" )
    if [ $? = 0 ]; then
        echo "test $it ... ok"
        passed=$((passed + 1))
    else
        echo "test $it ... FAILED"
        failed=$((failed + 1))
        cat status.txt
        grep -v '^{' guard.log | tail -40
    fi
done
result=ok
[ $failed = 0 ] || result=FAILED
echo "test result: $result. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out"
[ $failed = 0 ]
