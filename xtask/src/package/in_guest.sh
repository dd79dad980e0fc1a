#!/bin/bash
# The test of the package, as root in a guest that systemd has booted: what an administrator types, judged by what the far
# side receives. It prints as a Rust test program does, between lines that begin with BORDERGUARD-VM.
cd /root/test || exit 1
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
passed=0 failed=0

# test NAME COMMAND...: the command's end says whether it passed.
test_that() {
    local name=$1
    shift
    echo "-- $name"
    # Not as a condition: there `set -e` means nothing.
    ( set -e; "$@" )
    if [ $? = 0 ]; then
        echo "test $name ... ok"
        passed=$((passed + 1))
    else
        echo "test $name ... FAILED"
        failed=$((failed + 1))
        systemctl status --no-pager --lines=0 borderguard || true
        journalctl --no-pager --unit borderguard --lines=40 || true
        borderguard status || true
    fi
}

# Without what it recommends, for the guest has no network.
apt_get() { apt-get --yes --quiet=2 --option Dpkg::Use-Pty=0 "$@"; }
install() { apt_get install --no-install-recommends --allow-downgrades "./$1.deb"; }
version() { dpkg-query --show --showformat='${Version}' borderguard; }

# Waits until `borderguard status` ends with this code.
wait_for_state() {
    for _ in $(seq 120); do
        borderguard status >status.txt 2>&1 && code=0 || code=$?
        [ "$code" = "$1" ] && return
        sleep 1
    done
    echo "status ends with $code:"
    cat status.txt
    return 1
}

# A host with eth0, and behind its router a place in Belgium and one in the US.
network() {
    ip netns add far
    ip link add eth0 type veth peer name near netns far
    ip addr add 192.0.2.10/24 dev eth0
    ip link set eth0 up
    ip -netns far addr add 192.0.2.1/24 dev near
    ip -netns far addr add 198.51.100.20/32 dev lo
    ip -netns far addr add 203.0.113.30/32 dev lo
    ip -netns far link set lo up
    ip -netns far link set near up
    ip route add default via 192.0.2.1
}

begin_traffic() {
    ip netns exec far ./sender.py receive received.json &
    echo $! >receiver.pid
    sleep 3
    ./sender.py send sent.json &
    echo $! >sender.pid
}

end_traffic() {
    kill "$(cat sender.pid)"
    while kill -0 "$(cat sender.pid)" 2>/dev/null; do sleep 0.2; done
    sleep 3
    kill "$(cat receiver.pid)"
    while kill -0 "$(cat receiver.pid)" 2>/dev/null; do sleep 0.2; done
    echo "sent $(cat sent.json), received $(cat received.json)"
}

# Milliseconds since 1970.
now() { date +%s%3N; }

received() { jq ".$1" received.json; }
sent() { jq ".$1" sent.json; }

# The commands of the README that the package brings, in which the package is the one that is here, and what an editor
# writes is this.
apt() { install borderguard; }
cargo() { :; }
editor() {
    cat >>"$1" <<'POLICY'

[[site]]
name = "brussels"
jurisdiction = "BE"
cidrs = ["198.51.100.0/24"]

[[site]]
name = "boston"
jurisdiction = "US"
cidrs = ["203.0.113.0/24"]
POLICY
}

# A file of the package, by its path.
packed() { dpkg-deb --fsys-tarfile borderguard.deb | tar -xO "./$1"; }

ten_commands() {
    local file=README.md
    [ -e $file ] || packed usr/share/doc/borderguard/README.md >$file
    sed -n '/ten commands: begin/,/ten commands: end/p' $file | sed -n '/^```/,/^```/p' | grep -v '^```'
}

# Whether `borderguard status` shows that the pin of the policy that the package brings observes, and has a packet.
it_has_observed() {
    borderguard status >status.txt 2>&1 || true
    awk '$1 == "mail-ie" && $3 == "observe" && $6 != "0" { seen = 1 } END { exit !seen }' status.txt
}

# By the README's commands it takes a minute. An emulated machine is slower by no fixed factor: so the minute is one of a
# machine whose `apt install` takes five seconds for the same files without a service.
by_the_readme_it_takes_a_minute() {
    [ "$(ten_commands | wc -l)" = 10 ]
    ten_commands | head -2 >begin.sh
    begin_traffic
    # So that the first of the two is not the one that fills the caches.
    apt_get check
    dpkg-deb --fsys-tarfile yardstick.deb >/dev/null
    begin=$(now)
    install yardstick
    yardstick=$(($(now) - begin))
    apt_get purge yardstick
    begin=$(now)
    . ./begin.sh
    tries=0
    until it_has_observed; do
        tries=$((tries + 1))
        [ $tries -lt 300 ]
        sleep 0.5
    done
    took=$(($(now) - begin))
    end_traffic
    echo "BORDERGUARD-VM-NOTE from apt install to a pin that has observed a packet: $took ms;" \
        "apt install of the same files without a service: $yardstick ms; 12 of those are the bound"
    [ $took -le $((12 * yardstick)) ]
    [ "$(received forbidden)" = "$(sent forbidden)" ]
    [ "$(received permitted)" = "$(sent permitted)" ]
}

by_the_readme_it_observes() {
    # The policy that comes with it is no problem anywhere.
    wait_for_state 6
    grep OBSERVING status.txt
    systemctl is-enabled borderguard
    getent group bg-view bg-compliance
    [ "$(stat --format=%a /etc/borderguard/policy.toml)" = 640 ]
    [ -e /usr/share/man/man1/borderguard-status.1.gz ]
    begin_traffic
    sleep 10
    end_traffic
    [ "$(received forbidden)" = "$(sent forbidden)" ]
    [ "$(received permitted)" = "$(sent permitted)" ]
}

by_the_readme_a_pin_is_enforced() {
    ten_commands | tail -8 >rest.sh
    # Every command but `status`, which ends with the state, ends with 0.
    sed -i '/^borderguard status$/d' rest.sh
    . ./rest.sh
    wait_for_state 0
    begin_traffic
    sleep 10
    end_traffic
    [ "$(received forbidden)" = 0 ]
    [ "$(received permitted)" = "$(sent permitted)" ]
}

# To the version before, on to the one after, and back: the far side judges.
versions_change_under_traffic() {
    begin_traffic
    sleep 5
    install earlier
    [ "$(version)" = 0.0.9-1 ]
    wait_for_state 0
    install borderguard
    wait_for_state 0
    first=$(systemctl show --property=MainPID borderguard)
    install later
    [ "$(version)" = 0.9.0-1 ]
    wait_for_state 0
    [ "$first" != "$(systemctl show --property=MainPID borderguard)" ]
    install borderguard
    [ "$(version)" = "$(dpkg-deb --field borderguard.deb Version)" ]
    wait_for_state 0
    end_traffic
    [ "$(received forbidden)" = 0 ]
    [ "$(received permitted)" = "$(sent permitted)" ]
    # What the administrator wrote is still there.
    grep boston /etc/borderguard/policy.toml
}

the_kernel_guards_while_the_service_is_stopped() {
    systemctl stop borderguard
    begin_traffic
    sleep 5
    end_traffic
    systemctl start borderguard
    [ "$(received forbidden)" = 0 ]
    [ "$(received permitted)" = "$(sent permitted)" ]
}

what_cannot_be_taken_off_is_not_removed() {
    systemctl stop borderguard
    borderguard run --config /etc/borderguard/policy.toml &
    daemon=$!
    trap "kill $daemon" EXIT
    wait_for_state 0
    if apt_get remove borderguard; then return 1; fi
    [ -x /usr/bin/borderguard ]
    # dpkg starts the service again, which can't be beside the other daemon.
    systemctl stop borderguard
    kill $daemon
    wait $daemon || true
    trap - EXIT
    # As apt asks for it then.
    dpkg --configure --pending
    install borderguard
    systemctl start borderguard
    wait_for_state 0
}

removed_it_is_off_and_its_records_stay() {
    apt_get remove borderguard
    if command -v borderguard; then return 1; fi
    [ ! -e /sys/fs/bpf/borderguard ]
    begin_traffic
    sleep 5
    end_traffic
    [ "$(received forbidden)" = "$(sent forbidden)" ]
    [ -s /var/lib/borderguard/store.redb ]
}

purged_it_leaves_the_audit_trail_and_says_so() {
    apt_get purge borderguard | tee purge.txt
    grep 'kept /var/lib/borderguard' purge.txt
    [ -s /var/lib/borderguard/store.redb ]
    [ ! -e /etc/borderguard/policy.toml ]
    [ ! -e /etc/logrotate.d/borderguard ]
}

what_was_on_record_is_there_after_a_new_installation() {
    install borderguard
    wait_for_state 6
    borderguard audit verify
    borderguard audit show | grep 'the package was removed'
}

# What counts against it has its reason in docs/install.md, by the setting's name.
the_unit_is_confined() {
    systemd-analyze security borderguard.service --no-pager | tail -1
    systemd-analyze security borderguard.service --threshold=42 --no-pager >/dev/null
    packed usr/share/doc/borderguard/docs/install.md | grep '^| `' >reasons.txt
    systemd-analyze security borderguard.service --json=short --no-pager >security.json
    jq --raw-output '.[] | select(.set == false) | .name' security.json | sed 's|[/=].*||' | sort --unique >against.txt
    [ -s against.txt ]
    while read -r setting; do
        grep --quiet "\`$setting=" reasons.txt || { echo "$setting= has no reason in docs/install.md"; return 1; }
    done <against.txt
}

network
echo "BORDERGUARD-VM-READY $(uname -r)"
echo "BORDERGUARD-VM-SUITE package"
for it in by_the_readme_it_takes_a_minute by_the_readme_it_observes by_the_readme_a_pin_is_enforced \
    versions_change_under_traffic the_kernel_guards_while_the_service_is_stopped the_unit_is_confined \
    what_cannot_be_taken_off_is_not_removed removed_it_is_off_and_its_records_stay \
    purged_it_leaves_the_audit_trail_and_says_so what_was_on_record_is_there_after_a_new_installation; do
    test_that "$it" "$it"
done
result=ok
[ $failed = 0 ] || result=FAILED
echo "test result: $result. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out"
code=0
[ $failed = 0 ] || code=1
echo "BORDERGUARD-VM-RESULT package $code"
echo "BORDERGUARD-VM-EXIT $code"
# Everything is said: what is on the console must be out before the machine ends.
sleep 2
systemctl poweroff --force --force
