//! Recognition of programs by their command lines, joined by blanks.

/// Whether a command line runs the program of this name directly: the base name of its
/// first word is `program`.
pub fn is_program(cmdline: &[u8], program: &str) -> bool {
    words(cmdline).next().is_some_and(|word| base_name(word) == program.as_bytes())
}

/// Whether a command line runs the program or script of this name, directly or by an
/// interpreter, which may have an option: the base name of one of its first three words is
/// `script`.
pub fn is_script(cmdline: &[u8], script: &str) -> bool {
    words(cmdline).take(3).any(|word| base_name(word) == script.as_bytes())
}

/// Whether a command line is that of psstat's collector.
pub fn is_collector(cmdline: &[u8]) -> bool {
    is_program(cmdline, "psstat-tcollector")
}

/// Whether a command line is that of tcollector, which runs collectors.
pub fn is_tcollector(cmdline: &[u8]) -> bool {
    is_script(cmdline, "tcollector.py") || is_script(cmdline, "tcollector")
}

fn words(cmdline: &[u8]) -> impl Iterator<Item = &[u8]> {
    cmdline.split(u8::is_ascii_whitespace)
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_recognized() {
        for (cmdline, collector, tcollector) in [
            ("psstat-tcollector", true, false),
            ("/usr/lib/tcollector/collectors/0/psstat-tcollector --once", true, false),
            ("python3 /opt/tcollector/tcollector.py -H x", false, true),
            ("python3 -u /opt/tcollector/tcollector.py", false, true),
            ("/usr/bin/tcollector", false, true),
            // An editor with one of their files.
            ("vi psstat-tcollector", false, false),
            ("vi a b c tcollector", false, false),
            ("psstat-tcollector-old", false, false),
            ("", false, false),
        ] {
            let found = (is_collector(cmdline.as_bytes()), is_tcollector(cmdline.as_bytes()));
            assert_eq!(found, (collector, tcollector), "{cmdline}");
        }
    }
}
