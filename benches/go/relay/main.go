// The Go relay of the benches: io.Copy both ways between TCP connections, which passes half-closes on.
//
// It is started with the address to listen on and the one to relay to.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go relay(client.(*net.TCPConn), os.Args[2])
	}
}

func relay(client *net.TCPConn, target string) {
	defer client.Close()
	connection, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	server := connection.(*net.TCPConn)
	defer server.Close()
	up := make(chan struct{})
	go func() {
		defer close(up)
		io.Copy(server, client)
		server.CloseWrite()
	}()
	io.Copy(client, server)
	client.CloseWrite()
	<-up
}
