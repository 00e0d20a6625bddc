//! `cargo xtask assets`: what a package brings besides the programs, from the
//! programs' own definitions of their options.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_complete::{Generator as _, Shell};
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
            let path = completions.join(shell.file_name(&name));
            fs::write(&path, completion(shell, command.clone(), &name)?)?;
            written.push(path);
        }
    }
    Ok(written)
}

/// What makes a shell complete a program's options.
fn completion(shell: Shell, mut command: Command, name: &str) -> Result<String> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    let text = String::from_utf8(text)?;
    if shell != Shell::Bash {
        return Ok(text);
    }
    // clap_complete 4.6 gives a verb of a program with a hyphen in its name two
    // names, so that bash never finds the verb's options.
    let (sought, given) = (name.replace('-', "__"), name.replace('-', "__subcmd__"));
    Ok(text.replace(&format!("{given}__subcmd__"), &format!("{sought}__subcmd__")))
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
    use std::process;

    use psstat_testproc::TempDir;

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

    /// What stands in the completions of a shell for a verb, or for none.
    fn part<'t>(text: &'t str, shell: Shell, verb: Option<&str>) -> Vec<&'t str> {
        let Some(verb) = verb else { return vec![text] };
        match shell {
            Shell::Zsh => {
                let of_verb = text.split("\n;;\n").filter_map(|part| {
                    let (_, part) = part.split_once(&format!("({verb})\n"))?;
                    Some(part)
                });
                of_verb.collect()
            }
            Shell::Fish => {
                let mark = format!("_using_subcommand {verb}\"");
                text.lines().filter(|line| line.contains(&mark)).collect()
            }
            // The line behind the name lists all of them.
            _ => {
                let mark = format!("__subcmd__{verb})\n");
                let (_, part) = text.split_once(&mark).unwrap();
                part.lines().take(1).collect()
            }
        }
    }

    #[test]
    fn the_completions_have_every_long_option() {
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
                let verbs = command.get_subcommands().map(|verb| (Some(verb.get_name()), verb));
                for (verb, of) in std::iter::once((None, &command)).chain(verbs) {
                    let part = part(&text, shell, verb).join("\n");
                    for option in options(of) {
                        // fish has them without the dashes.
                        let fish = format!("-l {}", option.trim_start_matches('-'));
                        let has = part.contains(&option) || part.contains(&fish);
                        assert!(has, "{file}: {verb:?} {option}\n{part}");
                    }
                }
            }
        }
        assert!(temp.join("man/psstat-tcollector.1").exists());
        assert!(temp.join("man/psstat-dump-explain.1").exists());
    }

    /// The shells take the files, and two of them tell what they would offer:
    /// bash offered none of a verb's options, though the file had them.
    #[test]
    fn the_shells_offer_a_verbs_options() {
        let temp = TempDir::new().unwrap();
        write(temp.path()).unwrap();
        let folder = temp.join("completions");
        let of_shell = |shell: &str, args: &[&str]| {
            let output = process::Command::new(shell).args(args).current_dir(&folder).output();
            let Ok(output) = output else {
                println!("skipped: no {shell}");
                return None;
            };
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && said.is_empty(), "{shell} {args:?}: {said}");
            Some(String::from_utf8(output.stdout).unwrap())
        };
        for mut command in programs() {
            command.build();
            let name = command.get_name().to_owned();
            let (bash, zsh, fish) =
                (format!("{name}.bash"), format!("_{name}"), format!("{name}.fish"));
            of_shell("zsh", &["-n", &zsh]);
            let function = format!("_{}", name.replace('-', "__"));
            let verbs = command.get_subcommands().map(|verb| (verb.get_name(), verb));
            for (verb, of) in std::iter::once(("", &command)).chain(verbs) {
                let words = [&name, verb, "--"].map(str::to_owned);
                let words: Vec<String> =
                    words.into_iter().filter(|word| !word.is_empty()).collect();
                let (line, last) = (words.join(" "), words.len() - 1);
                let of_bash = format!(
                    "source ./{bash}; COMP_WORDS=({line}); COMP_CWORD={last}; \
                     {function} {name} -- {verb}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
                );
                let of_fish = format!("source ./{fish}; complete -C '{line}'");
                let offers = [
                    of_shell("bash", &["--norc", "-c", &of_bash]),
                    of_shell("fish", &["--no-config", "-c", &of_fish]),
                ];
                for offer in offers.into_iter().flatten() {
                    let offered: Vec<&str> =
                        offer.lines().filter_map(|line| line.split('\t').next()).collect();
                    for option in options(of) {
                        assert!(offered.contains(&&*option), "{line} {option}: {offered:?}");
                    }
                }
            }
        }
    }
}
