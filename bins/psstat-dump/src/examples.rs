//! The examples in the help of each command.

/// The text after the options in `--help` of a command.
pub(crate) fn of(command: &str) -> String {
    let (examples, uses_images) = match command {
        "pid" => (PID, false),
        "explain" => (EXPLAIN, true),
        "find" => (FIND, true),
        "top" => (TOP, true),
        "doctor" => (DOCTOR, false),
        "capture" => (CAPTURE, true),
        "record" => (RECORD, true),
        "report" => (REPORT, false),
        "check" => (CHECK, true),
        _ => ("", false),
    };
    let mut text = String::new();
    if uses_images {
        text.push_str(IMAGE);
    }
    if !examples.is_empty() {
        if uses_images {
            text.push_str("\n\n");
        }
        text.push_str("Examples:\n");
        text.push_str(examples);
    }
    text
}

/// The word, for commands whose help uses it.
const IMAGE: &str = "An image is a group of processes: those that match the rules of one name in \
    the config file or, without one, those of one executable name.";

/// The examples of the table.
pub(crate) const TABLE: &str = "\
  psstat-dump                            all images
  psstat-dump -p nginx --sort write/s    the processes of nginx, most written first
  psstat-dump --pid 4711 --interval 5    one process, every 5 seconds
  psstat-dump -e 'java .*-Dapp=shop'     the processes whose command line matches
  psstat-dump --columns image,rss,swap   some columns
  psstat-dump --json | jq '.rows[].image'";

const PID: &str = "  \
  psstat-dump pid 4711        one process
  psstat-dump pid nginx       by name, if it is one process; otherwise their list
  psstat-dump pid 1 --json    every field";

const EXPLAIN: &str = "  \
  psstat-dump explain 4711                      the rules for a process
  psstat-dump explain --rule nginx              the processes for a rule
  psstat-dump explain 4711 -e '^nginx: worker'  one regex";

const FIND: &str = "  \
  psstat-dump find :8080                    the server and its clients
  psstat-dump find 10.0.0.5:5432 [::1]:443  addresses
  psstat-dump find /var/log/nginx           open files below a directory, also deleted ones
  psstat-dump find /mnt                     a file system that is busy
  psstat-dump find /run/docker.sock @name   unix sockets
  psstat-dump find --listen                 all servers";

const TOP: &str = "  \
  psstat-dump top                    all images
  psstat-dump top nginx redis        some images
  psstat-dump top -e 'java .*shop'   the processes whose command line matches";

const DOCTOR: &str = "  \
  psstat-dump doctor         can this user read everything, and what helps?
  sudo psstat-dump doctor    the same for root";

const CAPTURE: &str = "  \
  psstat-dump capture report.tar.gz          all images, as one file
  psstat-dump capture report                 the same, into a new directory
  psstat-dump capture report nginx           one image
  psstat-dump --proc report                  the table of it
  psstat-dump capture report --pid 4711      one process";

const RECORD: &str = "  \
  psstat-dump record day.rec                 every second
  psstat-dump record day.rec --keep 24h      the last day only
  psstat-dump --replay day.rec --at 15:00    the table at that time
  psstat-dump top --replay day.rec           step, play, go to a time";

const REPORT: &str = "  \
  psstat-dump report day.rec -o report.html                          all of it
  psstat-dump report day.rec --from 14:55 --to 15:20 -o report.html  25 minutes";

const CHECK: &str = "  \
  psstat-dump check                    the config file of this host
  psstat-dump check new.conf           another one, before it is installed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_examples() {
        for command in crate::args::command().get_subcommands() {
            let examples = of(command.get_name());
            assert!(examples.contains("psstat-dump "), "{}", command.get_name());
        }
    }

    /// The arguments of each example are valid.
    #[test]
    fn examples_can_be_parsed() {
        let commands = crate::args::command();
        let mut texts: Vec<String> =
            commands.get_subcommands().map(|command| of(command.get_name())).collect();
        texts.push(TABLE.to_owned());
        let mut examples = 0;
        for line in texts.iter().flat_map(|text| text.lines()) {
            let Some(example) = line.trim_start().strip_prefix("psstat-dump") else { continue };
            // The description follows several spaces.
            let example = example.split("  ").next().unwrap().split(" | ").next().unwrap();
            let words = example.split_whitespace().map(|word| word.trim_matches('\'').into());
            // The words of a quoted regex are further arguments.
            if example.contains('\'') {
                continue;
            }
            let parsed = crate::args::parse(std::iter::once("psstat-dump".into()).chain(words));
            assert!(parsed.is_ok(), "{example}: {:?}", parsed.unwrap_err().message());
            examples += 1;
        }
        assert!(examples > 15);
    }
}
