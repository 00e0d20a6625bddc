//! The content of the files of a release, and whether the programs run.

use std::path::Path;
use std::process::Command;

use psstat_testproc::TempDir;

use super::{Artifacts, PROGRAMS, done, pack};
use crate::known::Known;
use crate::{Result, assert_ok};

/// The three formats contain the same programs.
pub(super) fn formats(made: &Artifacts) -> Result<()> {
    let temp = TempDir::new()?;
    let tar = pack::extracted(&made.tar, temp.path())?;
    let (deb, rpm) = (temp.join("deb"), temp.join("rpm"));
    std::fs::create_dir(&rpm)?;
    done(Command::new("dpkg-deb").arg("--extract").args([&made.deb, &deb]))?;
    let script = "rpm2cpio \"$0\" | cpio --extract --make-directories --quiet";
    done(Command::new("sh").args(["-c", script]).arg(&made.rpm).current_dir(&rpm))?;
    for program in PROGRAMS {
        let one = std::fs::read(tar.join(program))?;
        for other in [&deb, &rpm] {
            if std::fs::read(other.join("usr/bin").join(program))? != one {
                return Err(format!("{program} is not the same in all formats").into());
            }
        }
    }
    println!("the programs are the same in {} formats", made.all().len());
    Ok(())
}

/// The programs of the archive run: on this machine, or with qemu-user.
pub(super) fn programs(made: &Artifacts, target: &str) -> Result<()> {
    let temp = TempDir::new()?;
    let dir = pack::extracted(&made.tar, temp.path())?;
    let arch = target.split('-').next().unwrap_or(target);
    let run = |program: &str, args: &[&str]| -> Result<String> {
        let program = dir.join(program);
        let mut command = if arch == std::env::consts::ARCH {
            Command::new(&program)
        } else {
            let mut qemu = Command::new(format!("qemu-{arch}-static"));
            qemu.arg(&program);
            qemu
        };
        let output = command.args(args).output()?;
        let text = String::from_utf8(output.stdout)?;
        if output.status.success() {
            Ok(text)
        } else {
            let log = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}: {text}{log}", output.status).into())
        }
    };
    for program in PROGRAMS {
        if is_dynamic(&dir.join(program))? {
            return Err(format!("{program} is not linked statically").into());
        }
        let version = run(program, &["--version"])?;
        if !version.contains(env!("CARGO_PKG_VERSION")) {
            return Err(format!("{program} is of version {version}").into());
        }
    }
    let known = Known::new()?;
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, known.rule() + "\n")?;
    let conf = conf.to_str().ok_or("the path is not UTF-8")?;
    run("psstat-tcollector", &["--check", "--conf", conf])?;
    let points = run("psstat-tcollector", &["--once", "--conf", conf])?;
    known.compare(&points, true)?;
    let table = run("psstat-dump", &["--conf", conf, "--json"])?;
    assert_ok(table.contains("\"kind\":\"images\"") && table.contains("\"known\""), &table)?;
    let count = points.lines().count();
    println!("{target}: both programs run; {count} points, right for a known process");
    Ok(())
}

/// Whether a program requires a dynamic linker (`PT_INTERP`). 64 bits, little-endian.
fn is_dynamic(program: &Path) -> Result<bool> {
    const PT_INTERP: u32 = 3;
    let elf = std::fs::read(program)?;
    let field = |at: usize, length: usize| -> Result<usize> {
        let bytes = elf.get(at..at + length).ok_or("not an ELF file")?;
        let number = bytes.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        Ok(usize::try_from(number)?)
    };
    let (headers, size, count) = (field(32, 8)?, field(54, 2)?, field(56, 2)?);
    for index in 0..count {
        if field(headers + index * size, 4)? == PT_INTERP as usize {
            return Ok(true);
        }
    }
    Ok(false)
}
