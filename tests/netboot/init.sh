#!/bin/busybox sh
# What a Pi's kernel does by itself for `root=/dev/nfs nfsroot=SERVER:PATH,OPTIONS ip=...`, here with a kernel that has it all in
# modules. See the kernel's Documentation/admin-guide/nfs/nfsroot.rst.
/bin/busybox --install -s /bin
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

# One that can't go on restarts, as it would by panic=: its emulator ends then, and whoever waits for it is told.
fail() {
    echo "initramfs: $1"
    reboot -f
}

while read -r module; do
    insmod "/modules/$module.ko" || fail "$module cannot be loaded"
done < /modules/order

init=/sbin/init
access=ro
for word in $(cat /proc/cmdline); do
    case $word in
        ip=*) ip=${word#ip=} ;;
        nfsroot=*) nfsroot=${word#nfsroot=} ;;
        init=*) init=${word#init=} ;;
        ro | rw) access=$word ;;
    esac
done

# ADDRESS:SERVER:ROUTER:MASK:NAME:LINK:off
IFS=: read -r address _ router mask _ link _ << EOF
$ip
EOF
ifconfig lo 127.0.0.1 up
ifconfig "$link" "$address" netmask "$mask" up || fail "ip=$ip gives $link no address"
[ -z "$router" ] || route add default gw "$router" || fail "ip=$ip gives no route"

# busybox knows NFS up to 3: for 4 the kernel is told what a mounting program would find out.
source=${nfsroot%%,*}
options=$access,addr=${source%%:*},clientaddr=$address,${nfsroot#*,}
mount -i -t nfs4 -o "$options" "$source" /root || fail "$source is not to be mounted with $options"
umount /proc /sys
mount -o move /dev /root/dev
exec switch_root /root "$init"
fail "$init does not start"
