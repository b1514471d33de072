// Loads compose files as Docker does, and prints the services of each with the profiles that are asked for.
//
//	loader FILE[,PROFILE …] …
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	for _, argument := range os.Args[1:] {
		words := strings.Split(argument, ",")
		options, err := cli.NewProjectOptions(words[:1], cli.WithOsEnv, cli.WithProfiles(words[1:]), cli.WithInterpolation(true))
		if err == nil {
			project, loadErr := options.LoadProject(context.Background())
			if err = loadErr; err == nil {
				names := project.ServiceNames()
				fmt.Printf("%s %s\n", argument, strings.Join(names, " "))
			}
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %s\n", argument, err)
			os.Exit(1)
		}
	}
}
