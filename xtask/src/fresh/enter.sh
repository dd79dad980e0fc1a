# Runs the command "$2"... in the root filesystem "$1". This shell has mounts and processes of its own (unshare(1)):
# what is mounted here is seen by nobody else, and is gone with the last process.
set -eu
root=$1
shift
# A root that is no mount is none to `ip netns`, so it becomes one, in the place of this machine's.
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
cd "$root"
pivot_root . mnt
exec chroot . sh -c 'umount -l /mnt; exec "$@"' sh "$@"
