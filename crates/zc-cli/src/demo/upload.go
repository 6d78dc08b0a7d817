// The Go receiver of `zc demo --go`: one io.Copy from the socket on standard input to the file on standard
// output. It says on standard error how many nanoseconds that took, by the wall and on the processors.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

func main() {
	conn, err := net.FileConn(os.Stdin)
	check(err)
	raw, err := conn.(syscall.Conn).SyscallConn()
	check(err)
	// The clock starts once the first bytes are here.
	check(raw.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN
	}))
	cpu, started := cpuTime(), time.Now()
	_, err = io.Copy(os.Stdout, conn)
	wall := time.Since(started)
	check(err)
	fmt.Fprintln(os.Stderr, wall.Nanoseconds(), cpuTime()-cpu)
}

// cpuTime is that of the whole process: io.Copy is woken by a poller on other threads.
func cpuTime() int64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
