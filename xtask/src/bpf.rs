//! `cargo xtask bpf`: the BPF programs of the sampler as tracked objects, so that a build needs no
//! C compiler.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Args;

use crate::{Result, cargo};

/// Compile the BPF programs of the sampler: the objects in crates/sampler/bpf
///
/// Needs clang-14, llvm-14 and libbpf-dev of Debian 12: other versions make other objects. Run this
/// after a change of a program.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// Only check whether the objects are those of the sources
    #[arg(long)]
    check: bool,
}

/// The programs: the sources are `NAME.bpf.c`, the objects `NAME.bpf.o`.
const PROGRAMS: [&str; 3] = ["processes", "sockets", "lifetimes"];

/// Makes or checks the objects.
pub(crate) fn run(options: &Options) -> Result<()> {
    PROGRAMS.iter().try_for_each(|name| run_one(options, name))
}

fn run_one(options: &Options, name: &str) -> Result<()> {
    let dir = cargo::root().join("crates/sampler/bpf");
    let source = format!("{name}.bpf.c");
    let made = cargo::target()?.join(format!("{}-{name}.bpf.o", std::process::id()));
    let result = compile(&dir, &source, &made).and_then(|()| Ok(fs::read(&made)?));
    // It may not exist.
    let _ = fs::remove_file(&made);
    let (made, object) = (result?, dir.join(format!("{name}.bpf.o")));
    if fs::read(&object).is_ok_and(|before| before == made) {
        return Ok(());
    }
    if options.check {
        return Err(
            format!("{} differs from {source}; run `cargo xtask bpf`", object.display()).into()
        );
    }
    fs::write(&object, made)?;
    println!("{}", object.display());
    Ok(())
}

/// Compiles from within the directory, so that no path is in the object.
fn compile(dir: &Path, source: &str, to: &Path) -> Result<()> {
    let mut clang = Command::new("clang-14");
    // With the types (BTF), which relocation needs, and without the debug information.
    clang.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-fdebug-compilation-dir=."]);
    clang.args(["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-c", source, "-o"]);
    run_in(clang.arg(to), dir)?;
    run_in(Command::new("llvm-strip-14").arg("-g").arg(to), dir)
}

fn run_in(command: &mut Command, dir: &Path) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status =
        command.current_dir(dir).status().map_err(|error| format!("{program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed").into()) }
}
