//! `cargo xtask assets`: what a package brings besides the programs, from the
//! programs' own definitions of their options.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Result;

/// Write man pages and shell completions of both programs.
///
/// man/PROGRAM.1, and a page a verb of psstat-dump; completions/ for bash, zsh and fish, under the
/// names that the shells look for.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The folder to write them to
    #[arg(long, value_name = "DIR", default_value = "target/assets")]
    out: PathBuf,
}

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes all of them, and names them.
pub(crate) fn run(options: &Options) -> Result<()> {
    for path in write(&options.out)? {
        println!("{}", path.display());
    }
    Ok(())
}

/// The definitions of both programs.
fn programs() -> [Command; 2] {
    [psstat_tcollector::options::Options::command(), psstat_dump::args::command()]
}

pub(crate) fn write(out: &Path) -> Result<Vec<PathBuf>> {
    let (man, completions) = (out.join("man"), out.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut written = Vec::new();
    for command in programs() {
        for (name, page) in pages(command.clone())? {
            let path = man.join(name);
            fs::write(&path, page)?;
            written.push(path);
        }
        let name = command.get_name().to_owned();
        for shell in SHELLS {
            let mut command = command.clone();
            written.push(clap_complete::generate_to(shell, &mut command, &name, &completions)?);
        }
    }
    Ok(written)
}

/// The page of a program, and those of its verbs, by their files' names.
fn pages(mut command: Command) -> Result<Vec<(String, Vec<u8>)>> {
    // Verbs get the program's name before theirs, and global options.
    command.build();
    let mut pages = Vec::new();
    page(&command, &mut pages)?;
    for verb in command.get_subcommands() {
        page(verb, &mut pages)?;
    }
    Ok(pages)
}

fn page(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let display = command.get_display_name().unwrap_or_else(|| command.get_name());
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render(&mut text)?;
    pages.push((format!("{display}.1"), text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use psstat_actor::TempDir;

    use super::*;

    /// The long options of a command, as they are typed.
    fn options(command: &Command) -> Vec<String> {
        let longs = command.get_arguments().filter(|arg| !arg.is_hide_set());
        longs.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
    }

    #[test]
    fn the_pages_have_every_long_option() {
        for mut command in programs() {
            let pages: BTreeMap<_, _> = pages(command.clone()).unwrap().into_iter().collect();
            command.build();
            let verbs = command.get_subcommands().cloned();
            for of in std::iter::once(command.clone()).chain(verbs) {
                let name = of.get_display_name().unwrap_or(of.get_name());
                // roff writes a hyphen that is one with a backslash.
                let page = String::from_utf8(pages[&format!("{name}.1")].clone()).unwrap();
                let page = page.replace("\\-", "-");
                assert!(options(&of).len() > 1, "{name}");
                for option in options(&of) {
                    let in_bold = format!("\\fB{option}\\fR");
                    assert!(page.contains(&in_bold), "{name} says nothing of {option}");
                }
            }
        }
    }

    #[test]
    fn the_completions_have_every_long_option() {
        let temp = TempDir::new().unwrap();
        let written = write(temp.path()).unwrap();
        for command in programs() {
            let name = command.get_name();
            for file in [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")] {
                let path = temp.join("completions").join(&file);
                assert!(written.contains(&path), "{path:?}");
                let text = fs::read_to_string(path).unwrap();
                for option in options(&command) {
                    // fish has them without the dashes.
                    let fish = format!("-l {}", option.trim_start_matches('-'));
                    assert!(text.contains(&option) || text.contains(&fish), "{file}: {option}");
                }
            }
        }
        assert!(temp.join("man/psstat-tcollector.1").exists());
        assert!(temp.join("man/psstat-dump-explain.1").exists());
    }
}
