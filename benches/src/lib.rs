//! The inputs of the benchmarks: processes, and texts in the kernel's format.

// A benchmark cannot continue after an error.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Processes that sleep; killed when dropped.
#[derive(Debug)]
pub struct Sleepers {
    children: Vec<Child>,
    /// Their argument, which no other process has.
    pub argument: String,
}

impl Sleepers {
    /// Starts `count` processes that inherit `fds` file descriptors besides the first three.
    ///
    /// # Panics
    /// If they cannot be started.
    #[must_use]
    pub fn start(count: u64, fds: usize) -> Self {
        // Ten minutes.
        let argument = format!("600.{}", std::process::id());
        let opened: Vec<_> = (3..3 + fds).map(|fd| format!("{fd}</dev/null")).collect();
        let script = format!("exec {} sleep {argument}", opened.join(" "));
        let start = |_| {
            let mut command = Command::new("bash");
            command.args(["-c", &script]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let sleepers = Self { children: (0..count).map(start).collect(), argument };
        let is_shell =
            |pid| !std::fs::read(format!("/proc/{pid}/cmdline")).unwrap().starts_with(b"sleep\0");
        while sleepers.pids().any(is_shell) {
            std::thread::sleep(Duration::from_millis(10));
        }
        sleepers
    }

    /// Their pids.
    ///
    /// # Panics
    /// Never: a pid fits into an `i32`.
    pub fn pids(&self) -> impl Iterator<Item = i32> {
        self.children.iter().map(|child| child.id().try_into().unwrap())
    }

    /// The number of their file descriptors.
    ///
    /// # Panics
    /// If one has exited.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        let dirs = self.pids().map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap());
        dirs.map(|entries| entries.count() as u64).sum()
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The files of a process, from `fixtures/proc`.
pub mod files {
    /// `/proc/PID/stat`. The name is ASCII, since the peer takes nothing else.
    pub const STAT: &[u8] = b"14353 (worker) S 14352 14347 2893 0 -1 4194304 1548 0 7 0 8123 3456 \
        0 0 20 0 12 0 207143 91783168 2815 18446744073709551615 4321280 7148169 140728124152448 \
        0 0 0 0 16781312 2 0 0 0 17 1 0 0 0 0 0 9723336 11027064 868261888 140728124157891 \
        140728124157927 140728124157927 140728124157927 0\n";
    /// `/proc/PID/statm`.
    pub const STATM: &[u8] = include_bytes!("../../fixtures/proc/6.18/worker/statm");
    /// `/proc/PID/io`.
    pub const IO: &[u8] = include_bytes!("../../fixtures/proc/6.18/worker/io");
    /// `/proc/PID/cmdline`, of a Java server.
    pub const CMDLINE: &[u8] = b"/usr/lib/jvm/java-21/bin/java\0-server\0-Xms4g\0-Xmx4g\0\
        -XX:+UseG1GC\0-Dapp.home=/srv/orders\0-Dlog4j.configurationFile=/etc/orders/log4j2.xml\0\
        -cp\0/srv/orders/lib/orders.jar:/srv/orders/lib/netty-all.jar:/srv/orders/lib/jackson.jar\0\
        com.example.orders.Main\0--port=8080\0--config\0/etc/orders/orders.yaml\0";
    /// `/proc/PID/limits`.
    pub const LIMITS: &[u8] = include_bytes!("../../fixtures/proc/6.18/worker/limits");

    /// `/proc/PID/status`, with an ASCII name.
    #[must_use]
    pub fn status() -> Vec<u8> {
        let whole = include_bytes!("../../fixtures/proc/6.18/worker/status");
        let behind_name = whole.iter().position(|&byte| byte == b'\n').unwrap_or(0);
        [b"Name:\tworker", &whole[behind_name..]].concat()
    }
}

/// Socket tables of any length.
pub mod tables {
    use std::fmt::Write as _;

    /// `/proc/net/tcp` with `rows` rows: one in eight is in another state than
    /// ESTABLISHED, as on a server with many clients.
    #[must_use]
    pub fn tcp(rows: u32) -> Vec<u8> {
        let address = |row| format!("{:08X}", client(row));
        inet(rows, (4, 149), 8, "0100007F", address, "20 4 30 10 -1")
    }

    /// `/proc/net/tcp6`, the same with the clients of a dual-stack server.
    #[must_use]
    pub fn tcp6(rows: u32) -> Vec<u8> {
        let mapped = |address: &str| format!("0000000000000000FFFF0000{address}");
        let address = |row| mapped(&format!("{:08X}", client(row)));
        inet(rows, (4, 0), 8, &mapped("0100007F"), address, "20 4 30 10 -1")
    }

    /// `/proc/net/udp`: seven of eight sockets are connected.
    #[must_use]
    pub fn udp(rows: u32) -> Vec<u8> {
        let address = |row| format!("{:08X}", client(row));
        inet(rows, (5, 127), 7, "0100007F", address, "0")
    }

    fn client(row: u32) -> u32 {
        0x0A00_000A_u32.wrapping_add(row.wrapping_mul(0x0101_0000))
    }

    /// A table with this width of the slot column and this minimum width of lines.
    fn inet(
        rows: u32,
        (slot, line_width): (usize, usize),
        other_state: u8,
        server: &str,
        address: impl Fn(u32) -> String,
        behind: &str,
    ) -> Vec<u8> {
        let mut text = format!(
            "{:<line_width$}\n",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
             timeout inode"
        );
        for row in 0..rows {
            let state = if row % 8 == 7 { other_state } else { 1 };
            let line = format!(
                "{row:slot$}: {server}:1F90 {address}:{port:04X} {state:02X} \
                 00000000:{queue:08X} 00:00000000 00000000 {uid:5}        0 {inode} 1 \
                 000000006a431499 {behind}",
                address = address(row),
                port = 32_768 + row % 28_000,
                queue = row % 5,
                uid = row % 3 * 33,
                inode = 90_000 + u64::from(row) * 17,
            );
            let _ = writeln!(text, "{line:<line_width$}");
        }
        text.into_bytes()
    }

    /// `/proc/net/unix` with `rows` rows; every fourth has a path.
    #[must_use]
    pub fn unix(rows: u32) -> Vec<u8> {
        let mut text = String::from("Num       RefCount Protocol Flags    Type St Inode Path\n");
        for row in 0..rows {
            let path = if row % 4 == 0 { " /run/systemd/journal/stdout" } else { "" };
            let inode = 40_000 + row;
            let _ = writeln!(
                text,
                "00000000{row:08x}: 00000003 00000000 00000000 0001 03 {inode:5}{path}"
            );
        }
        text.into_bytes()
    }
}
