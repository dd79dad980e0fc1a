#!/bin/busybox sh
# The guest's first and only process: mounts, modules, tests, power off. The host reads the lines that
# begin with BORDERGUARD-VM.
/bin/busybox mkdir -p /dev /proc /sys /tmp /run /var
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS0 2>&1
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
# Emulation is slow: suites that go through very many cases take every so-manieth.
export BORDERGUARD_TEST_EVERY=11
# This machine is theirs alone: its clock may be set.
export BORDERGUARD_GUEST=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts
mount -t devpts -o ptmxmode=0666 devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
ln -s /run /var/run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t debugfs debugfs /sys/kernel/debug
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "BORDERGUARD-VM-NOTE $module was refused"
done
# A disk has a Debian with real services.
if [ -b /dev/vda ]; then
    mkdir -p /services
    mount -t ext4 -o ro /dev/vda /services || echo "BORDERGUARD-VM-NOTE the disk with the services was refused"
fi
ip link set lo up
# Documents name the hosts that they are for.
hostname guest
echo "BORDERGUARD-VM-READY $(uname -r)"
code=0
for suite in /programs/deps/*; do
    name=${suite##*/}
    echo "BORDERGUARD-VM-SUITE $name"
    "$suite" --include-ignored --test-threads=1 $(cat "/names/$name")
    result=$?
    echo "BORDERGUARD-VM-RESULT $name $result"
    [ "$result" = 0 ] || code=1
done
echo "BORDERGUARD-VM-EXIT $code"
poweroff -f
