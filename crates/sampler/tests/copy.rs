//! A procfs made of plain files, for what a live one does not do when asked.
// The permission for tests does not reach the functions beside them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use psstat_actor::TempDir;
use psstat_sampler::{ImageId, Options, Sampler};

const A: ImageId = ImageId(0);

/// A process by its files; `starttime` is field 22 of `stat`.
fn write_process(proc: &Path, pid: u32, starttime: u64, rchar: u64) -> PathBuf {
    let folder = proc.join(pid.to_string());
    let files = || -> std::io::Result<()> {
        for sub in ["fd", "ns", "task"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        fs::create_dir_all(folder.join("task").join(pid.to_string()))?;
        fs::write(
            folder.join("stat"),
            format!(
                "{pid} (worker) S 1 {pid} {pid} 0 -1 4194304 9 0 0 0 5 3 0 0 20 0 1 0 {starttime} \
                 8192000 200 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 \
                 0 0 0\n"
            ),
        )?;
        fs::write(folder.join("statm"), "2000 200 100 5 0 300 0\n")?;
        fs::write(folder.join("cmdline"), "worker\0")?;
        write_io(&folder, rchar)
    };
    files().unwrap();
    folder
}

fn write_io(folder: &Path, rchar: u64) -> std::io::Result<()> {
    fs::write(
        folder.join("io"),
        format!(
            "rchar: {rchar}\nwchar: 0\nsyscr: 1\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n\
             cancelled_write_bytes: 0\n"
        ),
    )
}

fn sampler(proc: &Path) -> Sampler {
    let options = Options {
        proc: proc.to_owned(),
        window: Duration::from_millis(1),
        // Kept ones would go on reading the old files.
        descriptors: Some(0),
        ..Options::default()
    };
    Sampler::new(options).unwrap()
}

fn rchar(sampler: &mut Sampler) -> i64 {
    sampler.open(&mut |_, images| images.push(A));
    let image = sampler.close().image(A);
    assert_eq!(image.procs, 1);
    image.io.unwrap_or_default().rchar
}

/// Under memory pressure the kernel drops entries of `/proc` from its cache;
/// they come back with another inode. All that the process had ever done was
/// counted a second time.
#[test]
fn another_inode_alone_is_no_other_process() {
    for between in ["cycles", "open and close"] {
        let proc = TempDir::new().unwrap();
        let folder = write_process(proc.path(), 100, 5000, 1000);
        let mut sampler = sampler(proc.path());
        for _ in 0..3 {
            assert_eq!(rchar(&mut sampler), 1000);
        }
        let again = || {
            fs::rename(&folder, proc.join("old")).unwrap();
            write_process(proc.path(), 100, 5000, 1001);
        };
        if between == "cycles" {
            again();
        } else {
            sampler.open(&mut |_, images| images.push(A));
            again();
            assert_eq!(sampler.close().image(A).io.unwrap().rchar, 1001);
        }
        for _ in 0..3 {
            assert_eq!(rchar(&mut sampler), 1001, "{between}");
        }
    }
}

#[test]
fn another_start_time_is() {
    let proc = TempDir::new().unwrap();
    let folder = write_process(proc.path(), 100, 5000, 1000);
    let mut sampler = sampler(proc.path());
    for _ in 0..3 {
        assert_eq!(rchar(&mut sampler), 1000);
    }
    fs::rename(&folder, proc.join("old")).unwrap();
    write_process(proc.path(), 100, 5001, 7);
    for _ in 0..3 {
        assert_eq!(rchar(&mut sampler), 1007);
    }
}
