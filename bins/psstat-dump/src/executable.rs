//! The image of a process without a config file: its executable name.

use psstat_matcher::ImageName;
use psstat_proc_parse::Cmdline;

/// The name for a process without a usable first argument or `comm`.
pub(crate) const UNNAMED: &str = "unnamed";

/// The executable name from the command line: the base name of `argv[0]`,
/// without the `-` of a login shell.
///
/// For a title (`nginx: worker process`, `sshd: root@pts/0`) it is the name
/// before the colon; for a title without a colon (browsers) the name before the
/// first space. A single argument with a space can also be a path; `comm`, the
/// contents of `/proc/PID/comm`, distinguishes these, and is the name if `argv[0]` is empty.
/// Characters that are not valid
/// in an image name become `_`.
pub(crate) fn image(command_line: &[u8], comm: impl Fn() -> Option<Vec<u8>>) -> String {
    let mut args = Cmdline::new(command_line).args();
    let mut program = args.next().unwrap_or_default();
    // A title is followed by the NULs of the overwritten arguments.
    let is_single = args.all(<[u8]>::is_empty);
    if let Some(end) = strip_title(program) {
        program = program.get(..end).unwrap_or_default();
    } else if is_single
        && program.iter().any(u8::is_ascii_whitespace)
        && !comm().is_some_and(|comm| is_name_of(base_name(program), comm.trim_ascii_end()))
    {
        program = program.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    }
    let base = base_name(program);
    let base = base.strip_prefix(b"-").unwrap_or(base);
    if !base.is_empty() {
        return valid_name(base);
    }
    let name = comm().map(|comm| valid_name(comm.trim_ascii_end())).unwrap_or_default();
    if name.is_empty() { UNNAMED.to_owned() } else { name }
}

/// The text with each character that is not valid in an image name replaced.
fn valid_name(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .take(ImageName::MAX_LEN)
        .collect()
}

fn base_name(program: &[u8]) -> &[u8] {
    program.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Whether `comm`, which the kernel cuts at 15 bytes, is this name.
fn is_name_of(name: &[u8], comm: &[u8]) -> bool {
    const MAX_COMM: usize = 15;
    !comm.is_empty() && name.get(..MAX_COMM).unwrap_or(name) == comm
}

/// The position of a title's colon, which is at the end or before a space.
fn strip_title(program: &[u8]) -> Option<usize> {
    (0..program.len()).find(|&at| {
        program.get(at) == Some(&b':') && matches!(program.get(at + 1), None | Some(b' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases: [(&[u8], &str); 16] = [
            (b"/usr/sbin/cron\0-f\0", "cron"),
            (b"java\0-cp\0/a/b\0Main\0", "java"),
            (b"-bash\0", "bash"),
            (b"nginx: worker process\0", "nginx"),
            (b"nginx: master process /usr/sbin/nginx -g daemon off;\0\0\0", "nginx"),
            (b"sshd: root@pts/0", "sshd"),
            (b"postgres: 14/main: checkpointer \0\0", "postgres"),
            (b"/opt/chrome/chrome --type=renderer --url=a/b", "chrome"),
            (b"/opt/My App/run it\0-x\0", "run_it"),
            (b"C:\\Games\\x.exe\0", "C__Games_x.exe"),
            (b"/\0", UNNAMED),
            (b"\0\0x\0", UNNAMED),
            (b"", UNNAMED),
            (b"\x1b]0;evil\x07\0", "_]0_evil_"),
            (b"caf\xc3\xa9\xff\0", "caf__"),
            (b"a:b\0", "a_b"),
        ];
        for (given, want) in cases {
            let want = want.replace(']', "_");
            assert_eq!(image(given, || None), want, "{}", String::from_utf8_lossy(given));
        }
    }

    #[test]
    fn comm_distinguishes_path_and_title() {
        for (command_line, comm, want) in [
            (&b"/opt/My App/my-app\0"[..], "my-app\n", "my-app"),
            (b"/opt/My App/an-application-name\0", "an-application-\n", "an-application-name"),
            (b"/opt/chrome/chrome --type=renderer --url=a/b", "chrome\n", "chrome"),
            (b"/opt/My App/x\0", "renamed\n", "My"),
            (b"/opt/My App/\0", "\n", "My"),
        ] {
            assert_eq!(image(command_line, || Some(comm.into())), want, "{comm}");
        }
    }

    /// Such a process used to be in no image.
    #[test]
    fn empty_command_line_is_named_by_comm() {
        for given in [&b""[..], b"\0", b"\0\0x\0", b"/\0"] {
            assert_eq!(image(given, || Some(b"a (b)\n".to_vec())), "a__b_");
            assert_eq!(image(given, || Some(b"\n".to_vec())), UNNAMED);
        }
    }

    #[test]
    fn executable_names_are_valid_image_names() {
        let long = vec![b'x'; 4096];
        for given in [&long[..], b"a b\0c", b"\xff/\xff\0", b": x"] {
            image(given, || None).parse::<ImageName>().unwrap();
        }
    }
}
