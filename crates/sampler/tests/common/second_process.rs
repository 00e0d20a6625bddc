//! Tests in two processes: the one of the harness, and a second process of the same binary that
//! runs the same test under another command, as another user or under strace.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use psstat_testproc::{TempDir, wait_until};

const DIR: &str = "PSSTAT_TEST_DIR";
const WORDS: &str = "PSSTAT_TEST_WORDS";

/// The uid of the user of [`AS_OTHER_USER`].
pub(crate) const OTHER_UID: u32 = 65534;
/// Runs a command as an unprivileged user.
pub(crate) const AS_OTHER_USER: [&str; 6] =
    ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// A directory of both processes; they send each other messages as its files.
pub(crate) struct SharedDir {
    path: PathBuf,
    _temp: Option<TempDir>,
}

impl SharedDir {
    pub(crate) fn new() -> SharedDir {
        let temp = TempDir::new().unwrap();
        std::fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o777)).unwrap();
        SharedDir { path: temp.path().to_owned(), _temp: Some(temp) }
    }

    /// In the second process: the directory, and the words that the first one passed.
    pub(crate) fn inherited() -> Option<(SharedDir, Vec<String>)> {
        let path = std::env::var_os(DIR)?.into();
        let words = std::env::var(WORDS).unwrap();
        let words = words.split(' ').map(str::to_owned).collect();
        Some((SharedDir { path, _temp: None }, words))
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn send(&self, name: &str, text: &str) {
        std::fs::write(self.join("partial"), text).unwrap();
        std::fs::rename(self.join("partial"), self.join(name)).unwrap();
    }

    /// Waits for a message.
    #[track_caller]
    pub(crate) fn receive(&self, name: &str) -> String {
        let file = self.join(name);
        wait_until(name, || file.exists());
        std::fs::read_to_string(file).unwrap()
    }

    /// Runs a test of this binary in a second process, with `prefix` as the command that starts
    /// it. Prints `skipped:` and gives `None` if that command cannot be run.
    pub(crate) fn spawn(&self, test: &str, prefix: &[&str], words: &[&str]) -> Option<Child> {
        let command = || {
            let mut command = Command::new(prefix[0]);
            command.args(&prefix[1..]).current_dir(&self.path);
            command
        };
        let trial = command().arg("true").output();
        if !trial.as_ref().is_ok_and(|trial| trial.status.success()) {
            println!("skipped: {prefix:?} is not possible here: {trial:?}");
            return None;
        }
        // Another user may have no access to the target directory.
        let program = self.join("test");
        psstat_testproc::copy_program(std::env::current_exe().unwrap(), &program).unwrap();
        let mut command = command();
        command.arg(program).args(["--exact", test, "--nocapture"]);
        command.env(DIR, &self.path).env(WORDS, words.join(" "));
        Some(command.stdout(Stdio::null()).spawn().unwrap())
    }
}
