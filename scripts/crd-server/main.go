// The part of a Kubernetes API server that serves custom resources, alone: the genuine k8s.io/apiextensions-apiserver without
// authentication, authorization and admission by others. Built and started by scripts/real-api-server, for tests only: whoever
// reaches its port may do everything.
package main

import (
	"fmt"
	"net"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/apiextensions-apiserver/pkg/cmd/server"
	"k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	genericapiserver "k8s.io/apiserver/pkg/server"
)

func run() error {
	o := options.NewCustomResourceDefinitionsServerOptions(os.Stdout, os.Stderr)
	// Both would ask a core API server, which is not there.
	o.RecommendedOptions.Authentication = nil
	o.RecommendedOptions.Authorization = nil
	flags := pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)
	o.AddFlags(flags)
	if err := flags.Parse(os.Args[1:]); err != nil {
		return err
	}
	if err := o.ServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	if err := o.Complete(); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	return server.Run(genericapiserver.SetupSignalContext(), o)
}

// freePorts prints three free ports of the loopback: a shell cannot ask for them.
func freePorts() error {
	for range 3 {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer listener.Close()
		fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	}
	return nil
}

func main() {
	deed := run
	if len(os.Args) == 2 && os.Args[1] == "free-ports" {
		deed = freePorts
	}
	if err := deed(); err != nil {
		fmt.Fprintln(os.Stderr, "crd-server:", err)
		os.Exit(1)
	}
}
