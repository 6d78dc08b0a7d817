#!/bin/busybox sh
# The first process. It makes the system that the tests take for granted, runs the tests, and turns the machine off.
# tally.rs reads the lines that begin with "zc-kernels:", and what the tests print.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/busybox
/bin/busybox mkdir -p /busybox /dev /proc /sys /tmp /disk
/bin/busybox --install -s /busybox

busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
busybox mount -t devpts devpts /dev/pts
busybox mount -t tmpfs tmpfs /dev/shm
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/mounts /etc/mtab
ip link set lo up
# As the usual init sets it; the kernel's own is 4096.
ulimit -Hn 1048576

# The first port has the kernel's own messages.
exec </dev/null >/dev/ttyS1 2>&1
stty raw -F /dev/ttyS1

while read -r module; do
  modprobe -q "$module"
done </modules

# The place of temporary files. It is in memory if this fails.
if mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /disk; then
  export TMPDIR=/disk
fi
# Some tests become an ordinary user, who needs temporary files, too.
chmod 1777 /tmp /disk /dev/shm

# Scripts expect this name.
[ -e /bin/sh ] || ln -s busybox /bin/sh
read -r ZC_TEST_BINARY </zc
# In seconds: without KVM a test takes thirty times as long.
export ZC_TEST_BINARY ZC_TEST_PATIENCE=240

read -r directory </directory
cd "$directory"
export RUST_BACKTRACE=1
echo "zc-kernels: Linux $(uname -r), temporary files in ${TMPDIR:-memory}"
while read -r seconds name program options; do
  echo "zc-kernels: begin $name"
  begun=$(cut -d. -f1 /proc/uptime)
  timeout -s KILL "$seconds" "$program" $options </dev/null
  status=$?
  ended=$(cut -d. -f1 /proc/uptime)
  echo "zc-kernels: end $name $status $((ended - begun))"
done </programs

# No test may upset the kernel.
dmesg | grep -E 'BUG:|WARNING:|Oops|blocked for more than' | sed 's/^/zc-kernels: kernel /'
echo "zc-kernels: done"
poweroff -f
