//! Shows the resource usage of groups of processes.

fn main() -> std::process::ExitCode {
    psstat_dump::main(std::env::args_os().collect::<Vec<_>>())
}
