#!/bin/busybox sh
# The first process of a guest that boots what is on its disk: modules, then the disk's own init.
/bin/busybox mkdir -p /dev /proc /sys /root
/bin/busybox mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/ttyS0 2>&1
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "BORDERGUARD-VM-NOTE $module was refused"
done
mount -t ext4 /dev/vda /root || poweroff -f
umount /proc /sys
mount --move /dev /root/dev
exec switch_root /root /sbin/init
