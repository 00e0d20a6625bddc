//! `cargo xtask assets`: man pages and shell completions, from the programs' definitions of their
//! options.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_complete::{Generator as _, Shell};
use clap_mangen::Man;

use crate::Result;

/// Write man pages and shell completions of both programs.
///
/// man/PROGRAM.1, and a page per subcommand of psstat-dump; completions/ for bash, zsh and fish,
/// under the names that the shells expect.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The output directory
    #[arg(long, value_name = "DIR", default_value = "target/assets")]
    out: PathBuf,
}

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes all of them and prints their paths.
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
            let path = completions.join(shell.file_name(&name));
            fs::write(&path, completion(shell, command.clone(), &name)?)?;
            written.push(path);
        }
    }
    Ok(written)
}

/// The completions of a program for a shell.
fn completion(shell: Shell, mut command: Command, name: &str) -> Result<String> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    let text = String::from_utf8(text)?;
    if shell != Shell::Bash {
        return Ok(text);
    }
    // clap_complete 4.6 writes the name of a subcommand in two ways if the name of the program has
    // a hyphen, so that bash does not find the options of the subcommand.
    let (called, defined) = (name.replace('-', "__"), name.replace('-', "__subcmd__"));
    Ok(text.replace(&format!("{defined}__subcmd__"), &format!("{called}__subcmd__")))
}

/// The pages of a program and its subcommands with their file names.
fn pages(mut command: Command) -> Result<Vec<(String, Vec<u8>)>> {
    // Completes the names of subcommands with that of the program, and adds global options.
    command.build();
    let mut pages = Vec::new();
    page(&command, &mut pages)?;
    for subcommand in command.get_subcommands() {
        page(subcommand, &mut pages)?;
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
    use std::process;

    use psstat_testproc::TempDir;

    use super::*;

    /// The long options of a command, with the dashes.
    fn options(command: &Command) -> Vec<String> {
        let longs = command.get_arguments().filter(|arg| !arg.is_hide_set());
        longs.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
    }

    #[test]
    fn man_pages_have_every_long_option() {
        for mut command in programs() {
            let pages: BTreeMap<_, _> = pages(command.clone()).unwrap().into_iter().collect();
            command.build();
            let subcommands = command.get_subcommands().cloned();
            for each in std::iter::once(command.clone()).chain(subcommands) {
                let name = each.get_display_name().unwrap_or(each.get_name());
                // roff escapes hyphens with a backslash.
                let page = String::from_utf8(pages[&format!("{name}.1")].clone()).unwrap();
                let page = page.replace("\\-", "-");
                assert!(options(&each).len() > 1, "{name}");
                for option in options(&each) {
                    let in_bold = format!("\\fB{option}\\fR");
                    assert!(page.contains(&in_bold), "{name} does not have {option}");
                }
            }
        }
    }

    /// The part of the completions that is about a subcommand; all of them without one.
    fn part<'t>(text: &'t str, shell: Shell, subcommand: Option<&str>) -> Vec<&'t str> {
        let Some(subcommand) = subcommand else { return vec![text] };
        match shell {
            Shell::Zsh => {
                let parts = text.split("\n;;\n").filter_map(|part| {
                    let (_, part) = part.split_once(&format!("({subcommand})\n"))?;
                    Some(part)
                });
                parts.collect()
            }
            Shell::Fish => {
                let mark = format!("_using_subcommand {subcommand}\"");
                text.lines().filter(|line| line.contains(&mark)).collect()
            }
            // The line after the name lists all options.
            _ => {
                let mark = format!("__subcmd__{subcommand})\n");
                let (_, part) = text.split_once(&mark).unwrap();
                part.lines().take(1).collect()
            }
        }
    }

    #[test]
    fn completions_have_every_long_option() {
        let temp = TempDir::new().unwrap();
        let written = write(temp.path()).unwrap();
        for mut command in programs() {
            command.build();
            let name = command.get_name();
            for (shell, file) in [
                (Shell::Bash, format!("{name}.bash")),
                (Shell::Zsh, format!("_{name}")),
                (Shell::Fish, format!("{name}.fish")),
            ] {
                let path = temp.join("completions").join(&file);
                assert!(written.contains(&path), "{path:?}");
                let text = fs::read_to_string(path).unwrap();
                let subcommands = command.get_subcommands();
                let subcommands = subcommands.map(|each| (Some(each.get_name()), each));
                for (subcommand, each) in std::iter::once((None, &command)).chain(subcommands) {
                    let part = part(&text, shell, subcommand).join("\n");
                    for option in options(each) {
                        // The completions of fish omit the dashes.
                        let fish = format!("-l {}", option.trim_start_matches('-'));
                        let has = part.contains(&option) || part.contains(&fish);
                        assert!(has, "{file}: {subcommand:?} {option}\n{part}");
                    }
                }
            }
        }
        assert!(temp.join("man/psstat-tcollector.1").exists());
        assert!(temp.join("man/psstat-dump-explain.1").exists());
    }

    /// The shells load the files, and two of them print the offered options: bash once offered no
    /// option of a subcommand, although the file had them.
    #[test]
    fn shells_offer_options_of_subcommands() {
        let temp = TempDir::new().unwrap();
        write(temp.path()).unwrap();
        let dir = temp.join("completions");
        let run = |shell: &str, args: &[&str]| {
            let output = process::Command::new(shell).args(args).current_dir(&dir).output();
            let Ok(output) = output else {
                println!("skipped: no {shell}");
                return None;
            };
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && errors.is_empty(), "{shell} {args:?}: {errors}");
            Some(String::from_utf8(output.stdout).unwrap())
        };
        for mut command in programs() {
            command.build();
            let name = command.get_name().to_owned();
            let (bash, zsh, fish) =
                (format!("{name}.bash"), format!("_{name}"), format!("{name}.fish"));
            run("zsh", &["-n", &zsh]);
            let function = format!("_{}", name.replace('-', "__"));
            let subcommands = command.get_subcommands().map(|each| (each.get_name(), each));
            for (subcommand, each) in std::iter::once(("", &command)).chain(subcommands) {
                let words = [&name, subcommand, "--"].map(str::to_owned);
                let words: Vec<String> =
                    words.into_iter().filter(|word| !word.is_empty()).collect();
                let (line, last) = (words.join(" "), words.len() - 1);
                let bash = format!(
                    "source ./{bash}; COMP_WORDS=({line}); COMP_CWORD={last}; \
                     {function} {name} -- {subcommand}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
                );
                let fish = format!("source ./{fish}; complete -C '{line}'");
                let offers = [
                    run("bash", &["--norc", "-c", &bash]),
                    run("fish", &["--no-config", "-c", &fish]),
                ];
                for offer in offers.into_iter().flatten() {
                    let offered: Vec<&str> =
                        offer.lines().filter_map(|line| line.split('\t').next()).collect();
                    for option in options(each) {
                        assert!(offered.contains(&&*option), "{line} {option}: {offered:?}");
                    }
                }
            }
        }
    }
}
