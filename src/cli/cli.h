/* The command line. */
#pragma once

/* The whole program: finds the subcommand, runs it, returns the exit code (0, 1 for configuration
 * and start errors, 2 for usage errors). Main thread, once. */
int cli_main(int argc, char **argv);
