//! One target's run.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use psstat_corpus::{Target, store};

use super::build::folder;
use super::report::{Counts, Outcome};
use crate::Result;

/// Runs a target for `time`, and finds out which inputs are worth keeping.
pub(super) fn run(target: &Target, programs: &Path, time: Duration, keep: bool) -> Result<Outcome> {
    let corpus = folder().join("corpus").join(target.name);
    let finds = folder().join("finds").join(target.name);
    // A find of an earlier run is in its log and, fixed, in the corpus.
    for old in [&finds, &folder().join("minimal").join(target.name)] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
        fs::create_dir_all(old)?;
    }
    fs::create_dir_all(&corpus)?;
    for input in target.inputs()?.iter().chain(&target.seeds()) {
        let mut hash = DefaultHasher::new();
        input.hash(&mut hash);
        fs::write(corpus.join(format!("{:016x}", hash.finish())), input)?;
    }
    let before = read_all(&corpus)?.len();

    let log = folder().join(format!("{}.log", target.name));
    let mut prefix = finds.clone().into_os_string();
    prefix.push("/");
    let mut command = program(target, programs);
    command.arg(format!("-max_total_time={}", time.as_secs()));
    let mut artifacts = std::ffi::OsString::from("-artifact_prefix=");
    artifacts.push(prefix);
    let ended = logged(command.arg(artifacts).arg(&corpus), &log)?;
    let counts = Counts::read(&fs::read_to_string(&log)?);

    let found = read_all(&finds)?;
    if let Some(find) = found.first() {
        let row = counts.row(target.name, before, None);
        return Ok(Outcome { row, find: Some(store::escape(find)) });
    }
    if !ended.success() {
        return Err(format!("{ended}; see {}", log.display()).into());
    }

    let minimal = folder().join("minimal").join(target.name);
    let log = folder().join(format!("{}.merge.log", target.name));
    // The fewest that reach every edge; how often each is taken tells too many
    // apart to keep them all.
    let mut merge = program(target, programs);
    merge.args(["-set_cover_merge=1", "-use_counters=0"]).arg(&minimal).arg(&corpus);
    let merged = logged(&mut merge, &log)?;
    if !merged.success() {
        return Err(format!("the merge: {merged}; see {}", log.display()).into());
    }
    let kept = read_all(&minimal)?;
    if keep {
        store::write(&target.path(), &kept)?;
    }
    Ok(Outcome { row: counts.row(target.name, before, Some(&kept)), find: None })
}

fn program(target: &Target, programs: &Path) -> Command {
    let mut command = Command::new(programs.join(target.name));
    command.args(["-print_final_stats=1", "-timeout=60", "-rss_limit_mb=2048"]);
    command.arg(format!("-max_len={}", target.max_len));
    command
}

/// Runs it with all it says in a file.
fn logged(command: &mut Command, log: &PathBuf) -> Result<ExitStatus> {
    let file = fs::File::create(log)?;
    Ok(command.stdout(file.try_clone()?).stderr(file).status()?)
}

/// The content of a folder's files.
fn read_all(folder: &Path) -> Result<Vec<Vec<u8>>> {
    fs::read_dir(folder)?.map(|entry| Ok(fs::read(entry?.path())?)).collect()
}
