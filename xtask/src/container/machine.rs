//! A copy of this machine that systemd has booted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::chroot::{self, Chroot, CommandOutput};
use crate::Result;

/// systemd as the first process of new namespaces, with the chroot as its root: a container with
/// its own processes, network, services and journal, and the users of the machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// `unshare`, which kills systemd when it ends.
    unshare: Child,
    /// systemd's pid outside of the container.
    init: u32,
    cgroup: PathBuf,
}

/// How long the machine may take to boot, and a condition to become true.
const LIMIT: Duration = Duration::from_secs(60);

/// Mounts what a container has, and becomes systemd. The arguments are the root and the cgroup.
const BOOT: &str = r#"
root=$1
echo $$ > "$2/cgroup.procs"
exec unshare --pid --ipc --uts --net --cgroup --mount --fork --kill-child /bin/sh -ec '
root=$1
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
# With a chroot, services would keep the outer root in their mount namespaces.
cd "$root"
pivot_root . .
umount --lazy .
exec env -i container=psstat PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --unit=basic.target --log-target=console
' sh "$root"
"#;

impl Machine {
    /// Boots it. No unit of the machine itself is started except those of basic.target.
    pub(crate) fn boot(chroot: &Chroot) -> Result<Machine> {
        let dir = chroot.dir().to_owned();
        let hierarchy = dir.join("cgroup");
        fs::create_dir(&hierarchy)?;
        chroot::mount(&["-t", "cgroup2", "cgroup2"], &hierarchy)?;
        let cgroup = hierarchy.join(format!("psstat-{}", std::process::id()));
        fs::create_dir(&cgroup)?;
        let log = fs::File::create(dir.join("boot.log"))?;
        let unshare = Command::new("/bin/sh")
            .args(["-ec", BOOT, "sh"])
            .arg(chroot.path("/"))
            .arg(&cgroup)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut machine = Machine { unshare, init: 0, cgroup };
        let booted = machine.wait_until_booted();
        booted.map_err(|error| {
            let log = fs::read_to_string(dir.join("boot.log")).unwrap_or_default();
            format!("systemd does not boot: {error}\n{log}")
        })?;
        Ok(machine)
    }

    fn wait_until_booted(&mut self) -> Result<()> {
        let pid = self.unshare.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            if let Some(status) = self.unshare.try_wait()? {
                return Err(format!("{status}").into());
            }
            let child = fs::read_to_string(&children)?;
            if let Some(Ok(init)) = child.split_whitespace().next().map(str::parse) {
                self.init = init;
                let comm = fs::read_to_string(format!("/proc/{init}/comm")).unwrap_or_default();
                if comm == "systemd\n" && self.sh("systemctl is-active basic.target").is_ok() {
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(100));
        }
        Err("no basic.target".into())
    }

    /// Runs a script as root in /root; an error if one of its commands fails.
    pub(crate) fn sh(&self, script: &str) -> Result<CommandOutput> {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.init.to_string());
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]);
        chroot::run(command.args(["/bin/sh", "-ec"]), script)
    }

    /// Runs a script until a condition of its output is true.
    pub(crate) fn until(
        &self,
        script: &str,
        is_true: impl Fn(&str) -> bool,
    ) -> Result<CommandOutput> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let output = self.sh(script);
            match output {
                Ok(output) if is_true(&output.stdout) => return Ok(output),
                Ok(output) if Instant::now() > deadline => {
                    let CommandOutput { stdout, stderr } = output;
                    return Err(format!("not true in time: {script}\n{stdout}{stderr}").into());
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                _ => sleep(Duration::from_millis(200)),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
        let _ = self.unshare.wait();
        // Processes that were killed leave their cgroups a moment later.
        let deadline = Instant::now() + Duration::from_secs(5);
        while !remove_cgroup(&self.cgroup) && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
        }
    }
}

/// Removes a cgroup with those below it; whether it is removed.
fn remove_cgroup(path: &Path) -> bool {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    fs::remove_dir(path).is_ok()
}
