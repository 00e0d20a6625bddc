//! `cargo xtask capture`: the project's own capture, on which tests run every
//! verb of psstat-dump, made by psstat-dump of processes made for it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use psstat_testproc::archive::Archive;
use psstat_testproc::{Config, TempDir, TestProcess, oracle};

use crate::Result;

/// The rules that find the processes, and nobody else.
const CONF: &str = r"# The images of the capture beside this file.
orders     ^java .*/srv/shop/orders\.jar
nginx      ^nginx: (master|worker) process
cache      ^redis-server 127\.0\.0\.1:6379$
";

/// Writes `fixtures/capture.txtar`.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask is in no workspace")?;
    let folder = TempDir::new()?;
    let conf = folder.join("psstat.conf");
    fs::write(&conf, CONF)?;
    let actors = population()?;
    fs::write(folder.join("expected.txt"), what_is_true(&actors)?)?;
    let proc = folder.join("proc");
    let words = ["psstat-dump", "capture", "--conf"].map(std::ffi::OsString::from);
    let paths = [conf.as_path(), proc.as_path()].map(|path| path.as_os_str().to_owned());
    if psstat_dump::main(words.into_iter().chain(paths)) != ExitCode::SUCCESS {
        return Err("psstat-dump did not capture them".into());
    }
    // It names who built the kernel, and where.
    fs::write(proc.join("version"), "Linux version 6.18\n")?;
    let archive = Archive::of_dir(folder.path())?;
    fs::write(root.join("fixtures/capture.txtar"), archive.to_string())?;
    Ok(())
}

fn population() -> Result<Vec<(&'static str, TestProcess)>> {
    let java = ["-Xmx512m", "-Ddb.password=hunter2", "-jar", "/srv/shop/orders.jar"];
    let java = java.into_iter().chain(["--db", "postgres://shop:hunter2@db:5432/orders"]);
    let mut orders = TestProcess::spawn(&Config::new("java").args(java))?;
    orders.threads(5)?;
    orders.open_files(4)?;
    orders.tcp_pairs(3)?;
    orders.tcp6_mapped_pairs(1)?;
    orders.write_bytes(100_000, 10)?;
    let master = TestProcess::spawn(&Config::new("nginx: master process /usr/sbin/nginx"))?;
    // In a network namespace of its own, as in a container.
    let mut worker = TestProcess::spawn(&Config::new("nginx: worker process"))?;
    worker.unshare_net()?;
    worker.tcp_pairs(2)?;
    worker.unix_pairs(1)?;
    let mut cache = TestProcess::spawn(&Config::new("redis-server 127.0.0.1:6379"))?;
    cache.udp_connected(2)?;
    cache.non_established_sockets(1)?;
    cache.set_comm("redis) S (main")?;
    let actors = vec![("orders", orders), ("nginx", master), ("nginx", worker), ("cache", cache)];
    for (_, actor) in &actors {
        actor.quiesce()?;
    }
    Ok(actors)
}

/// A line a process, read without psstat.
fn what_is_true(actors: &[(&str, TestProcess)]) -> Result<String> {
    let mut text = String::from("# image pid fds threads tcp udp unix wchar\n");
    for (image, actor) in actors {
        let pid = actor.pid();
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
