//! `cargo xtask capture`: the capture on which tests run every subcommand of psstat-dump, taken by
//! psstat-dump from test processes.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use psstat_testproc::archive::Archive;
use psstat_testproc::{Config, TempDir, TestProcess, oracle};

use crate::{Result, cargo};

/// The rules that match the test processes and no others.
const CONFIG: &str = r"# The images of the capture in this directory.
orders     ^java .*/srv/shop/orders\.jar
nginx      ^nginx: (master|worker) process
cache      ^redis-server 127\.0\.0\.1:6379$
";

/// Writes `fixtures/capture.txtar`.
pub(crate) fn run() -> Result<()> {
    let dir = TempDir::new()?;
    let config = dir.join("psstat.conf");
    fs::write(&config, CONFIG)?;
    let processes = start_processes()?;
    fs::write(dir.join("expected.txt"), expected(&processes)?)?;
    let proc = dir.join("proc");
    let words =
        ["psstat-dump", "capture", "--keep-arguments", "--conf"].map(std::ffi::OsString::from);
    let paths = [config.as_path(), proc.as_path()].map(|path| path.as_os_str().to_owned());
    if psstat_dump::main(words.into_iter().chain(paths)) != ExitCode::SUCCESS {
        return Err("psstat-dump could not capture the processes".into());
    }
    // The original names the builder of the kernel and the build host.
    fs::write(proc.join("version"), "Linux version 6.18\n")?;
    let archive = Archive::of_dir(dir.path())?;
    fs::write(cargo::root().join("fixtures/capture.txtar"), archive.to_string())?;
    Ok(())
}

fn start_processes() -> Result<Vec<(&'static str, TestProcess)>> {
    let java = ["-Xmx512m", "-Ddb.password=hunter2", "-jar", "/srv/shop/orders.jar"];
    let java = java.into_iter().chain(["--db", "postgres://shop:hunter2@db:5432/orders"]);
    let mut orders = TestProcess::spawn(&Config::new("java").args(java))?;
    orders.threads(5)?;
    orders.open_files(4)?;
    orders.tcp_pairs(3)?;
    orders.tcp6_mapped_pairs(1)?;
    orders.write_bytes(100_000, 10)?;
    let master = TestProcess::spawn(&Config::new("nginx: master process /usr/sbin/nginx"))?;
    // In its own network namespace, as in a container.
    let mut worker = TestProcess::spawn(&Config::new("nginx: worker process"))?;
    worker.unshare_net()?;
    worker.tcp_pairs(2)?;
    worker.unix_pairs(1)?;
    let mut cache = TestProcess::spawn(&Config::new("redis-server 127.0.0.1:6379"))?;
    cache.udp_connected(2)?;
    cache.non_established_sockets(1)?;
    cache.set_comm("redis) S (main")?;
    let processes =
        vec![("orders", orders), ("nginx", master), ("nginx", worker), ("cache", cache)];
    for (_, process) in &processes {
        process.quiesce()?;
    }
    Ok(processes)
}

/// A line per process, read without psstat.
fn expected(processes: &[(&str, TestProcess)]) -> Result<String> {
    let mut text = String::from("# image pid fds threads tcp udp unix wchar\n");
    for (image, process) in processes {
        let pid = process.pid();
        let sockets = oracle::established(pid)?;
        let wchar = oracle::io(pid)?.get("wchar").copied().unwrap_or_default();
        writeln!(
            text,
            "{image} {pid} {} {} {} {} {} {wchar}",
            oracle::fds(pid)?,
            oracle::threads(pid)?,
            sockets.all_tcp(),
            sockets.all_udp(),
            sockets.unix.len(),
        )?;
    }
    Ok(text)
}
