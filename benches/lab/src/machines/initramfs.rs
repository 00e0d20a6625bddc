//! The initial file system of a machine: a cpio archive in the format "newc".

/// An archive that files are added to.
#[derive(Debug, Default)]
pub(crate) struct Initramfs {
    bytes: Vec<u8>,
    files: u32,
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Initramfs {
    pub(crate) fn directory(&mut self, path: &str) {
        self.add(path, DIRECTORY, (0, 0), &[]);
    }

    /// A file that can be executed.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        self.add(path, PROGRAM, (0, 0), content);
    }

    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, CHARACTER_DEVICE, (major, minor), &[]);
    }

    /// The archive with its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn add(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.files += 1;
        // inode, mode, uid, gid, links, mtime, size, major and minor of the file's device and of
        // the file, length of the name with its NUL, checksum.
        let fields = [
            self.files,
            mode,
            0,
            0,
            1,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            device.0,
            device.1,
            u32::try_from(path.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_contents_are_aligned() {
        let mut archive = Initramfs::default();
        archive.directory("dev");
        archive.device("dev/console", 5, 1);
        archive.file("init", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 4);
        // A header has 110 bytes.
        let entry = |path: &str| text.find(path).unwrap() - 110;
        assert!(["dev/console", "init", "TRAILER!!!"].iter().all(|path| entry(path) % 4 == 0));
        let console = &text[entry("dev/console")..];
        assert_eq!(&console[6..14], "00000002");
        assert_eq!(&console[78..94], "0000000500000001");
        let init = &text[entry("init")..];
        assert_eq!(&init[14..22], "000081ed");
        assert_eq!(&init[54..62], "00000005");
        assert_eq!(&init[110..124], "init\0\x0012345\0\0\0");
    }
}
