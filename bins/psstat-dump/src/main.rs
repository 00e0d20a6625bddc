//! Asks a machine what the processes behind a name are doing.

fn main() -> std::process::ExitCode {
    psstat_dump::main(std::env::args_os())
}
