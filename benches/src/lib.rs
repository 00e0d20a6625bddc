//! What the benches measure with: texts as the kernel prints them.

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
        let mut text = format!(
            "{:<149}\n",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
             timeout inode"
        );
        for row in 0..rows {
            let state = if row % 8 == 7 { 8 } else { 1 };
            let address = 0x0A00_000A_u32.wrapping_add(row.wrapping_mul(0x0101_0000));
            let line = format!(
                "{row:4}: 0100007F:1F90 {address:08X}:{port:04X} {state:02X} \
                 00000000:{queue:08X} 00:00000000 00000000 {uid:5}        0 {inode} 1 \
                 000000006a431499 20 4 30 10 -1",
                port = 32_768 + row % 28_000,
                queue = row % 5,
                uid = row % 3 * 33,
                inode = 90_000 + u64::from(row) * 17,
            );
            let _ = writeln!(text, "{line:<149}");
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
