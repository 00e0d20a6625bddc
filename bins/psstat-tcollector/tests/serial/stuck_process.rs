//! A process on a file system whose server stops answering.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use psstat_testproc::fuse::{FuseServer, Mode, mount_options};
use psstat_testproc::wait_until;

/// A process in a mount namespace of its own, with the file system mounted on a directory. When
/// dropped, all waiting requests fail, and the process ends.
pub(crate) struct StuckProcess {
    process: Child,
    server: FuseServer,
}

impl StuckProcess {
    /// Runs a shell script, with `$P` for the directory with the file `file`; `None` where such
    /// file systems cannot be mounted.
    pub(crate) fn run(dir: &Path, script: &str, word: &str) -> Option<StuckProcess> {
        let started = FuseServer::start("file", &"x".repeat(4096));
        let Ok((server, device)) = started else {
            println!("skipped: no /dev/fuse: {started:?}");
            return None;
        };
        // The kernel takes the descriptor by its number in the mounting process.
        let options = mount_options(0);
        let mount = format!("mount -i -t fuse -o {options} hang $P");
        let script = format!("P=$0; {mount} || exit 9; exec </dev/null; {script}");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).arg(dir).arg(word);
        command.stdin(Stdio::from(device)).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        // The command keeps a copy of the device.
        drop(command);
        let mut stuck = StuckProcess { process, server };
        let mounts = format!("/proc/{}/mounts", stuck.pid());
        let line = format!("hang {} fuse", dir.display());
        let mut status = None;
        wait_until("it is mounted", || {
            status = stuck.process.try_wait().unwrap();
            status.is_some() || std::fs::read_to_string(&mounts).is_ok_and(|t| t.contains(&line))
        });
        if let Some(status) = status {
            println!("skipped: no right to mount: {status}");
            return None;
        }
        Some(stuck)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The server lets each close wait from now on, or no longer.
    pub(crate) fn hold_closes(&mut self, hold: bool) {
        self.server.set_mode(if hold { Mode::HoldFlush } else { Mode::Answer });
    }

    /// The server stops responding.
    pub(crate) fn stop_server(&mut self) {
        self.server.set_mode(Mode::Discard);
    }
}

impl Drop for StuckProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        // This closes the device, and the kernel fails all requests.
        self.server.set_mode(Mode::End);
        let _ = self.process.wait();
    }
}
