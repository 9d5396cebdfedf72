package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// receiver is where the sinks deliver. It reads requests and answers them with
// as little work as can be, because it shares the CPUs with what is measured.
// A request for /count is answered with the number of all others so far.
type receiver struct{ n atomic.Int64 }

func (r *receiver) serve(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	var conns sync.WaitGroup
	defer conns.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		conns.Go(func() {
			end := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer end()
			defer conn.Close()
			_ = r.answer(conn) // whoever hangs up is done
		})
	}
}

var noContent = []byte("HTTP/1.1 204 No Content\r\n\r\n")

// answer answers the requests of one connection until it ends.
func (r *receiver) answer(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 16<<10)
	for {
		count, length, err := readHead(in)
		if err != nil {
			return err
		}
		if _, err := in.Discard(length); err != nil {
			return err
		}
		answer := noContent
		if count {
			n := strconv.FormatInt(r.n.Load(), 10)
			answer = []byte("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(n)) + "\r\n\r\n" + n)
		} else {
			r.n.Add(1)
		}
		if _, err := conn.Write(answer); err != nil {
			return err
		}
	}
}

// readHead reads a request line and the headers after it.
func readHead(in *bufio.Reader) (count bool, length int, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return false, 0, err
	}
	count = strings.Contains(string(line), " /count ")
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return false, 0, err
		}
		if len(line) <= 2 {
			return count, length, nil
		}
		const name = "content-length:"
		if len(line) > len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[len(name):]))); err != nil {
				return false, 0, fmt.Errorf("read length: %w", io.ErrUnexpectedEOF)
			}
		}
	}
}
