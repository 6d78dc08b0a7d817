// The Go subject of the benches: io.Copy between ends that Go's own runtime has opened.
//
// It is started with the path for its Unix socket, prints the address of its TCP listener and its
// version, and then serves rounds: one line in, "ready" out, "go" in, and out again how many bytes
// moved, how many nanoseconds that took by the wall and on the processors, and what was allocated.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	unix, err := net.Listen("unix", os.Args[1])
	check(err)
	fmt.Println(tcp.Addr())
	fmt.Println(runtime.Version())

	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		if err := round(strings.Fields(orders.Text()), tcp, unix, orders); err != nil {
			fmt.Println("failed:", err)
		}
	}
}

// round copies once: from-kind, path, to-kind, address, frame (0: until the end of input), copies, and by which
// way: "new", or "old" for the one that io.Copy went before its ends had short cuts to offer.
func round(words []string, tcp, unix net.Listener, orders *bufio.Scanner) error {
	from, err := source(words[0], words[1], tcp, unix)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := sink(words[2], words[3])
	if err != nil {
		return err
	}
	defer to.Close()
	frame, _ := strconv.ParseInt(words[4], 10, 64)
	copies, _ := strconv.Atoi(words[5])
	old := words[6] == "old"

	fmt.Println("ready")
	orders.Scan()
	var moved int64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	wall, cpu := time.Now(), cpuTime()
	for range copies {
		n, err := copyOnce(to, from, frame, copies, old)
		moved += n
		if err != nil {
			return err
		}
	}
	cpu = cpuTime() - cpu
	took := time.Since(wall).Nanoseconds()
	runtime.ReadMemStats(&after)
	fmt.Println(moved, took, cpu, after.Mallocs-before.Mallocs, after.TotalAlloc-before.TotalAlloc)
	return nil
}

// onlyReader and onlyWriter hide all else that an end can do, WriterTo and ReaderFrom among it.
type onlyReader struct{ io.Reader }
type onlyWriter struct{ io.Writer }

func copyOnce(to io.Writer, from io.Reader, frame int64, copies int, old bool) (int64, error) {
	if frame == 0 && copies > 1 {
		rewind(from)
		rewind(to)
	}
	if old {
		to, from = onlyWriter{to}, onlyReader{from}
	}
	if frame > 0 {
		return io.Copy(to, &io.LimitedReader{R: from, N: frame})
	}
	return io.Copy(to, from)
}

// rewind goes back to the start of a file, and does nothing to what has none.
func rewind(end any) {
	if file, ok := end.(*os.File); ok {
		file.Seek(0, io.SeekStart)
	}
}

func source(kind, path string, tcp, unix net.Listener) (io.ReadCloser, error) {
	switch kind {
	case "tcp":
		return tcp.Accept()
	case "unix":
		return unix.Accept()
	}
	return os.Open(path)
}

func sink(kind, address string) (io.WriteCloser, error) {
	switch kind {
	case "tcp", "unix":
		return net.Dial(kind, address)
	}
	return os.OpenFile(address, os.O_WRONLY, 0)
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
